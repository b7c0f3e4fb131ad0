//go:build linux

package native_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
)

// enforced runs the spec and skips the test where the kernel would not take the
// limit; that it is then named as not enforced is tested by the skip.
func enforced(t *testing.T, limit string, spec containers.Spec) (string, *containers.Exit) {
	t.Helper()
	out, exit := run(t, newRunner(t, native.Config{}), spec)
	for _, u := range exit.Unenforced {
		if strings.HasPrefix(u, limit+": ") {
			t.Skip("not enforced here: ", u)
		}
	}
	return out, exit
}

func TestTimeIsLimited(t *testing.T) {
	spec := probe(t, "sleep")
	spec.Limits.Time = 200 * time.Millisecond
	out, exit := enforced(t, "time", spec)
	if exit.Reason != containers.TimedOut || exit.Success() || exit.Usage.Wall < spec.Limits.Time || exit.Usage.Wall > 20*time.Second {
		t.Errorf("%v after %v: %s", exit, exit.Usage.Wall, out)
	}
}

func TestMemoryIsLimited(t *testing.T) {
	spec := probe(t, "eat", "256")
	spec.Limits.Memory = 64 << 20
	out, exit := enforced(t, "memory", spec)
	if exit.Reason != containers.OutOfMemory || strings.Contains(out, "ate") {
		t.Errorf("%v: %s", exit, out)
	}
	if exit.Usage.MaxRSS < 48<<20 || exit.Usage.MaxRSS > 80<<20 {
		t.Errorf("peak of %d MiB", exit.Usage.MaxRSS>>20)
	}
	spec.Args[2] = "16"
	if out, exit := enforced(t, "memory", spec); !exit.Success() {
		t.Errorf("within the limit: %v: %s", exit, out)
	}
}

func TestWhatIsWrittenToTmpfsCountsAsMemory(t *testing.T) {
	spec := probe(t, "fill", "/cube/out/data", "256")
	spec.Limits.Memory = 64 << 20
	spec.Mounts = []containers.Mount{{Kind: containers.Tmpfs, Target: "/cube/out", Size: 512 << 20, Keep: true}}
	if out, exit := enforced(t, "memory", spec); exit.Reason != containers.OutOfMemory {
		t.Errorf("%v: %s", exit, out)
	}
}

func TestProcessesAreLimited(t *testing.T) {
	spec := probe(t, "forks")
	spec.Limits.PIDs = 50
	out, exit := enforced(t, "pids", spec)
	var n int
	if _, err := fmt.Sscanf(out, "forks %d resource temporarily unavailable", &n); err != nil || n > 60 || n < 20 {
		t.Errorf("%v: %s", exit, out)
	}
	// It left them all behind, and Run has returned: they are gone.
	if !exit.Success() {
		t.Error(exit)
	}
}

func TestProcessorTimeIsLimited(t *testing.T) {
	spec := probe(t, "burn")
	spec.Limits.CPUs = 0.2
	_, exit := enforced(t, "cpu", spec)
	if used := exit.Usage.User + exit.Usage.System; used > 700*time.Millisecond {
		t.Errorf("used %v of one second", used)
	}
}

func TestDiskIsLimited(t *testing.T) {
	r := newRunner(t, native.Config{TmpSize: 4 << 20})
	for _, dir := range []string{"/cube/out", "/cube/scratch", "/tmp", "/dev/shm"} {
		spec := probe(t, "fill", dir+"/data", "64")
		spec.Mounts = []containers.Mount{
			{Kind: containers.Tmpfs, Target: "/cube/out", Size: 8 << 20, Keep: true},
			{Kind: containers.Tmpfs, Target: "/cube/scratch", Size: 8 << 20},
		}
		out := succeed(t, r, spec)
		var n int
		if _, err := fmt.Sscanf(out, "filled %d no space left on device", &n); err != nil || n > 8 || n < 3 {
			t.Errorf("%s: %s", dir, out)
		}
	}
}

func TestWhatIsNotEnforcedIsSaid(t *testing.T) {
	var names []string
	for _, c := range native.Probe(t.Context(), native.Config{Worker: worker(t)}) {
		if after, ok := strings.CutPrefix(c.Name, "limit "); ok && !c.OK {
			names = append(names, after)
		}
	}
	spec := probe(t, "true")
	spec.Limits = containers.Limits{Memory: 1 << 30, PIDs: 100, CPUs: 1, Time: time.Minute}
	_, exit := run(t, newRunner(t, native.Config{}), spec)
	var said []string
	for _, u := range exit.Unenforced {
		name, why, _ := strings.Cut(u, ": ")
		if why == "" {
			t.Errorf("no reason: %q", u)
		}
		said = append(said, name)
	}
	if slices.Sort(names); !slices.Equal(names, slices.Sorted(slices.Values(said))) {
		t.Errorf("the doctor says %v, the exit %v", names, said)
	}
}

func TestNothingOutlivesItsPayload(t *testing.T) {
	r := newRunner(t, native.Config{})
	start := time.Now()
	out, exit := run(t, r, probe(t, "orphan"))
	if !exit.Success() || out != "left ok\n" {
		t.Errorf("%v: %s", exit, out)
	}
	// The orphan holds the pipe: Run returns only when it is dead.
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestEndOfContextEndsTheContainer(t *testing.T) {
	r := newRunner(t, native.Config{})
	why := errors.New("enough")
	for _, after := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 300 * time.Millisecond} {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(after, func() { cancel(why) })
		spec := probe(t, "sleep")
		spec.Mounts = []containers.Mount{{Kind: containers.Tmpfs, Target: "/cube/out", Keep: true}}
		if exit, err := r.Run(ctx, spec); !errors.Is(err, why) {
			t.Errorf("after %v: %v, %v", after, exit, err)
		}
	}
}

func TestNothingIsLeftOnTheHost(t *testing.T) {
	before := hostState(t)
	state := t.TempDir()
	r, err := native.New(native.Config{StateDir: state, Worker: worker(t)})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"true"}, {"exit", "3"}, {"orphan"}, {"nothing"}} {
		spec := dumpSpec(t, openDir(t))
		spec.Args = append([]string{"/probe"}, args...)
		exit, err := r.Run(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		exit.Close()
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if after := hostState(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if entries, _ := os.ReadDir(filepath.Join(state, "base")); len(entries) != 0 {
		t.Errorf("in the base: %v", entries)
	}
}

func worker(t *testing.T) string {
	build(t)
	return built.worker
}

// hostState is what a sandbox might leave: mounts, cgroups, child processes and
// descriptors of this process.
func hostState(t *testing.T) string {
	t.Helper()
	mountinfo, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	mounts := "" // others on the machine may mount what they like, their tests, too
	own, _, _ := strings.Cut(t.Name(), "/")
	for line := range strings.Lines(string(mountinfo)) {
		if strings.Contains(line, "/"+own) || strings.Contains(line, "native-test-") || strings.Contains(line, "lowerdir=0:") {
			mounts += line
		}
	}
	children, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var processes []string
	for _, c := range children {
		b, _ := os.ReadFile(c)
		processes = append(processes, strings.Fields(string(b))...)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s\nchildren %v\ncgroups %v\ndescriptors %d", mounts, processes, leaves(fmt.Sprintf("-%d-", os.Getpid())), len(fds))
}

// leaves are the leaf cgroups whose names hold the part.
func leaves(part string) (found []string) {
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), "cube-") && strings.Contains(d.Name(), part) {
			found = append(found, path)
		}
		return nil
	})
	return found
}
