package images

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// compileGo compiles the program for the image, bit by bit the same wherever
// it is done, and returns where it is.
func (b *builder) compileGo(ctx context.Context, tmp string) (string, error) {
	root, err := b.materialize(tmp)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, filepath.FromSlash(b.src.Recipe.Go.pkg()))
	mod, err := findGoMod(dir, root)
	if err != nil {
		return "", err
	}
	toolchain, err := goToolchain(mod)
	if err != nil {
		return "", err
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("%w: go, 1.21 or later, which compiles this producer (on Debian 13 and later: apt-get install golang-go; elsewhere as the Go project's install page says)", ErrTool)
	}
	run := func(args ...string) ([]byte, error) {
		return runGo(ctx, goTool, dir, append(b.goEnv(toolchain), "TMPDIR="+tmp), args...)
	}
	if b.src.Dir != "" {
		if err := b.watchGo(run, mod); err != nil {
			return "", err
		}
	}
	out := filepath.Join(tmp, "program")
	return out, b.step(func() error {
		_, err := run("build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, ".")
		return err
	}, "compile with %s", toolchain)
}

// findGoMod finds the go.mod of dir, no higher than the producer directory.
func findGoMod(dir, root string) (string, error) {
	for d := dir; ; d = filepath.Dir(d) {
		mod := filepath.Join(d, "go.mod")
		if _, err := os.Stat(mod); err == nil {
			return mod, nil
		}
		if d == root || len(d) <= len(root) {
			return "", recipeErrorf("go", "the producer directory has no go.mod of its own (run there: go mod init)")
		}
	}
}

var (
	toolchainLine = regexp.MustCompile(`(?m)^toolchain\s+(go[0-9][0-9A-Za-z.]*)\s*(//.*)?$`)
	goLine        = regexp.MustCompile(`(?m)^go\s+([0-9]+\.[0-9]+)(\.[0-9]+|(?:rc|beta)[0-9]+)?\s*(//.*)?$`)
)

// goToolchain is the exact compiler that a go.mod asks for.
func goToolchain(mod string) (string, error) {
	b, err := os.ReadFile(mod)
	if err != nil {
		return "", err
	}
	if m := toolchainLine.FindSubmatch(b); m != nil {
		return string(m[1]), nil
	}
	m := goLine.FindSubmatch(b)
	switch {
	case m == nil:
		return "", recipeErrorf("go", "its go.mod has no go line, which names the exact compiler")
	case len(m[2]) == 0:
		return "go" + string(m[1]) + ".0", nil
	}
	return "go" + string(m[1]) + string(m[2]), nil
}

// goEnv is the environment of the go command: the caller's, for its proxy and
// caches, with all that decides the program's bytes set.
func (b *builder) goEnv(toolchain string) []string {
	drop := []string{"GOFLAGS", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GODEBUG", "GOFIPS140",
		"GOWORK", "GOTOOLCHAIN", "GOTMPDIR", "TMPDIR", "CGO_ENABLED", "GO111MODULE", "GOROOT", "PWD"}
	env := slices.DeleteFunc(slices.Clone(b.store.cfg.Env), func(kv string) bool {
		k, _, _ := strings.Cut(kv, "=")
		return slices.Contains(drop, k)
	})
	return append(env, "GOOS="+b.platform.OS, "GOARCH="+b.platform.Arch, b.platform.machine().env, "CGO_ENABLED=0",
		"GOFLAGS=-mod=readonly", "GOWORK=off", "GO111MODULE=on", "GOTOOLCHAIN="+toolchain, "GOEXPERIMENT=", "GOFIPS140=off")
}

func runGo(ctx context.Context, tool, dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir, cmd.Env = dir, env
	// Interrupted, it tidies up; what it left is in TMPDIR, which is ours.
	cmd.Cancel, cmd.WaitDelay = func() error { return cmd.Process.Signal(os.Interrupt) }, time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		said := strings.TrimSpace(stderr.String())
		if strings.Contains(said, syscall.ENOSPC.Error()) {
			err = syscall.ENOSPC // so that callers can tell
		}
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, said)
	}
	return stdout.Bytes(), nil
}

// goPackage is what `go list` says of one.
type goPackage struct {
	Dir      string
	Standard bool
	Module   *goModule
	EmbedFiles,
	GoFiles, SFiles, HFiles, SysoFiles, IgnoredGoFiles []string
}

type goModule struct {
	Main    bool
	GoMod   string
	Replace *goModule
	Version string
}

// local reports whether the module is a folder that may change, rather than
// one of the module cache, which go.sum pins.
func (m *goModule) local() bool {
	return m != nil && (m.Main || m.Replace != nil && m.Replace.Version == "")
}

// watchGo notes the files that the program is compiled from.
func (b *builder) watchGo(run func(...string) ([]byte, error), mod string) error {
	b.inputs.add(mod)
	b.inputs.add(filepath.Join(filepath.Dir(mod), "go.sum"))
	out, err := run("list", "-deps", "-json=Dir,Standard,Module,GoFiles,SFiles,HFiles,SysoFiles,IgnoredGoFiles,EmbedFiles", ".")
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("go list: %w", err)
		}
		if !p.Standard && p.Module.local() {
			b.watchPackage(&p)
		}
	}
}

func (b *builder) watchPackage(p *goPackage) {
	b.inputs.add(p.Dir)
	if p.Module.Replace != nil {
		b.inputs.add(p.Module.Replace.GoMod)
	}
	for _, f := range slices.Concat(p.GoFiles, p.SFiles, p.HFiles, p.SysoFiles, p.IgnoredGoFiles, p.EmbedFiles) {
		file := filepath.Join(p.Dir, f)
		b.inputs.add(file)
		b.inputs.add(filepath.Dir(file))
	}
}
