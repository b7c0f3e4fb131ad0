//go:build linux

package inside

import (
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// addrNoRandomize is ADDR_NO_RANDOMIZE: the payload's addresses are the same in
// each run, so that what depends on them, such as the order of a hash table
// keyed by pointers, is too.
const addrNoRandomize = 0x0040000

// limits are rlimits that the payload has whatever the host's are, so far as
// these allow: a hard one is only ever lowered, because raising it takes a
// privilege. What bounds a payload's memory, files and time is not the business
// of the shell that cube was started from: a program may do less where it is
// told that there is less, and say nothing.
var limits = []struct {
	resource   int
	soft, hard uint64
}{
	{unix.RLIMIT_CORE, 1, 1}, // zero would still feed a program that collects cores
	{unix.RLIMIT_NOFILE, 1024, 16384},
	{unix.RLIMIT_STACK, 8 << 20, unix.RLIM_INFINITY},
	{unix.RLIMIT_MEMLOCK, 64 << 10, 64 << 10},
	{unix.RLIMIT_MSGQUEUE, 819200, 819200},
	{unix.RLIMIT_SIGPENDING, 4096, 4096},
	{unix.RLIMIT_NICE, 0, 0},
	{unix.RLIMIT_RTPRIO, 0, 0},
	{unix.RLIMIT_AS, unix.RLIM_INFINITY, unix.RLIM_INFINITY},
	{unix.RLIMIT_DATA, unix.RLIM_INFINITY, unix.RLIM_INFINITY},
	{unix.RLIMIT_RSS, unix.RLIM_INFINITY, unix.RLIM_INFINITY},
	{unix.RLIMIT_FSIZE, unix.RLIM_INFINITY, unix.RLIM_INFINITY},
	{unix.RLIMIT_CPU, unix.RLIM_INFINITY, unix.RLIM_INFINITY},
}

// lockDown gives up every privilege of the calling thread, for good, and with
// it those of what it starts. Identity, capabilities and filters belong to
// threads. The Go runtime's own threads keep theirs, because to stop them all
// costs as much as all the rest: what guards them is that process 1 can be
// neither traced nor seen.
func lockDown(c *Config, pids int) error {
	unix.Umask(0o022)
	if err := setLimits(c.Processes); err != nil {
		return err
	}
	defaultSignals()
	if _, _, e := syscall.RawSyscall(unix.SYS_PERSONALITY, addrNoRandomize, 0, 0); e != 0 {
		return wrong("set personality", e)
	}
	if err := dropBounding(); err != nil {
		return err
	}
	if err := choosePID(pids); err != nil {
		return err
	}
	if err := changeUser(uintptr(c.UID), uintptr(c.GID)); err != nil {
		return err
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	if err := tieToEngine(); err != nil {
		return err
	}
	return filter(c.Filter)
}

// payloadPID is the payload's process number. Left to itself it would depend on
// how many threads the Go runtime happens to have made in process 1.
const payloadPID = 100

func choosePID(lastPID int) error {
	if lastPID < 0 {
		return nil
	}
	defer unix.Close(lastPID)
	_, err := unix.Write(lastPID, []byte(strconv.Itoa(payloadPID-1)))
	return wrong("choose process number", err)
}

func setLimits(processes uint64) error {
	for _, l := range limits {
		if err := lower(l.resource, l.soft, l.hard); err != nil {
			return err
		}
	}
	if processes == 0 {
		return nil
	}
	return lower(unix.RLIMIT_NPROC, processes, processes)
}

func lower(resource int, soft, hard uint64) error {
	var old unix.Rlimit
	if err := unix.Getrlimit(resource, &old); err != nil {
		return wrong("read rlimit "+strconv.Itoa(resource), err)
	}
	hard = min(hard, old.Max)
	return wrong("lower rlimit "+strconv.Itoa(resource),
		syscall.Setrlimit(resource, &syscall.Rlimit{Cur: min(soft, hard), Max: hard}))
}

// defaultSignals undoes what the engine's own parent may have had it ignore.
func defaultSignals() {
	const ignored = 1
	for signal := uintptr(1); signal <= 64; signal++ {
		var action [8]uint64 // struct sigaction: the handler, flags, mask
		size := uintptr(8)   // of the mask
		if _, _, e := syscall.RawSyscall6(unix.SYS_RT_SIGACTION, signal, 0, uintptr(unsafe.Pointer(&action)), size, 0, 0); e != 0 || action[0] != ignored {
			continue
		}
		action = [8]uint64{}
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, signal, uintptr(unsafe.Pointer(&action)), 0, size, 0, 0)
	}
}

func changeUser(uid, gid uintptr) error {
	// In a user namespace with one user in it this is denied, and not needed.
	syscall.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
	if _, _, e := syscall.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); e != 0 {
		return wrong("set group id", e)
	}
	if _, _, e := syscall.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); e != 0 {
		return wrong("set user id", e)
	}
	return nil
}

// dropBounding has no program that is started give a capability back.
func dropBounding() error {
	for capability := uintptr(0); ; capability++ {
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err {
		case nil:
		case unix.EINVAL: // past the last one that this kernel has
			return nil
		default:
			return wrong("drop bounding capability "+strconv.Itoa(int(capability)), err)
		}
	}
}

func dropCapabilities() error {
	unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return wrong("drop capabilities", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return wrong("hide process 1", err)
	}
	return wrong("set no_new_privs", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
}

// tieToEngine has the kernel kill process 1, and so the sandbox, when the
// engine ends. A change of user unties it; an engine that ended before it is
// tied again shows as the end of the socket.
func tieToEngine() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return wrong("tie to the engine", err)
	}
	var b [1]byte
	n, _, err := unix.Recvfrom(Socket, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	if err == nil && n == 0 {
		return wrong("tie to the engine", unix.EPIPE)
	}
	return nil
}

func filter(program []byte) error {
	if len(program) == 0 {
		return nil
	}
	const instruction = 8 // bytes
	p := unix.SockFprog{
		Len:    uint16(len(program) / instruction),
		Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0])),
	}
	_, _, e := syscall.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&p)))
	if e != 0 {
		return wrong("filter system calls", e)
	}
	return nil
}

// lookPath finds the command as execvp would, in the payload's own PATH, as
// the payload's own user.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range strings.Split(getenv(env, "PATH"), ":") {
		path := dir + "/" + name
		if dir == "" {
			path = "./" + name
		}
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", blame("find "+name+" in PATH", unix.ENOENT)
}

func getenv(env []string, key string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, key+"="); ok {
			return v
		}
	}
	return ""
}

func itoa(v uint64) string { return strconv.FormatUint(v, 10) }
