package lineage

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestTheCPUClassIsTheLevelThatAllFlagsReach(t *testing.T) {
	t.Parallel()
	v2 := "fpu sse2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3"
	v3 := v2 + " avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"
	v4 := v3 + " avx512f avx512bw avx512cd avx512dq avx512vl"
	for _, c := range []struct{ arch, flags, want string }{
		{"amd64", "", "amd64-v1"},
		{"amd64", v2, "amd64-v2"},
		{"amd64", strings.Replace(v4, "popcnt", "", 1), "amd64-v1"},
		{"amd64", v3, "amd64-v3"},
		{"amd64", strings.Replace(v4, "avx512vl", "", 1), "amd64-v3"},
		{"amd64", v4, "amd64-v4"},
		{"arm64", "", "arm64"},
	} {
		if got := CPUClass(c.arch, c.flags); got != c.want {
			t.Errorf("%s %q: %s, want %s", c.arch, c.flags, got, c.want)
		}
	}
}

func TestTheHostDescribesItself(t *testing.T) {
	t.Parallel()
	h := ReadHost()
	if h.Arch != runtime.GOARCH || h.Cores < 1 || h.Name == "" || h.CPUClass == "" {
		t.Errorf("%+v", h)
	}
	if runtime.GOOS == "linux" && (h.Kernel == "" || h.Memory < 1<<20) {
		t.Errorf("%+v", h)
	}
}

func TestGitStateIsThatOfTheWorkspace(t *testing.T) {
	t.Parallel()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	dir := t.TempDir()
	read := func() Git {
		t.Helper()
		g, err := ReadGit(t.Context(), filepath.Join(dir, "ws"))
		must(t, err)
		return g
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(git, append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e@example.org"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	write := func(name string) {
		t.Helper()
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(name), 0o644))
	}
	write("ws/cube.yaml")
	if g := read(); g != (Git{}) {
		t.Errorf("outside of a work tree: %+v", g)
	}
	run("init", "-q")
	if g := read(); g.Commit != "" || !g.Dirty {
		t.Errorf("before the first commit: %+v", g)
	}
	run("add", ".")
	run("commit", "-q", "-m", "one")
	run("tag", "v1")
	want := Git{Commit: run("rev-parse", "HEAD"), Describe: "v1"}
	if g := read(); g != want {
		t.Errorf("clean: %+v, want %+v", g, want)
	}
	write("ws/.cube/heads")
	write("elsewhere")
	if g := read(); g != want {
		t.Errorf("with a cube and a change elsewhere: %+v, want %+v", g, want)
	}
	run("config", "core.fsmonitor", "touch "+filepath.Join(dir, "ran"))
	write("ws/new")
	want.Dirty = true
	if g := read(); g != want {
		t.Errorf("changed: %+v, want %+v", g, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("a program that the repository names was run")
	}
}
