package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// slowDisk is a real file system, ext4 on a loop device, that can be made slow
// for processes: what they write waits, as on a disk that is worn out or busy.
type slowDisk struct {
	*room
	group  string // a cgroup of the blkio hierarchy
	device string // its numbers
}

// newSlowDisk mounts one at a path. It is nil where this machine has none of what
// that takes: loop devices, and the blkio cgroups of version 1.
func newSlowDisk(t *testing.T, dir string, size int) *slowDisk {
	t.Helper()
	const hierarchy = "/sys/fs/cgroup/blkio"
	if _, err := os.Stat(hierarchy + "/blkio.throttle.write_bps_device"); err != nil {
		t.Log("NOT TESTED: slow disks, for want of blkio cgroups")
		return nil
	}
	image := filepath.Join(t.TempDir(), "image")
	out, err := exec.Command("sh", "-ec", `truncate -s "$2"k "$1"; mkfs.ext4 -q -m 0 "$1"; losetup --find --show "$1"`, "sh", image, fmt.Sprint(size)).CombinedOutput()
	if err != nil {
		t.Logf("NOT TESTED: slow disks: %v: %s", err, out)
		return nil
	}
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() { detach(t, loop) })
	device, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(loop), "dev"))
	if err == nil {
		err = unix.Mount(loop, dir, "ext4", 0, "")
	}
	if err != nil {
		t.Fatalf("mount a file system on %s: %v", loop, err)
	}
	d := &slowDisk{&room{t, dir, size}, filepath.Join(hierarchy, fmt.Sprintf("slow-%d-%s", os.Getpid(), filepath.Base(loop))), strings.TrimSpace(string(device))}
	t.Cleanup(d.unmount)
	if err := os.Mkdir(d.group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(d.group); err != nil {
			t.Errorf("remove a cgroup: %v", err)
		}
	})
	return d
}

func detach(t *testing.T, loop string) {
	if out, err := exec.Command("losetup", "--detach", loop).CombinedOutput(); err != nil {
		t.Errorf("detach %s: %v: %s", loop, err, out)
	}
}

// hold has a process, and what it starts from then on, feel the limit.
func (d *slowDisk) hold(pid int) {
	_ = os.WriteFile(filepath.Join(d.group, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0) // it may have ended
}

// limit bounds what is written to so many bytes a second; 0: no bound.
func (d *slowDisk) limit(t *testing.T, rate int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.group, "blkio.throttle.write_bps_device"), fmt.Appendf(nil, "%s %d", d.device, rate), 0); err != nil {
		t.Errorf("slow a disk down: %v", err)
	}
}
