package wheel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// ErrGone is in the chain when the index has no such wheel any more.
var ErrGone = errors.New("wheel is not to be had")

// Pip fetches wheels. It asks the index that this machine's pip is set up with.
type Pip struct {
	// Command runs pip: "python3 -m pip", as words.
	Command []string
	Env     []string
}

// Target is what wheels must run on.
type Target struct {
	Python  string // "3.11"
	Glibc   int    // the second number of glibc's version: 36
	Machine string // "x86_64"
}

// Pin is one wheel, exactly.
type Pin struct {
	Name, Version string
	File          string
	SHA256        string
	Size          int64
}

func (t Target) args() []string {
	abi := "cp" + strings.ReplaceAll(t.Python, ".", "")
	args := []string{"--only-binary", ":all:", "--implementation", "cp", "--python-version", t.Python, "--abi", abi}
	for n := t.Glibc; n >= 17; n-- {
		args = append(args, "--platform", fmt.Sprintf("manylinux_2_%d_%s", n, t.Machine))
	}
	return append(args, "--platform", "manylinux2014_"+t.Machine)
}

// Download resolves requirements and fetches the wheels of all that they need
// into dir.
func (p Pip) Download(ctx context.Context, dir string, requirements []string, t Target) error {
	return p.download(ctx, dir, t, strings.Join(requirements, "\n")+"\n")
}

// Fetch fetches exactly the pins into dir. Where one is no longer to be had,
// the error is ErrGone.
func (p Pip) Fetch(ctx context.Context, dir string, pins []Pin, t Target) error {
	var b strings.Builder
	for _, pin := range pins {
		fmt.Fprintf(&b, "%s==%s --hash=sha256:%s\n", pin.Name, pin.Version, pin.SHA256)
	}
	return p.download(ctx, dir, t, b.String(), "--no-deps", "--require-hashes")
}

func (p Pip) download(ctx context.Context, dir string, t Target, requirements string, flags ...string) error {
	req := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(req, []byte(requirements), 0o644); err != nil {
		return err
	}
	defer os.Remove(req)
	args := slices.Concat(p.Command[1:], []string{"download", "--quiet", "--disable-pip-version-check", "--no-input",
		"--no-cache-dir", "--dest", dir, "--requirement", req}, t.args(), flags)
	cmd := exec.CommandContext(ctx, p.Command[0], args...)
	cmd.Dir = dir
	cmd.Env = append(slices.Clone(p.Env), "LC_ALL=C.UTF-8", "PYTHONNOUSERSITE=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return pipError(out.String(), err)
	}
	return nil
}

// pipError makes an error of what pip complained of.
func pipError(out string, err error) error {
	var errs []string
	for line := range strings.Lines(out) {
		if rest, ok := strings.CutPrefix(line, "ERROR: "); ok {
			errs = append(errs, strings.TrimSpace(rest))
		}
	}
	text := strings.Join(errs, "; ")
	switch {
	case strings.Contains(text, "No matching distribution found"), strings.Contains(text, "DO NOT MATCH THE HASHES"):
		return fmt.Errorf("%w: %s", ErrGone, text)
	case text == "":
		text = strings.TrimSpace(out)
	}
	return fmt.Errorf("pip: %w: %s", err, text)
}

// ParseName splits the file name of a wheel.
func ParseName(file string) (name, version string, err error) {
	parts := strings.Split(strings.TrimSuffix(file, ".whl"), "-")
	if !strings.HasSuffix(file, ".whl") || len(parts) < 5 || len(parts) > 6 {
		return "", "", fmt.Errorf("%w: %q is not the file name of one", ErrFormat, file)
	}
	return Normalize(parts[0]), parts[1], nil
}

// Normalize is the canonical form of a Python project's name.
func Normalize(name string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(name), func(r rune) bool {
		return r == '-' || r == '_' || r == '.'
	}), "-")
}
