//go:build linux

package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/cubebuild/cube/containers/native/worker"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestCgroupMountsAreFound(t *testing.T) {
	const mountinfo = `22 27 0:21 / /proc rw,relatime - proc proc rw
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
a broken line
50 1 0:50 / /x - tmpfs
`
	got := parseCgroupMounts([]byte(mountinfo))
	want := hierarchies{
		"":       {root: "/", point: "/sys/fs/cgroup/unified"},
		"cpu":    {root: "/", point: "/sys/fs/cgroup/cpu,cpuacct"},
		"memory": {root: "/docker/abc", point: "/sys/fs/cgroup/memory"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(hierarchy{})); diff != "" {
		t.Error(diff)
	}
}

func TestCgroupIsFoundWhereItIsMounted(t *testing.T) {
	mounts := hierarchies{
		"cpu":    {root: "/", point: "/sys/fs/cgroup/cpu"},
		"memory": {root: "/docker/abc", point: "/sys/fs/cgroup/memory"},
	}
	for _, tc := range []struct {
		controller, cgroup, want string
		ok                       bool
	}{
		{"cpu", "/", "/sys/fs/cgroup/cpu", true},
		{"cpu", "/slurm/job_1", "/sys/fs/cgroup/cpu/slurm/job_1", true},
		{"memory", "/docker/abc", "/sys/fs/cgroup/memory", true},
		{"memory", "/docker/abc/sub", "/sys/fs/cgroup/memory/sub", true},
		{"memory", "/elsewhere", "/sys/fs/cgroup/memory", true},
		{"memory", "", "", false},
		{"pids", "/", "", false},
	} {
		if got, ok := mounts.dir(tc.controller, tc.cgroup); got != tc.want || ok != tc.ok {
			t.Errorf("%s at %q: %q, %v; want %q, %v", tc.controller, tc.cgroup, got, ok, tc.want, tc.ok)
		}
	}
}

func FuzzParseCgroupMounts(f *testing.F) {
	f.Add([]byte("35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"))
	f.Add([]byte("41 31 0:38 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n"))
	f.Add([]byte(" - \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for controller, h := range parseCgroupMounts(b) {
			if h.point == "" || h.root == "" || controller != "" && controller != "memory" && controller != "pids" && controller != "cpu" {
				t.Errorf("%q: %+v", controller, h)
			}
		}
	})
}

func TestOnlyLeavesOfTheDeadAreOrphans(t *testing.T) {
	own, err := ownName()
	if err != nil {
		t.Fatal(err)
	}
	namespace, err := processNamespace()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		own + "abc.1":            false, // alive
		"cube-1-999999999-5-a.1": false, // of another process namespace
		"cube":                   false,
		"cube-":                  false,
		"cube-x-y-z-a":           false,
		"system.slice":           false,
		fmt.Sprintf("cube-%d-999999999-5-a.1", namespace):    true,
		fmt.Sprintf("cube-%d-1-987654321987-a.1", namespace): true, // process 1 did not start at that time
	} {
		if got := orphaned(name, namespace); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestTheLeavesOfOneThatEndedAndIsNotAskedForAreOrphans(t *testing.T) {
	namespace, err := processNamespace()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	// Waits for its end, and leaves it to be asked for.
	if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
		t.Fatal(err)
	}
	_, start, err := startOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if name := fmt.Sprintf("cube-%d-%d-%s-a.1", namespace, cmd.Process.Pid, start); !orphaned(name, namespace) {
		t.Errorf("%s is taken for a leaf of one that lives", name)
	}
}

// TestContainerIsBornIntoItsUnifiedCgroup makes a leaf in the v2 hierarchy even
// where v1 holds the controllers, so that this way is tried on either.
func TestContainerIsBornIntoItsUnifiedCgroup(t *testing.T) {
	mounts, err := cgroupMounts()
	if err != nil {
		t.Fatal(err)
	}
	unified, ok := mounts[""]
	if !ok || writable(unified.point) != nil {
		t.Skip("no v2 hierarchy to write to")
	}
	program, err := worker.Bytes(t.Context(), worker.Init)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "cube-worker")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{StateDir: t.TempDir(), Worker: path, Spares: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.groups.unified = unified.point
	b, err := r.spares.take(user{nobody, nobody})
	if err != nil {
		t.Fatal(err)
	}
	leaf := b.leaf.unified.Name()
	procs, err := os.ReadFile(filepath.Join(leaf, "cgroup.procs"))
	if got := strings.TrimSpace(string(procs)); err != nil || got != strconv.Itoa(b.init.Pid) {
		t.Errorf("in %s: %q, %v; want process %d", leaf, got, err, b.init.Pid)
	}
	r.abandon(b)
	r.background.Wait()
	if _, err := os.Stat(leaf); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", leaf, err)
	}
}
