// Command probe is a payload that tries what a payload must not be able to do,
// and says what came of it.
package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

var commands = map[string]func(args []string){
	"true":    func([]string) {},
	"exit":    func(a []string) { os.Exit(number(a[0])) },
	"kill":    func(a []string) { syscall.Kill(os.Getpid(), syscall.Signal(number(a[0]))); time.Sleep(time.Minute) },
	"echo":    func(a []string) { fmt.Println(strings.Join(a, " ")); fmt.Fprintln(os.Stderr, "on stderr") },
	"sleep":   func([]string) { time.Sleep(time.Minute) },
	"read":    read,
	"stat":    stat,
	"write":   write,
	"cat":     func([]string) { io.Copy(os.Stdout, os.Stdin) },
	"serve":   serve,
	"env":     func([]string) { fmt.Println(strings.Join(os.Environ(), "\n")) },
	"self":    self,
	"dial":    dial,
	"talk":    talk,
	"forks":   forks,
	"eat":     eat,
	"fill":    fill,
	"orphan":  orphan,
	"greet":   greet,
	"survive": survive,
	"escape":  escape,
	"dump":    dump,
	"burn":    burn,
}

func main() {
	runtime.LockOSThread()
	run, ok := commands[os.Args[1]]
	if !ok {
		fmt.Println("unknown command")
		os.Exit(99)
	}
	run(os.Args[2:])
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// errno is the name of the error's number, or its text.
func errno(err error) string {
	var e syscall.Errno
	for u := err; u != nil; {
		if n, ok := u.(syscall.Errno); ok {
			e = n
			break
		}
		w, ok := u.(interface{ Unwrap() error })
		if !ok {
			return u.Error()
		}
		u = w.Unwrap()
	}
	if e == 0 {
		return "ok"
	}
	return e.Error()
}

// stat prints the modes of files, and which are its own.
func stat(args []string) {
	for _, path := range args {
		info, err := os.Stat(path)
		if err != nil {
			fmt.Printf("%s: %v\n", path, errno(err))
			continue
		}
		whose := ""
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) == os.Getuid() && int(st.Gid) == os.Getgid() {
			whose = " mine"
		}
		fmt.Printf("%s: %s%s\n", path, info.Mode(), whose)
	}
}

func read(paths []string) {
	for _, p := range paths {
		b, err := os.ReadFile(p)
		fmt.Printf("%s: %s: %q\n", p, errno(err), b)
	}
}

// write tries to make, change and remove things at the paths.
func write(paths []string) {
	for _, p := range paths {
		fmt.Printf("%s: create %s\n", p, errno(os.WriteFile(filepath.Join(p, "new"), []byte("x"), 0o644)))
		fmt.Printf("%s: append %s\n", p, errno(appendTo(p)))
		fmt.Printf("%s: chmod %s\n", p, errno(os.Chmod(p, 0o777)))
		fmt.Printf("%s: rename %s\n", p, errno(os.Rename(p, p+".moved")))
	}
}

// serve reads the paths for each request, leaves how many it had before, and
// answers with that number.
func serve(paths []string) {
	answers := os.NewFile(3, "answers")
	requests := bufio.NewScanner(os.Stdin)
	for n := 0; requests.Scan(); n++ {
		read(paths)
		os.WriteFile("/cube/out/a/served", fmt.Append(nil, n), 0o644)
		fmt.Fprintln(answers, n)
	}
}

// greet prints as it starts, before anything is asked of it, and lets that be
// seen by a process that it starts then.
func greet(a []string) {
	fmt.Println("hello")
	exec.Command("/probe", append([]string{"sleep"}, a...)...).Start()
	serve(nil)
}

func appendTo(p string) error {
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("x")
	return err
}

// self says what the process is and holds.
func self([]string) {
	fmt.Println("uid", os.Getuid(), os.Geteuid(), "gid", os.Getgid(), os.Getegid())
	groups, _ := os.Getgroups()
	fmt.Println("groups", groups)
	fmt.Println("pid", os.Getpid(), "ppid", os.Getppid())
	wd, _ := os.Getwd()
	fmt.Println("wd", wd)
	host, _ := os.Hostname()
	fmt.Println("host", host)
	old := syscall.Umask(0)
	fmt.Printf("umask %03o\n", old)
	sid, _, _ := syscall.Syscall(syscall.SYS_GETSID, 0, 0, 0)
	fmt.Println("session leader", int(sid) == os.Getpid())
	_, err := os.Open("/dev/tty")
	fmt.Println("tty", errno(err))
	status := lines("/proc/self/status", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp:", "SigIgn", "SigBlk")
	fmt.Println(strings.Join(status, "\n"))
	for _, r := range []int{syscall.RLIMIT_CORE, syscall.RLIMIT_NOFILE} {
		var l syscall.Rlimit
		syscall.Getrlimit(r, &l)
		fmt.Println("rlimit", r, l.Max)
	}
	for _, r := range []int{syscall.RLIMIT_AS, syscall.RLIMIT_DATA, syscall.RLIMIT_FSIZE, syscall.RLIMIT_CPU} {
		var l syscall.Rlimit
		syscall.Getrlimit(r, &l)
		fmt.Println("rlimit", r, "as high as may be", l.Cur == l.Max)
	}
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(to, "/proc/") || strings.HasPrefix(to, "anon_inode:") {
			continue // the listing's own, and the Go runtime's
		}
		kind, _, _ := strings.Cut(to, ":")
		fmt.Println("fd", e.Name(), kind)
	}
	persona, _, _ := syscall.Syscall(syscall.SYS_PERSONALITY, 0xffffffff, 0, 0)
	fmt.Printf("personality %#x\n", persona)
	score, _ := os.ReadFile("/proc/self/oom_score_adj")
	fmt.Println("oom_score_adj", strings.TrimSpace(string(score)))
	procs, _ := filepath.Glob("/proc/[0-9]*")
	fmt.Println("processes", procs)
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		fmt.Println("interface", i.Name, i.Flags&net.FlagUp != 0)
	}
}

func lines(path string, prefixes ...string) (found []string) {
	f, err := os.Open(path)
	if err != nil {
		return []string{err.Error()}
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		for _, p := range prefixes {
			if strings.HasPrefix(s.Text(), p) {
				found = append(found, strings.Join(strings.Fields(s.Text()), " "))
			}
		}
	}
	return found
}

func dial(addresses []string) {
	for _, a := range addresses {
		network, address, _ := strings.Cut(a, "!")
		c, err := net.DialTimeout(network, address, 2*time.Second)
		if err == nil {
			c.Close()
		}
		fmt.Printf("%s: %s\n", a, errno(err))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println("own loopback:", errno(err))
		return
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err == nil {
		c.Close()
	}
	fmt.Println("own loopback:", errno(err))
}

// talk says something at an address and prints what is answered.
func talk(args []string) {
	c, err := net.Dial("tcp", args[0])
	if err != nil {
		fmt.Println(errno(err))
		return
	}
	fmt.Fprintln(c, args[1])
	io.Copy(os.Stdout, c)
}

// forks makes processes that wait until no more can be made, raw, because the
// Go runtime does not live through a thread that it cannot make.
func forks([]string) {
	n := 0
	for ; n < 10000; n++ {
		pid, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if e != 0 {
			fmt.Println("forks", n, e.Error())
			return
		}
		if pid == 0 {
			for {
				syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
	}
	fmt.Println("forks", n, "no limit")
}

func eat(a []string) {
	size := number(a[0]) << 20
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		fmt.Println("eat", errno(err))
		os.Exit(1)
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	fmt.Println("ate", len(b)>>20)
}

// fill writes MiB after MiB to a file.
func fill(a []string) {
	f, err := os.Create(a[0])
	if err != nil {
		fmt.Println("fill", errno(err))
		return
	}
	block := make([]byte, 1<<20)
	n := 0
	for ; n < number(a[1]); n++ {
		if _, err := f.Write(block); err != nil {
			fmt.Println("filled", n, errno(err))
			return
		}
	}
	fmt.Println("filled", n)
}

// orphan leaves a process behind that holds on to standard output.
func orphan([]string) {
	cmd := exec.Command("/probe", "sleep")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	fmt.Println("left", errno(cmd.Start()))
}

// survive does what it can not to die with the engine.
func survive(a []string) {
	const prSetPdeathsig = 1
	syscall.Syscall(syscall.SYS_PRCTL, prSetPdeathsig, 0, 0)
	syscall.Setsid()
	for range 3 {
		cmd := exec.Command("/probe", append([]string{"sleep"}, a...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Start()
	}
	fmt.Println("running")
	time.Sleep(time.Minute)
}

func burn([]string) {
	for start := time.Now(); time.Since(start) < time.Second; {
	}
}

// escape tries what escapes are made of.
func escape([]string) {
	null := uintptr(0)
	path := func(s string) uintptr { b, _ := syscall.BytePtrFromString(s); return uintptr(unsafe.Pointer(b)) }
	const newNamespaces = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	for _, try := range []struct {
		name string
		nr   uintptr
		a    [6]uintptr
	}{
		{"setuid", syscall.SYS_SETUID, [6]uintptr{0}},
		{"setresuid", syscall.SYS_SETRESUID, [6]uintptr{0, 0, 0}},
		{"setgid", syscall.SYS_SETGID, [6]uintptr{0}},
		{"setgroups", syscall.SYS_SETGROUPS, [6]uintptr{1, path("\x00\x00\x00\x00")}},
		{"mount", syscall.SYS_MOUNT, [6]uintptr{path("tmpfs"), path("/tmp"), path("tmpfs")}},
		{"remount", syscall.SYS_MOUNT, [6]uintptr{null, path("/"), null, syscall.MS_REMOUNT | syscall.MS_BIND}},
		{"umount", syscall.SYS_UMOUNT2, [6]uintptr{path("/proc/cpuinfo"), syscall.MNT_DETACH}},
		{"unshare", syscall.SYS_UNSHARE, [6]uintptr{newNamespaces}},
		{"clone newuser", syscall.SYS_CLONE, [6]uintptr{syscall.CLONE_NEWUSER | uintptr(syscall.SIGCHLD)}},
		{"clone3", unix.SYS_CLONE3, [6]uintptr{0, 64}},
		{"pivot_root", syscall.SYS_PIVOT_ROOT, [6]uintptr{path("/"), path("/")}},
		{"chroot", syscall.SYS_CHROOT, [6]uintptr{path("/tmp")}},
		{"open_tree", unix.SYS_OPEN_TREE, [6]uintptr{0, path("/"), 1}},
		{"move_mount", unix.SYS_MOVE_MOUNT, [6]uintptr{0, path("/tmp"), 0, path("/cube")}},
		{"fsopen", unix.SYS_FSOPEN, [6]uintptr{path("tmpfs")}},
		{"keyctl", unix.SYS_KEYCTL, [6]uintptr{1, null}},
		{"bpf", unix.SYS_BPF, [6]uintptr{0, null, 0}},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, [6]uintptr{1, path("................................................................................................................................")}},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [6]uintptr{null, 0, 0, 0, 0}},
		{"userfaultfd", unix.SYS_USERFAULTFD, [6]uintptr{1}},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [6]uintptr{0, null, 0}},
		{"finit_module", unix.SYS_FINIT_MODULE, [6]uintptr{0, path(""), 0}},
		{"ptrace init", syscall.SYS_PTRACE, [6]uintptr{syscall.PTRACE_ATTACH, 1}},
		{"kill init", syscall.SYS_KILL, [6]uintptr{1, uintptr(syscall.SIGKILL)}},
		{"sethostname", syscall.SYS_SETHOSTNAME, [6]uintptr{path("x"), 1}},
		{"settimeofday", syscall.SYS_SETTIMEOFDAY, [6]uintptr{path("................"), null}},
		{"reboot", syscall.SYS_REBOOT, [6]uintptr{0xfee1dead, 672274793, 0}},
		{"mknod device", syscall.SYS_MKNODAT, [6]uintptr{^uintptr(99), path("/tmp/disk"), syscall.S_IFBLK | 0o666, 254 << 8}},
		{"vsock", syscall.SYS_SOCKET, [6]uintptr{40, syscall.SOCK_STREAM, 0}},
		{"packet socket", syscall.SYS_SOCKET, [6]uintptr{syscall.AF_PACKET, syscall.SOCK_RAW, 0}},
		{"raw socket", syscall.SYS_SOCKET, [6]uintptr{syscall.AF_INET, syscall.SOCK_RAW, 1}},
		{"pidfd_getfd", unix.SYS_PIDFD_GETFD, [6]uintptr{0, 0, 0}},
		{"push terminal input", syscall.SYS_IOCTL, [6]uintptr{0, syscall.TIOCSTI, path("x")}},
		{"raise nice", syscall.SYS_SETPRIORITY, [6]uintptr{0, 0, ^uintptr(19)}},
	} {
		_, _, e := syscall.Syscall6(try.nr, try.a[0], try.a[1], try.a[2], try.a[3], try.a[4], try.a[5])
		if e == 0 {
			fmt.Printf("%s: ok\n", try.name)
			continue
		}
		fmt.Printf("%s: %s\n", try.name, e.Error())
	}
	for _, p := range []string{"/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/root/etc/passwd", "/proc/1/cwd/etc/passwd", "/proc/kcore", "/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/self/oom_score_adj"} {
		_, err := os.ReadFile(p)
		fmt.Printf("read %s: %s\n", p, errno(err))
		f, err := os.OpenFile(p, os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		fmt.Printf("write %s: %s\n", p, errno(err))
	}
	if _, err := os.Readlink("/proc/1/exe"); err != nil {
		fmt.Println("read /proc/1/exe:", errno(err))
	} else {
		fmt.Println("read /proc/1/exe: ok")
	}
}

// dump prints all that can be read, bar what belongs to the program itself.
func dump([]string) {
	fmt.Println(strings.Join(os.Environ(), "\n"))
	fmt.Println(os.Args)
	skip := map[string]bool{"/probe": true, "/dev/zero": true, "/dev/random": true, "/dev/urandom": true, "/dev/full": true}
	filepath.WalkDir("/", func(p string, d fs.DirEntry, err error) error {
		if err != nil || skip[p] {
			fmt.Println(p, errno(err))
			return nil
		}
		if strings.HasPrefix(p, "/proc/self/task") || strings.HasPrefix(p, "/proc/thread-self/task") {
			return nil
		}
		if d.Type()&fs.ModeSymlink != 0 {
			to, err := os.Readlink(p)
			fmt.Println(p, "->", to, errno(err))
			return nil
		}
		info, err := d.Info()
		if err != nil || d.IsDir() || !info.Mode().IsRegular() {
			fmt.Println(p, d.Type(), errno(err))
			return nil
		}
		fmt.Printf("%s %s %q\n", p, info.Mode(), head(p))
		return nil
	})
}

func head(p string) string {
	f, err := os.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return errno(err)
	}
	defer f.Close()
	b := make([]byte, 64<<10)
	n, err := syscall.Read(int(f.Fd()), b)
	if err != nil {
		return errno(err)
	}
	return string(b[:max(n, 0)])
}
