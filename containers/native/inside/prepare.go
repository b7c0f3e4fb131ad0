//go:build linux

package inside

import (
	"golang.org/x/sys/unix"
)

// The base is a tmpfs of the init's own, over the directory that it is started
// in. All paths of this file are relative to it.
//
//	root/     where the overlay of the layers is mounted
//	h/        where other file systems are mounted before they are moved
//	l/        one symlink per layer and hidden source, with a neutral name
//	e/        an empty directory
//	f/        the fixed files that cover what /proc tells of the host
//	proc/ dev/ tmp/ shm/ cube/    what becomes /proc, /dev, /tmp, /dev/shm, /cube
const (
	baseOptions = "size=64m,nr_inodes=65536,mode=0755"
	plain       = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	hostName    = "cube"
)

// prepare does all that does not depend on the container: it takes the init
// into a file tree of its own and mounts there what every sandbox has.
func prepare() error {
	steps := []func() error{makeBase, makeProc, makeDev, makeShared, makeNames, loopbackUp}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func makeBase() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return wrong("make mounts private", err)
	}
	if err := unix.Mount("tmpfs", ".", "tmpfs", unix.MS_NOSUID, baseOptions); err != nil {
		return wrong("mount base", err)
	}
	// The working directory is still below the new mount: go up to it.
	cwd, err := unix.Getwd()
	if err != nil {
		return wrong("find base", err)
	}
	if err := unix.Chdir(cwd); err != nil {
		return wrong("enter base", err)
	}
	for _, dir := range []string{"root", "h", "l", "e", "f", "proc", "dev", "dev/shm", "cube"} {
		if err := unix.Mkdir(dir, 0o755); err != nil {
			return wrong("make "+dir, err)
		}
	}
	for _, dir := range []string{"tmp", "shm"} {
		if err := unix.Mkdir(dir, 0o1777); err != nil {
			return wrong("make "+dir, err)
		}
		if err := setEpoch(dir); err != nil {
			return wrong("set times of "+dir, err)
		}
	}
	return nil
}

// makeShared mounts /tmp, /dev/shm and /cube, which share the base's space.
func makeShared() error {
	if err := bind("tmp", "tmp", plain); err != nil {
		return err
	}
	if err := bind("shm", "dev/shm", plain|unix.MOUNT_ATTR_NOEXEC); err != nil {
		return err
	}
	return bind("cube", "cube", plain)
}

// bind mounts what is at from onto to, with the attributes.
func bind(from, to string, attributes uint64) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return wrong("bind "+from+" to "+to, err)
	}
	return wrong("set attributes of "+to, setAttributes(to, attributes, 0))
}

func setAttributes(path string, attributes uint64, flags uint) error {
	return unix.MountSetattr(unix.AT_FDCWD, path, flags, &unix.MountAttr{Attr_set: attributes})
}

// makeDev makes /dev a mount before anything is mounted in it, so that all of it
// moves as one.
func makeDev() error {
	if err := bind("dev", "dev", unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		if err := makeDevice(name); err != nil {
			return wrong("make device "+name, err)
		}
	}
	links := [][2]string{
		{"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"},
		{"/proc/self/fd/1", "dev/stdout"}, {"/proc/self/fd/2", "dev/stderr"},
	}
	for _, l := range links {
		if err := unix.Symlink(l[0], l[1]); err != nil {
			return wrong("link "+l[1], err)
		}
	}
	return wrong("make /dev read-only", setAttributes("dev", unix.MOUNT_ATTR_RDONLY, 0))
}

// addTerminal adds /dev/tty, by which programs such as pagers find the terminal
// that they are controlled by.
func addTerminal() error {
	const readOnly = unix.MOUNT_ATTR_RDONLY
	if err := unix.MountSetattr(unix.AT_FDCWD, "dev", 0, &unix.MountAttr{Attr_clr: readOnly}); err != nil {
		return wrong("make /dev writable", err)
	}
	if err := makeDevice("tty"); err != nil {
		return wrong("make device tty", err)
	}
	return wrong("make /dev read-only", setAttributes("dev", readOnly, 0))
}

// makeDevice makes a node of the host's device, or shows the host's node where
// a user namespace forbids to make one.
func makeDevice(name string) error {
	path := "dev/" + name
	var st unix.Stat_t
	if err := unix.Stat("/"+path, &st); err != nil {
		return err
	}
	if unix.Mknod(path, unix.S_IFCHR|0o666, int(st.Rdev)) == nil {
		return nil
	}
	if err := writeFile(path, "", unix.O_WRONLY|unix.O_CREAT); err != nil {
		return err
	}
	return unix.Mount("/"+path, path, "", unix.MS_BIND, "")
}

// writeFile writes to what is at path, or makes a read-only file there where the
// flags say so.
func writeFile[T string | []byte](path string, content T, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for b := []byte(content); len(b) > 0; {
		n, err := unix.Write(fd, b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func makeNames() error {
	if err := unix.Sethostname([]byte(hostName)); err != nil {
		return wrong("set host name", err)
	}
	return wrong("set domain name", unix.Setdomainname([]byte("(none)")))
}

// loopbackUp brings lo up, unless the engine has done so already.
func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return wrong("bring lo up", err)
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return wrong("bring lo up", err)
	}
	if err := unix.IoctlIfreq(s, unix.SIOCGIFFLAGS, request); err != nil {
		return wrong("look at lo", err)
	}
	if request.Uint16()&unix.IFF_UP != 0 {
		return nil
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return wrong("bring lo up", unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request))
}
