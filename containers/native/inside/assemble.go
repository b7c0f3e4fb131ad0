//go:build linux

package inside

import (
	"encoding/binary"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLowers is the kernel's limit on the layers of one overlay.
const maxLowers = 500

// assembly is a file tree in the making: the prepared base becomes the one
// that the payload sees. Targets are looked up within root, so that no symlink
// of an image leads out of it.
type assembly struct {
	config  *Config
	root    int // the overlay's root directory
	hidden  int // sources hidden behind an overlay so far
	handles []int
	indexes []byte // of handles, as a frame has them
	// filled are mounts that become read-only once they are filled, or at once
	// where the payload serves.
	filled []int
	made   []string // directories below /cube, by their paths in the base
}

// assemble makes the file tree and enters it. The tmpfs handles asked for go
// to the engine over the socket.
func assemble(c *Config, sock int) error {
	a := &assembly{config: c}
	if err := a.mountRoot(); err != nil {
		return err
	}
	if c.Terminal {
		if err := addTerminal(); err != nil {
			return err
		}
	}
	for _, dir := range []string{"proc", "dev", "tmp", "cube"} {
		if err := a.attach(dir, "/"+dir); err != nil {
			return err
		}
	}
	for i := range c.Mounts {
		if err := a.mount(i); err != nil {
			return err
		}
	}
	if err := a.handOver(sock); err != nil {
		return err
	}
	return a.enter()
}

// mountRoot mounts the layers on root/. They are named by symlinks with
// neutral names, because /proc/self/mountinfo repeats what it was told.
func (a *assembly) mountRoot() error {
	if len(a.config.Layers) > maxLowers {
		return blame("mount image", unix.E2BIG)
	}
	var lowers strings.Builder
	for i, layer := range a.config.Layers {
		name := strconv.Itoa(i)
		if err := unix.Symlink(layer, "l/"+name); err != nil {
			return wrong("name layer", err)
		}
		if i > 0 {
			lowers.WriteByte(':')
		}
		lowers.WriteString(name)
	}
	err := overlay(lowers.String(), "../root")
	what := "mount image of " + strconv.Itoa(len(a.config.Layers)) + " layers"
	if err == unix.ENOENT || err == unix.ENOTDIR {
		return blame(what, err)
	}
	if err != nil {
		return wrong(what, err)
	}
	a.root, err = unix.Open("root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return wrong("open root", err)
}

// overlay mounts the lowers, relative to l/, at target. It is read-only, so it
// needs no upper; user.overlay.* attributes mark opaque directories, because
// that is what can be written and read without root, too.
func overlay(lowers, target string) error {
	if err := unix.Chdir("l"); err != nil {
		return err
	}
	const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV
	err := unix.Mount("overlay", target, "overlay", flags, "lowerdir="+lowers+",userxattr")
	if back := unix.Chdir(".."); err == nil {
		err = back
	}
	return err
}

// target opens what is at the path inside the root.
func (a *assembly) target(path string) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	}
	return unix.Openat2(a.root, path, &how)
}

// attach moves the mount at from, in the base, to the path inside the root.
func (a *assembly) attach(from, path string) error {
	return a.move(unix.AT_FDCWD, from, 0, path)
}

// move moves a mount, given by directory and name or by descriptor, to the path
// inside the root.
func (a *assembly) move(dir int, name string, flags int, path string) error {
	to, err := a.target(path)
	if err != nil {
		return blame("mount "+path+": find target", err)
	}
	defer unix.Close(to)
	err = unix.MoveMount(dir, name, to, "", flags|unix.MOVE_MOUNT_T_EMPTY_PATH)
	if err == unix.ENOTDIR || err == unix.EINVAL { // a file where a directory is to be, or the reverse
		return blame("mount "+path, err)
	}
	return wrong("mount "+path, err)
}

func (a *assembly) mount(i int) error {
	m := &a.config.Mounts[i]
	switch m.Kind {
	case Bind:
		return a.mountBind(m)
	case Tmpfs:
		return a.mountTmpfs(i, m)
	case Content:
		return a.writeContent(m)
	}
	return blame("mount "+m.Target, unix.EINVAL)
}

// mountBind shows a file or directory of the host. A read-only one goes through
// an overlay, so that /proc/self/mountinfo does not tell where it comes from;
// where the file system cannot be below an overlay, it is bound as it is.
func (a *assembly) mountBind(m *Mount) error {
	var st unix.Stat_t
	if err := unix.Stat(m.Source, &st); err != nil {
		return blame("mount "+m.Target+": find source", err)
	}
	isDir := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if err := a.makeTarget(m.Target, isDir); err != nil {
		return err
	}
	if !m.Writable && a.hide(m.Source, isDir) == nil {
		if isDir {
			return a.attach("h", m.Target)
		}
		return a.attachClone("h/"+m.Source[strings.LastIndexByte(m.Source, '/')+1:], m.Target)
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, m.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return blame("mount "+m.Target+": open source", err)
	}
	defer unix.Close(fd)
	attributes := unix.MountAttr{Attr_set: plain}
	if !m.Writable {
		attributes.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attributes); err != nil {
		return wrong("mount "+m.Target+": set attributes", err)
	}
	return a.move(fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH, m.Target)
}

// hide mounts on h/ an overlay of the source, or of the directory that it is a
// file of, under a name that does not tell its path.
func (a *assembly) hide(source string, isDir bool) error {
	dir := source
	if !isDir {
		dir = source[:strings.LastIndexByte(source, '/')+1]
	}
	name := "s" + strconv.Itoa(a.hidden)
	a.hidden++
	if err := unix.Symlink(dir, "l/"+name); err != nil {
		return err
	}
	return overlay(name+":../e", "../h")
}

// attachClone shows a file of what is mounted on h/ at the path inside the root.
// The mount itself stays, below what is mounted there next, and goes with the
// base: to unmount it would cost more than all the rest of this.
func (a *assembly) attachClone(file, path string) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, file, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return blame("mount "+path+": open source", err)
	}
	defer unix.Close(fd)
	return a.move(fd, "", unix.MOVE_MOUNT_F_EMPTY_PATH, path)
}

// mountTmpfs mounts an empty tmpfs that belongs to the payload.
func (a *assembly) mountTmpfs(i int, m *Mount) error {
	if err := a.makeTarget(m.Target, true); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "h", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, a.tmpfsOptions(m.Size)); err != nil {
		return wrong("mount "+m.Target, err)
	}
	for _, name := range m.Dirs {
		if err := a.makeOwn("h/" + name); err != nil {
			return blame("make "+m.Target+"/"+name, err)
		}
	}
	if err := setEpoch("h"); err != nil {
		return wrong("set times of "+m.Target, err)
	}
	if m.Handle {
		if err := a.handle(i, m); err != nil {
			return wrong("mount "+m.Target+": open", err)
		}
	}
	return a.attach("h", m.Target)
}

// handle opens the tmpfs on h/ for the engine: the payload's own mount or, where
// it serves, another one of the same tmpfs, which stays writable when the
// payload's own becomes read-only.
func (a *assembly) handle(i int, m *Mount) error {
	fd, err := unix.Open("h", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if m.Fill && !m.Writable {
		a.filled = append(a.filled, fd)
	}
	if a.config.Serve {
		if err := a.clone("h", i); err != nil || m.Fill && !m.Writable {
			return err
		}
		return unix.Close(fd)
	}
	a.add(fd, i)
	return nil
}

func (a *assembly) add(handle, index int) {
	a.handles, a.indexes = append(a.handles, handle), binary.LittleEndian.AppendUint16(a.indexes, uint16(index))
}

// clone adds a handle on a mount of its own of what is at the path in the base.
func (a *assembly) clone(path string, index int) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	a.add(fd, index)
	return nil
}

// makeOwn makes a directory that belongs to the payload.
func (a *assembly) makeOwn(path string) error {
	if err := unix.Mkdir(path, 0o755); err != nil {
		return err
	}
	if err := unix.Lchown(path, int(a.config.UID), int(a.config.GID)); err != nil {
		return err
	}
	return setEpoch(path)
}

func (a *assembly) tmpfsOptions(size uint64) string {
	id := func(v uint32) string { return strconv.FormatUint(uint64(v), 10) }
	// An inode for each KiB: enough for small files, and bounded.
	return "mode=0755,size=" + strconv.FormatUint(size, 10) +
		",nr_inodes=" + strconv.FormatUint(max(size>>10, 64), 10) +
		",uid=" + id(a.config.UID) + ",gid=" + id(a.config.GID)
}

// writeContent makes a read-only file below /cube.
func (a *assembly) writeContent(m *Mount) error {
	if err := a.makeParents(m.Target); err != nil {
		return err
	}
	path := m.Target[1:]
	if err := writeFile(path, m.Content, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL); err != nil {
		return wrong("write "+m.Target, err)
	}
	if err := setEpoch(path); err != nil || !m.Private {
		return wrong("write "+m.Target, err)
	}
	if err := unix.Chmod(path, 0o400); err != nil { // nothing runs yet that could have read it
		return wrong("write "+m.Target, err)
	}
	return wrong("write "+m.Target, unix.Lchown(path, int(a.config.UID), int(a.config.GID)))
}

// setEpoch sets the times of what is at path to 1970.
func setEpoch(path string) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, make([]unix.Timespec, 2), unix.AT_SYMLINK_NOFOLLOW)
}

// makeTarget makes the file or directory to mount on where it lies below /cube.
func (a *assembly) makeTarget(target string, isDir bool) error {
	if !strings.HasPrefix(target, "/cube/") {
		return nil
	}
	if err := a.makeParents(target); err != nil {
		return err
	}
	path := target[1:]
	if isDir {
		return a.makeDir(path, target)
	}
	return blame("make "+target, writeFile(path, "", unix.O_WRONLY|unix.O_CREAT))
}

// makeParents makes the directories above a target that lies below /cube. It
// works in the base's cube/, which nothing but /cube shows.
func (a *assembly) makeParents(target string) error {
	path := target[1:]
	for i := len("cube/"); i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		if err := a.makeDir(path[:i], target); err != nil {
			return err
		}
	}
	return nil
}

func (a *assembly) makeDir(path, target string) error {
	err := unix.Mkdir(path, 0o755)
	if err == unix.EEXIST {
		return nil
	}
	a.made = append(a.made, path)
	return blame("make "+target, err)
}

// dateDirs sets the times of /cube, and of the directories below it, to 1970:
// what is made in a directory changes them.
func (a *assembly) dateDirs() error {
	for i := len(a.made) - 1; i >= 0; i-- {
		// Where something is mounted, this is what lies below it, or it denies
		// writing, and has its own times.
		if err := setEpoch(a.made[i]); err != nil && err != unix.EROFS {
			return wrong("set times of "+a.made[i], err)
		}
	}
	return wrong("set times of /cube", setEpoch("cube"))
}

// handOver sends the handles to the engine and waits until it has filled the
// tmpfs that it wants to fill. It does not wait where the payload serves: the
// first request tells that payload that they are.
func (a *assembly) handOver(sock int) error {
	if a.config.Serve {
		if err := a.clone(".", Base); err != nil {
			return wrong("open base", err)
		}
	}
	if len(a.handles) == 0 {
		return nil
	}
	defer closeAll(a.handles)
	if err := Send(sock, Handles, a.indexes, a.handles...); err != nil {
		return wrong("send handles", err)
	}
	switch {
	case a.config.Serve:
		defer closeAll(a.filled)
	case !a.waits():
		return nil
	default:
		if kind, _, _, err := Receive(sock); err != nil || kind != Go {
			return wrong("wait for go", ErrFrame)
		}
	}
	for _, fd := range a.filled {
		if err := makeReadOnly(fd); err != nil {
			return wrong("make filled tmpfs read-only", err)
		}
	}
	return nil
}

// makeReadOnly makes a filled mount read-only. It waits where a file is still
// open for writing: a process that the engine forked meanwhile holds what was
// open then, until it executes its program.
func makeReadOnly(fd int) error {
	attributes := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	const tries = 1000
	for i := 0; ; i++ {
		err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attributes)
		if err != unix.EBUSY || i == tries {
			return err
		}
		pause := unix.Timespec{Nsec: 1e6}
		if err := unix.Nanosleep(&pause, nil); err != nil && err != unix.EINTR {
			return err
		}
	}
}

func (a *assembly) waits() bool {
	for _, m := range a.config.Mounts {
		if m.Fill {
			return true
		}
	}
	return false
}

// enter makes root/ the root directory and lets go of everything else.
func (a *assembly) enter() error {
	if err := a.dateDirs(); err != nil {
		return err
	}
	if fd, err := a.target("/cube"); err != nil {
		return wrong("find /cube", err)
	} else if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return wrong("make /cube read-only", err)
	} else {
		unix.Close(fd)
	}
	if err := unix.Fchdir(a.root); err != nil {
		return wrong("enter root", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return wrong("change root", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return wrong("let go of the host's root", err)
	}
	unix.Close(a.root)
	return wrong("enter root", unix.Chdir("/"))
}
