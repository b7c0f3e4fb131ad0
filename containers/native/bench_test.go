//go:build linux

package native_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
)

// trivial is a spec with the mounts of an action and a command that does
// nothing.
func trivial(b *testing.B) containers.Spec {
	spec := probe(b, "true")
	in := b.TempDir()
	if err := os.WriteFile(filepath.Join(in, "x.npy"), make([]byte, 4096), 0o644); err != nil {
		b.Fatal(err)
	}
	os.Chmod(in, 0o755)
	os.Chmod(filepath.Dir(in), 0o755)
	spec.Mounts = []containers.Mount{
		{Kind: containers.Content, Target: "/cube/request.json", Content: []byte("{}")},
		{Kind: containers.Bind, Source: in, Target: "/cube/in"},
		{Kind: containers.Tmpfs, Target: "/cube/out", Keep: true},
		{Kind: containers.Tmpfs, Target: "/cube/scratch"},
	}
	spec.Limits = containers.Limits{Memory: 256 << 20, PIDs: 64, CPUs: 1}
	return spec
}

// start runs the spec to its end and returns the processor time it took.
func start(b *testing.B, r *native.Runner, spec containers.Spec) time.Duration {
	exit, err := r.Run(b.Context(), spec)
	if err != nil {
		b.Error(err)
		return 0
	}
	if !exit.Success() {
		b.Error(exit)
	}
	exit.Close()
	return exit.Usage.User + exit.Usage.System
}

func BenchmarkRun(b *testing.B) {
	for name, spares := range map[string]int{"cold": -1, "warm": 0} {
		b.Run(name, func(b *testing.B) {
			r, spec := newRunner(b, native.Config{Spares: spares}), trivial(b)
			start(b, r, spec)
			var cpu time.Duration
			for b.Loop() {
				cpu += start(b, r, spec)
			}
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

func BenchmarkRunTwoAtOnce(b *testing.B) {
	for name, spares := range map[string]int{"cold": -1, "warm": 0} {
		b.Run(name, func(b *testing.B) {
			r, spec := newRunner(b, native.Config{Spares: spares}), trivial(b)
			b.SetParallelism(1)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					start(b, r, spec)
				}
			})
		})
	}
}

// BenchmarkBubblewrap is the same command with the same mounts, by bwrap.
func BenchmarkBubblewrap(b *testing.B) {
	bwrap, err := exec.LookPath("bwrap")
	if err != nil {
		b.Skip("no bubblewrap here")
	}
	spec := trivial(b)
	args := []string{
		"--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL", "--hostname", "cube",
		"--uid", "65534", "--gid", "65534",
		"--ro-bind", built.image, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/cube",
		"--ro-bind", spec.Mounts[1].Source, "/cube/in",
		"--tmpfs", "/cube/out", "--tmpfs", "/cube/scratch", "--", "/probe", "true",
	}
	for _, dir := range []string{"proc", "dev", "tmp", "cube"} {
		os.MkdirAll(filepath.Join(built.image, dir), 0o755)
	}
	for b.Loop() {
		if out, err := exec.Command(bwrap, args...).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
	}
}
