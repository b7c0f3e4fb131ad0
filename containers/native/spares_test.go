//go:build linux

package native_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
)

// ownMountsVariable says that the test is in a mount namespace of its own.
const ownMountsVariable = "CUBE_TEST_OWN_MOUNTS"

func TestMountsThatTheHostMakesLaterAreSeen(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root mounts")
	}
	if os.Getenv(ownMountsVariable) == "" {
		build(t)
		cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), ownMountsVariable+"=1", builtVariable+"="+built.dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	r := newRunner(t, native.Config{Spares: 2})
	dir := openDir(t)
	spec := probe(t, "read", "/cube/in/file")
	spec.Mounts = []containers.Mount{{Kind: containers.Bind, Source: dir, Target: "/cube/in"}}
	for i := range 4 {
		succeed(t, r, spec)
		time.Sleep(20 * time.Millisecond) // for the spares to be ready
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
		writeFile(t, filepath.Join(dir, "file"), fmt.Sprint(i))
		time.Sleep(20 * time.Millisecond) // and for whoever else would hear of the mount
		if got, want := succeed(t, r, spec), fmt.Sprintf("/cube/in/file: ok: \"%d\"\n", i); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestManyAtOnceLeaveNothing is short in a usual run of the tests, and long
// where CUBE_SOAK is set.
func TestManyAtOnceLeaveNothing(t *testing.T) {
	n := 20
	if os.Getenv("CUBE_SOAK") != "" {
		n = 1000
	}
	before := hostState(t)
	r, err := native.New(native.Config{StateDir: t.TempDir(), Worker: worker(t)})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range n {
				runOne(t, r, i)
			}
		})
	}
	all.Wait()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if after := hostState(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// runOne runs one container of several kinds and checks what it wrote.
func runOne(t *testing.T, r *native.Runner, i int) {
	spec := probe(t, "fill", "/cube/out/data", "1")
	spec.UID, spec.GID = 1000+i%3, 1000
	spec.Limits = containers.Limits{Memory: 128 << 20, PIDs: 64, Time: time.Minute}
	spec.Mounts = []containers.Mount{{Kind: containers.Tmpfs, Target: "/cube/out", Keep: true}}
	exit, err := r.Run(t.Context(), spec)
	if err != nil || !exit.Success() {
		t.Errorf("%v, %v", exit, err)
		return
	}
	defer exit.Close()
	root, err := exit.OpenKept("/cube/out")
	if err != nil {
		t.Error(err)
		return
	}
	defer root.Close()
	if info, err := root.Stat("data"); err != nil || info.Size() != 1<<20 {
		t.Errorf("%v, %v", info, err)
	}
}
