//go:build linux

package native_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
	"github.com/cubebuild/cube/graph"
)

// The test program also runs as other things than the tests, said by these
// variables of its environment.
const (
	builtVariable  = "CUBE_TEST_BUILT"  // where the tests of another user find what was built
	engineVariable = "CUBE_TEST_ENGINE" // be an engine, to be killed: its state directory
)

// built holds what the tests run: built once, and removed at the end.
var built struct {
	once   sync.Once
	dir    string
	worker string
	image  string // a layer that holds /probe
	err    error
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(engineVariable); dir != "" {
		beEngine(dir)
	}
	code := m.Run()
	if built.dir != "" && os.Getenv(builtVariable) == "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// build builds cube-worker, anew, and an image of one static program.
func build(t testing.TB) {
	t.Helper()
	built.once.Do(func() { built.err = buildAll() })
	if built.err != nil {
		t.Fatal(built.err)
	}
}

func buildAll() (err error) {
	if built.dir = os.Getenv(builtVariable); built.dir == "" {
		if built.dir, err = os.MkdirTemp("", "native-test-"); err != nil {
			return err
		}
	}
	built.worker = filepath.Join(built.dir, "cube-worker")
	built.image = filepath.Join(built.dir, "image")
	if os.Getenv(builtVariable) != "" {
		return nil
	}
	if err := os.Chmod(built.dir, 0o755); err != nil {
		return err
	}
	for out, pkg := range map[string]string{
		built.worker:                        "../../cmd/cube-worker",
		filepath.Join(built.image, "probe"): "./testdata/probe",
	} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w: %s", pkg, err, output)
		}
	}
	return nil
}

func newRunner(t testing.TB, config native.Config) *native.Runner {
	t.Helper()
	build(t)
	if config.StateDir == "" {
		config.StateDir = t.TempDir()
	}
	config.Worker = built.worker
	r, err := native.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// probe is a spec that runs the probe with the arguments.
func probe(t testing.TB, args ...string) containers.Spec {
	t.Helper()
	build(t)
	return containers.Spec{
		Name:   t.Name(),
		Layers: []string{built.image},
		Args:   append([]string{"/probe"}, args...),
		Env:    []string{"TZ=UTC"},
	}
}

// run runs the spec and returns what it wrote and how it ended.
func run(t testing.TB, r *native.Runner, spec containers.Spec) (string, *containers.Exit) {
	t.Helper()
	var out bytes.Buffer
	if spec.Stdout == nil {
		spec.Stdout, spec.Stderr = &out, &out
	}
	exit, err := r.Run(t.Context(), spec)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Cleanup(func() { exit.Close() })
	return out.String(), exit
}

// succeed runs the spec, which must exit with 0.
func succeed(t testing.TB, r *native.Runner, spec containers.Spec) string {
	t.Helper()
	out, exit := run(t, r, spec)
	if !exit.Success() {
		t.Fatalf("%v:\n%s", exit, out)
	}
	return out
}

// openDir is a directory of the host that any user can find and read.
func openDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			break
		}
	}
	return dir
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPayloadEndsAsItEnds(t *testing.T) {
	r := newRunner(t, native.Config{})
	for _, tc := range []struct {
		args   []string
		reason containers.Reason
		code   int
		signal syscall.Signal
	}{
		{[]string{"true"}, containers.Exited, 0, 0},
		{[]string{"exit", "1"}, containers.Exited, 1, 0},
		{[]string{"exit", "75"}, containers.Exited, 75, 0},
		{[]string{"kill", "9"}, containers.Signaled, 137, syscall.SIGKILL},
		{[]string{"kill", "15"}, containers.Signaled, 143, syscall.SIGTERM},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			_, exit := run(t, r, probe(t, tc.args...))
			if exit.Reason != tc.reason || exit.Code != tc.code || exit.Signal != tc.signal {
				t.Errorf("%v, code %d, signal %v; want %v, %d, %v", exit.Reason, exit.Code, exit.Signal, tc.reason, tc.code, tc.signal)
			}
			if exit.Usage.Wall <= 0 || exit.Usage.MaxRSS <= 0 || exit.Usage.User+exit.Usage.System <= 0 {
				t.Errorf("usage: %+v", exit.Usage)
			}
		})
	}
}

func TestOutputGoesToItsWriters(t *testing.T) {
	r := newRunner(t, native.Config{})
	var stdout, stderr bytes.Buffer
	spec := probe(t, "echo", "hello")
	spec.Stdout, spec.Stderr = &stdout, &stderr
	run(t, r, spec)
	if stdout.String() != "hello\n" || stderr.String() != "on stderr\n" {
		t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
	}
	if out := succeed(t, r, probe(t, "echo", "hello")); out != "hello\non stderr\n" {
		t.Errorf("both in one: %q", out)
	}
	spec.Stdout, spec.Stderr = nil, nil
	exit, err := r.Run(t.Context(), spec)
	if err != nil || !exit.Success() {
		t.Errorf("discarded: %v, %v", exit, err)
	}
}

func TestPayloadReadsItsStandardInput(t *testing.T) {
	r := newRunner(t, native.Config{})
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	io.WriteString(write, "one line\n")
	write.Close()
	spec := probe(t, "cat")
	spec.Stdin = read
	if got := succeed(t, r, spec); got != "one line\n" {
		t.Errorf("it read %q", got)
	}
	if got := succeed(t, r, probe(t, "cat")); got != "" {
		t.Errorf("without one it read %q", got)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestPayloadDoesNotNoticeABrokenWriter(t *testing.T) {
	r := newRunner(t, native.Config{})
	spec := probe(t, "echo", "hello")
	spec.Stdout = brokenWriter{}
	exit, err := r.Run(t.Context(), spec)
	if err != nil || !exit.Success() {
		t.Errorf("%v, %v", exit, err)
	}
}

func TestPayloadSeesItsMounts(t *testing.T) {
	r := newRunner(t, native.Config{})
	dir := openDir(t)
	writeFile(t, filepath.Join(dir, "a"), "in a directory")
	writeFile(t, filepath.Join(dir, "b"), "a file")
	spec := probe(t, "read", "/cube/request.json", "/cube/in/dem/a", "/cube/sources/b", "/cube/in/filled/c")
	spec.Mounts = []containers.Mount{
		{Kind: containers.Content, Target: "/cube/request.json", Content: []byte(`{"tile":1}`)},
		{Kind: containers.Bind, Source: dir, Target: "/cube/in/dem"},
		{Kind: containers.Bind, Source: filepath.Join(dir, "b"), Target: "/cube/sources/b"},
		{Kind: containers.Tmpfs, Target: "/cube/in/filled", Fill: func(root *os.Root) error {
			return root.WriteFile("c", []byte("filled"), 0o644)
		}},
	}
	got := succeed(t, r, spec)
	want := `/cube/request.json: ok: "{\"tile\":1}"
/cube/in/dem/a: ok: "in a directory"
/cube/sources/b: ok: "a file"
/cube/in/filled/c: ok: "filled"
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestKeptTmpfsOutlivesItsPayload(t *testing.T) {
	r := newRunner(t, native.Config{})
	for range 3 {
		spec := probe(t, "fill", "/cube/out/x/data", "2")
		spec.Mounts = []containers.Mount{{Kind: containers.Tmpfs, Target: "/cube/out", Size: 8 << 20, Keep: true, Dirs: []string{"x"}}}
		out, exit := run(t, r, spec)
		root, err := exit.OpenKept("/cube/out")
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		defer root.Close()
		exit.Close()
		b, err := root.ReadFile("x/data")
		if err != nil || len(b) != 2<<20 {
			t.Errorf("%d bytes, %v: %s", len(b), err, out)
		}
	}
}

// TestATmpfsAfterManyMountsIsItself holds that the handles that come back are told
// apart also where a tile sees as many parts of a source as it may.
func TestATmpfsAfterManyMountsIsItself(t *testing.T) {
	r := newRunner(t, native.Config{})
	file := filepath.Join(openDir(t), "part")
	writeFile(t, file, "a part")
	last := fmt.Sprintf("/cube/sources/rows/%04d", graph.MaxTileParts-1)
	spec := probe(t, "read", last, "/cube/in/dem/data")
	for i := range graph.MaxTileParts {
		spec.Mounts = append(spec.Mounts, containers.Mount{Kind: containers.Bind, Source: file, Target: fmt.Sprintf("/cube/sources/rows/%04d", i)})
	}
	spec.Mounts = append(spec.Mounts,
		containers.Mount{Kind: containers.Tmpfs, Target: "/cube/in/dem", Fill: func(root *os.Root) error { return root.WriteFile("data", []byte("filled"), 0o644) }},
		containers.Mount{Kind: containers.Tmpfs, Target: "/cube/out", Size: 1 << 20, Keep: true})
	out, exit := run(t, r, spec)
	defer exit.Close()
	if want := last + ": ok: \"a part\"\n/cube/in/dem/data: ok: \"filled\"\n"; out != want {
		t.Errorf("got:\n%s\nwant:\n%s", out, want)
	}
	if root, err := exit.OpenKept("/cube/out"); err != nil {
		t.Error(err)
	} else {
		root.Close()
	}
}

func TestErrorOfFillIsThatOfRun(t *testing.T) {
	r := newRunner(t, native.Config{})
	spec := probe(t, "true")
	want := errors.New("no input")
	spec.Mounts = []containers.Mount{{Kind: containers.Tmpfs, Target: "/cube/in", Fill: func(*os.Root) error { return want }}}
	if _, err := r.Run(t.Context(), spec); !errors.Is(err, want) {
		t.Errorf("error: %v", err)
	}
	spec.Mounts[0].Size = 1 << 16
	spec.Mounts[0].Fill = func(root *os.Root) error { return root.WriteFile("big", make([]byte, 1<<20), 0o644) }
	if _, err := r.Run(t.Context(), spec); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error: %v", err)
	}
}

func TestWritableBindBelongsToThePayload(t *testing.T) {
	r := newRunner(t, native.Config{})
	dir := openDir(t)
	spec := probe(t, "fill", "/cube/out/data", "1")
	spec.Mounts = []containers.Mount{{Kind: containers.Bind, Source: dir, Target: "/cube/out", Writable: true}}
	out := succeed(t, r, spec)
	if b, err := os.ReadFile(filepath.Join(dir, "data")); err != nil || len(b) != 1<<20 {
		t.Errorf("%d bytes, %v: %s", len(b), err, out)
	}
}

func TestUpperLayersHideLowerOnes(t *testing.T) {
	r := newRunner(t, native.Config{})
	low, high := openDir(t), openDir(t)
	writeFile(t, filepath.Join(low, "both"), "low")
	writeFile(t, filepath.Join(low, "lower"), "low")
	writeFile(t, filepath.Join(high, "both"), "high")
	spec := probe(t, "read", "/both", "/lower", "/etc/hostname")
	spec.Layers = append(spec.Layers, low, high)
	want := "/both: ok: \"high\"\n/lower: ok: \"low\"\n/etc/hostname: ok: \"cube\\n\"\n"
	if got := succeed(t, r, spec); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestImageOfHundredsOfLayersRuns(t *testing.T) {
	r := newRunner(t, native.Config{})
	spec := probe(t, "read", "/n")
	dir := openDir(t)
	for i := range 498 {
		layer := filepath.Join(dir, fmt.Sprint(i))
		if err := os.Mkdir(layer, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(layer, "n"), fmt.Sprint(i))
		spec.Layers = append(spec.Layers, layer)
	}
	if got := succeed(t, r, spec); got != "/n: ok: \"497\"\n" {
		t.Error(got)
	}
	spec.Layers = append(spec.Layers, dir)
	if _, err := r.Run(t.Context(), spec); !errors.Is(err, containers.ErrSpec) || !strings.Contains(err.Error(), "flatten") {
		t.Errorf("500 layers: %v", err)
	}
}

func TestSymlinksOfAnImageStayInIt(t *testing.T) {
	r := newRunner(t, native.Config{})
	layer, host := openDir(t), openDir(t)
	writeFile(t, filepath.Join(host, "mine"), "the host's")
	for link, to := range map[string]string{"cube": host, "tmp": "/../../../.." + host, "out": "/dev"} {
		if err := os.Symlink(to, filepath.Join(layer, link)); err != nil {
			t.Fatal(err)
		}
	}
	spec := probe(t, "true")
	spec.Layers = append(spec.Layers, layer)
	if exit, err := r.Run(t.Context(), spec); !errors.Is(err, containers.ErrSpec) {
		t.Errorf("%v, %v", exit, err)
	}
	if entries, err := os.ReadDir(host); err != nil || len(entries) != 1 {
		t.Errorf("the host's directory: %v, %v", entries, err)
	}
}

func TestBadSpecsAreRefused(t *testing.T) {
	r := newRunner(t, native.Config{})
	dir := openDir(t)
	mount := func(m ...containers.Mount) func(*containers.Spec) {
		return func(s *containers.Spec) { s.Mounts = m }
	}
	tmpfs := containers.Mount{Kind: containers.Tmpfs, Target: "/cube/x"}
	for name, change := range map[string]func(*containers.Spec){
		"no command":           func(s *containers.Spec) { s.Args = nil },
		"no layers":            func(s *containers.Spec) { s.Layers = nil },
		"relative layer":       func(s *containers.Spec) { s.Layers = []string{"x"} },
		"missing layer":        func(s *containers.Spec) { s.Layers = append(s.Layers, "/does/not/exist") },
		"root":                 func(s *containers.Spec) { s.UID, s.GID = 0, 5 },
		"root's group":         func(s *containers.Spec) { s.UID, s.GID = 5, 0 },
		"negative user":        func(s *containers.Spec) { s.UID, s.GID = -1, -1 },
		"command not there":    func(s *containers.Spec) { s.Args = []string{"/nothing"} },
		"command not in PATH":  func(s *containers.Spec) { s.Args = []string{"nothing"}; s.Env = []string{"PATH=/bin:/"} },
		"command no program":   func(s *containers.Spec) { s.Args = []string{"/etc/passwd"} },
		"directory not there":  func(s *containers.Spec) { s.Dir = "/nowhere" },
		"NUL in environment":   func(s *containers.Spec) { s.Env = []string{"A=\x00"} },
		"relative target":      mount(containers.Mount{Kind: containers.Tmpfs, Target: "cube/out"}),
		"target with dots":     mount(containers.Mount{Kind: containers.Tmpfs, Target: "/cube/../out"}),
		"target is the root":   mount(containers.Mount{Kind: containers.Tmpfs, Target: "/"}),
		"target below /proc":   mount(containers.Mount{Kind: containers.Tmpfs, Target: "/proc/1"}),
		"target is /cube":      mount(containers.Mount{Kind: containers.Tmpfs, Target: "/cube"}),
		"target not in image":  mount(containers.Mount{Kind: containers.Tmpfs, Target: "/data"}),
		"source not there":     mount(containers.Mount{Kind: containers.Bind, Source: dir + "/x", Target: "/cube/in"}),
		"relative source":      mount(containers.Mount{Kind: containers.Bind, Source: "x", Target: "/cube/in"}),
		"content outside":      mount(containers.Mount{Kind: containers.Content, Target: "/tmp/x"}),
		"content too large":    mount(containers.Mount{Kind: containers.Content, Target: "/cube/x", Content: make([]byte, 2<<20)}),
		"the same twice":       mount(tmpfs, tmpfs),
		"content below tmpfs":  mount(tmpfs, containers.Mount{Kind: containers.Content, Target: "/cube/x/y"}),
		"file over directory":  mount(containers.Mount{Kind: containers.Bind, Source: "/etc/passwd", Target: "/etc"}),
		"unknown kind":         mount(containers.Mount{Kind: 9, Target: "/cube/x"}),
		"negative size":        mount(containers.Mount{Kind: containers.Tmpfs, Target: "/cube/x", Size: -1}),
		"directory with slash": mount(containers.Mount{Kind: containers.Tmpfs, Target: "/cube/x", Dirs: []string{"../x"}}),
	} {
		t.Run(name, func(t *testing.T) {
			spec := probe(t, "true")
			change(&spec)
			exit, err := r.Run(t.Context(), spec)
			if !errors.Is(err, containers.ErrSpec) {
				t.Errorf("exit %v, error %v", exit, err)
			}
		})
	}
}

func TestCommandIsFoundInPath(t *testing.T) {
	r := newRunner(t, native.Config{})
	spec := probe(t)
	spec.Args, spec.Env = []string{"probe", "env"}, []string{"A=1", "PATH=/nowhere:/", "B="}
	if got := succeed(t, r, spec); got != "A=1\nPATH=/nowhere:/\nB=\n" {
		t.Errorf("environment: %q", got)
	}
}

func TestRunnerCarriesItsWorker(t *testing.T) {
	if os.Getenv(builtVariable) != "" {
		t.Skip("this user has no Go toolchain")
	}
	r, err := native.New(native.Config{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	succeed(t, r, probe(t, "true"))
}

func TestWorkerThatIsNoneIsAnError(t *testing.T) {
	build(t)
	r, err := native.New(native.Config{StateDir: t.TempDir(), Worker: "/bin/true"})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if exit, err := r.Run(t.Context(), probe(t, "true")); err == nil {
		t.Errorf("%v", exit)
	}
	if r, err := native.New(native.Config{StateDir: t.TempDir(), Worker: "/does/not/exist"}); err == nil {
		r.Close()
		t.Error("a worker that does not exist was taken")
	}
}

// TestEverythingHoldsWithoutRoot runs all the tests again as an ordinary user.
func TestEverythingHoldsWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this is not root")
	}
	build(t)
	const user = 1000
	home := openDir(t)
	if err := os.Chown(home, user, user); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(built.dir, "tests")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.v"}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "USER=someone", builtVariable + "=" + built.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("\n--- PASS")); n < 10 {
		t.Errorf("only %d tests passed:\n%s", n, out)
	}
	t.Logf("%s", out)
}
