package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// room is a file system of a bounded size.
type room struct {
	t    *testing.T
	dir  string
	size int // in KiB
}

// newRoom mounts a small file system below a folder. Only root can.
func newRoom(t *testing.T, below string, size int) *room {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED: what a full disk does. Only root can mount the small file system that this takes.")
	}
	return newRoomAt(t, filepath.Join(below, ownMount+"room"), size)
}

// newRoomAt is newRoom at a path, for root.
func newRoomAt(t *testing.T, dir string, size int) *room {
	t.Helper()
	r := &room{t, dir, size}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", r.dir, "tmpfs", 0, r.options()); err != nil {
		t.Fatalf("mount a small file system: %v", err)
	}
	t.Cleanup(r.unmount)
	return r
}

func (r *room) unmount() {
	if err := unix.Unmount(r.dir, unix.MNT_DETACH); err != nil {
		r.t.Errorf("unmount: %v", err)
	}
}

func (r *room) options() string { return fmt.Sprintf("size=%dk", r.size) }

// grow makes room for so many KiB more.
func (r *room) grow(by int) {
	r.t.Helper()
	r.size += by
	if err := unix.Mount("", r.dir, "", unix.MS_REMOUNT, r.options()); err != nil {
		r.t.Fatalf("make room: %v", err)
	}
}

// used is how many KiB are taken.
func (r *room) used() int {
	r.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(r.dir, &st); err != nil {
		r.t.Fatal(err)
	}
	return int(int64(st.Blocks-st.Bfree) * st.Bsize >> 10)
}

// free is how many KiB are left.
func (r *room) free() int {
	r.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(r.dir, &st); err != nil {
		r.t.Fatal(err)
	}
	return int(int64(st.Bavail) * st.Bsize >> 10)
}

// moveInto moves the workspace, but not its home, into a room.
func (w *workspace) moveInto(r *room) {
	w.t.Helper()
	dir := filepath.Join(r.dir, "workspace")
	w.must(writeWorkspace(dir, w.size, filepath.Join(warmed, "producers")))
	w.dir = dir
}

// saysFull fails the test unless the build failed because of a full disk, and
// said so and what to do.
func saysFull(t *testing.T, code int, output string) {
	t.Helper()
	if code != 1 {
		t.Errorf("exit %d, want 1", code)
	}
	logContains(t, output, "no space left on device", "the disk is full", "Make room")
	if strings.Contains(output, "goroutine ") {
		t.Errorf("it panicked:\n%s", output)
	}
}

// fillUp builds in a room that grows a little whenever that fails for want of
// it. After each failure the cube must be as it was, which before checks, or,
// where only its plain view was left to be made, as it should become. It
// returns how often the build failed, and the engines. A step must be more than
// what the record of a failed run takes.
func (w *workspace) fillUp(r *room, step int, before func(), want result) (failures int, engines []*engine) {
	w.t.Helper()
	for {
		e := w.start("build")
		engines = append(engines, e)
		code := e.wait()
		if code == 0 {
			return failures, engines
		}
		failures++
		saysFull(w.t, code, e.output())
		w.stopped(e)
		if strings.Contains(e.output(), "view heads: ") {
			w.wants(want)
		} else {
			before()
		}
		if w.t.Failed() {
			w.t.Fatalf("with %d KiB:\n%s", r.size, e.output())
		}
		r.grow(step)
	}
}

// lists fails the test where `cube ls` does not list just these variables.
func (w *workspace) lists(want ...string) {
	w.t.Helper()
	e := w.start("ls")
	code := e.wait()
	if code != 0 {
		w.t.Errorf("cube ls: exit %d\n%s", code, e.output())
	}
	for _, v := range variables {
		listed := strings.Contains(e.output(), v)
		wanted := strings.Contains(strings.Join(want, " "), v)
		if listed != wanted {
			w.t.Errorf("cube ls: %s is listed: %v, want %v\n%s", v, listed, wanted, e.output())
		}
	}
}

func TestAFullDiskLeavesTheCubeAsItWas(t *testing.T) {
	t.Parallel()
	tiles := size{4, 6, 32}
	old := tiles.calm(t)
	change := func(w *workspace) {
		w.add("first", 1)
	}
	renewed := tiles.calmWith(t, change)

	w := newWorkspace(t, tiles)
	r := newRoom(t, w.root, 64<<10)
	w.moveInto(r)
	w.build()
	w.wants(old)
	change(w)
	r.size = r.used() // not a byte is left
	r.grow(0)
	failures, engines := w.fillUp(r, long(16, 160), func() {
		w.lists(variables...)
		w.wants(old)
	}, renewed)
	if failures < 3 {
		t.Errorf("the disk was full only %d times", failures)
	}
	w.clean(engines...)
	w.wants(renewed)
	w.sound()
	t.Logf("the disk was full %d times", failures)
}

func TestAFullDiskDuringTheFirstBuildOfACube(t *testing.T) {
	t.Parallel()
	want := small.calm(t)
	w := newWorkspace(t, small)
	r := newRoom(t, w.root, 1<<10)
	w.moveInto(r)
	r.size = r.used()
	r.grow(0)
	failures, engines := w.fillUp(r, long(24, 40), func() {
		if w.hasHeads() {
			t.Error("a head has moved")
		}
	}, want)
	w.clean(engines...)
	w.wants(want)
	w.sound()
	t.Logf("the disk was full %d times", failures)
}

func TestAFullDiskInTheUsersCache(t *testing.T) {
	t.Parallel()
	want := small.calm(t)
	w := newBareWorkspace(t, small)
	r := newRoom(t, w.root, 4)
	w.must(os.Remove(w.cache()))
	w.must(os.Remove(filepath.Dir(w.cache())))
	w.must(os.Symlink(r.dir, filepath.Dir(w.cache())))
	failures, engines := w.fillUp(r, long(128, 1024), func() {
		if w.hasHeads() {
			t.Error("a head has moved")
		}
	}, want)
	if failures < 3 {
		t.Errorf("the disk was full only %d times", failures)
	}
	w.clean(engines...)
	w.wants(want)
	t.Logf("the disk was full %d times", failures)
}
