package lineage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
)

// ReadGit describes the work tree that dir lies in. Where there is no git, or
// dir lies in no work tree, it is zero and no error. Nothing is written, and
// no program that the repository's configuration names is run.
func ReadGit(ctx context.Context, dir string) (Git, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return Git{}, nil
	}
	out, err := runGit(ctx, git, dir, "status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--", ".", ":(exclude).cube")
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return Git{}, nil // not a work tree, or one that git does not trust
	}
	if err != nil {
		return Git{}, fmt.Errorf("read git state of %s: %w", dir, err)
	}
	g := parseStatus(out)
	if g.Commit != "" {
		if out, err := runGit(ctx, git, dir, "describe", "--tags", "--always"); err == nil {
			g.Describe = strings.TrimSpace(string(out))
		}
	}
	return g, ctx.Err()
}

func runGit(ctx context.Context, git, dir string, args ...string) ([]byte, error) {
	args = append([]string{"--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + os.DevNull, "-C", dir}, args...)
	return exec.CommandContext(ctx, git, args...).Output()
}

// parseStatus reads `git status --porcelain=v2 --branch`.
func parseStatus(out []byte) Git {
	var g Git
	for line := range bytes.Lines(out) {
		text := strings.TrimRight(string(line), "\n")
		if oid, ok := strings.CutPrefix(text, "# branch.oid "); ok {
			if oid != "(initial)" {
				g.Commit = oid
			}
		} else if text != "" && !strings.HasPrefix(text, "#") {
			g.Dirty = true
		}
	}
	return g
}

// ReadHost describes this machine, as far as it tells.
func ReadHost() Host {
	h := Host{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU()}
	h.Name, _ = os.Hostname()
	if b, err := os.ReadFile("/etc/os-release"); err == nil {
		if name := strings.Trim(field(string(b), "PRETTY_NAME", "="), `"`); name != "" {
			h.OS = name
		}
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		h.Kernel = strings.TrimSpace(string(b))
	}
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		kib, _, _ := strings.Cut(field(string(b), "MemTotal", ":"), " ")
		n, _ := strconv.ParseInt(kib, 10, 64)
		h.Memory = n << 10
	}
	b, _ := os.ReadFile("/proc/cpuinfo")
	h.CPUModel = field(string(b), "model name", ":")
	h.CPUClass = CPUClass(runtime.GOARCH, field(string(b), "flags", ":"))
	return h
}

// field returns the value of the first line "name<sep>value" of text.
func field(text, name, sep string) string {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, sep); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// levels are the flags, by their names in /proc/cpuinfo, that each level of
// x86-64 adds to the one below; the first level is all of amd64.
var levels = [][]string{
	{"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"},
	{"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"},
	{"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}

// CPUClass names the class of a processor: the level of x86-64 that its flags
// reach, amd64-v1 to amd64-v4, or the architecture.
func CPUClass(arch, flags string) string {
	if arch != "amd64" {
		return arch
	}
	has := map[string]bool{}
	for f := range strings.FieldsSeq(flags) {
		has[f] = true
	}
	level := 1
	for _, needed := range levels {
		for _, f := range needed {
			if !has[f] {
				return "amd64-v" + strconv.Itoa(level)
			}
		}
		level++
	}
	return "amd64-v" + strconv.Itoa(level)
}
