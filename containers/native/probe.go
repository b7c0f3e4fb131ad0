//go:build linux

package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cubebuild/cube/containers"
	"golang.org/x/sys/unix"
)

// Check is one thing that the sandbox needs of a machine, and whether it is
// there.
type Check struct {
	// Name is what is needed, such as "mount namespaces" or "limit memory".
	Name string
	OK   bool
	// Required is false for what the sandbox does without, less well.
	Required bool
	// Detail is what was found.
	Detail string
	// Advice is what to do where it is not OK.
	Advice string
}

// Probe looks what this machine offers to a Runner of the config, and runs a
// sandbox to prove it. It leaves nothing behind; Config.StateDir is not used.
func Probe(ctx context.Context, config Config) []Check {
	checks := []Check{kernelCheck(), namespaceCheck(), mountCheck(), seccompCheck(), overlayCheck()}
	if !privileged() {
		checks = append(checks, userNamespaceCheck())
	}
	checks = append(checks, sandboxCheck(ctx, config))
	return append(checks, limitChecks()...)
}

// sandboxCheck runs the worker itself in a sandbox: it says that it does
// nothing by itself, and exits with 2.
func sandboxCheck(ctx context.Context, config Config) Check {
	c := Check{Name: "a whole sandbox", Required: true, Advice: "see what is missing above; in a container, /proc must not be masked and SYS_ADMIN be given, or use another sandbox"}
	start := time.Now()
	exit, err := runWorker(ctx, config)
	switch {
	case err != nil:
		c.Detail = err.Error()
	case exit.Reason != containers.Exited || exit.Code != 2:
		c.Detail = exit.String()
	default:
		c.OK, c.Detail = true, fmt.Sprintf("made and run in %.1f ms", float64(time.Since(start).Microseconds())/1000)
	}
	return c
}

func runWorker(ctx context.Context, config Config) (*containers.Exit, error) {
	dir, err := os.MkdirTemp("", "cube-probe-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	config.StateDir, config.Spares = filepath.Join(dir, "state"), -1
	r, err := New(config)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	layer := filepath.Join(dir, "layer")
	if err := copyWorker(r, layer); err != nil {
		return nil, err
	}
	exit, err := r.Run(ctx, containers.Spec{Name: "probe", Layers: []string{layer}, Args: []string{"/cube-worker"}})
	return exit, errors.Join(err, exit.Close())
}

func copyWorker(r *Runner, layer string) error {
	if err := os.Mkdir(layer, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(layer, "cube-worker"), os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.NewSectionReader(r.worker, 0, 1<<30))
	return errors.Join(err, f.Close())
}

func kernelCheck() Check {
	c := Check{Name: "kernel", Required: true, Advice: "use Linux 5.12 or later"}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		c.Detail = err.Error()
		return c
	}
	c.Detail = "Linux " + unix.ByteSliceToString(u.Release[:])
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	c.OK = err == nil && (major > 5 || major == 5 && minor >= 12)
	return c
}

// namespaceCheck makes a process in new namespaces, as the sandbox does. Its
// program does not exist, so nothing runs: that nothing can be started is how
// the namespaces prove to have been made.
func namespaceCheck() Check {
	c := Check{
		Name: "namespaces", Required: true,
		Advice: "run as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns); in a container, give it SYS_ADMIN or seccomp=unconfined",
	}
	sys := &syscall.SysProcAttr{Cloneflags: namespaces | unix.CLONE_NEWCGROUP | unix.CLONE_NEWNET}
	kind := "mount, process, network, IPC, host name, cgroup"
	if !privileged() {
		kind += ", user"
		sys.Cloneflags |= unix.CLONE_NEWUSER
		sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Geteuid(), Size: 1}}
		sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getegid(), Size: 1}}
	}
	p, err := os.StartProcess("/proc/self/no-program", []string{"no-program"}, &os.ProcAttr{Sys: sys})
	switch {
	case err == nil:
		_ = p.Release()
		c.Detail = "a program that does not exist was started"
	case errors.Is(err, syscall.ENOENT):
		c.OK, c.Detail = true, kind
	default:
		c.Detail = err.Error()
	}
	return c
}

func mountCheck() Check {
	c := Check{Name: "mount_setattr", Required: true, Advice: "use Linux 5.12 or later; in a container, allow the system call"}
	err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	// A call that is there finds fault with the descriptor or the privilege.
	if c.OK = !errors.Is(err, unix.ENOSYS); c.OK {
		c.Detail = "there"
	} else {
		c.Detail = err.Error()
	}
	return c
}

func seccompCheck() Check {
	c := Check{Name: "seccomp filters", Required: true, Advice: "use a kernel with CONFIG_SECCOMP_FILTER"}
	if _, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0); err != nil {
		c.Detail = err.Error()
		return c
	}
	b, err := os.ReadFile("/proc/sys/kernel/seccomp/actions_avail")
	c.OK = err == nil && strings.Contains(string(b), "errno")
	c.Detail = "actions " + strings.TrimSpace(string(b))
	return c
}

func overlayCheck() Check {
	c := Check{Name: "overlay file system", Required: true, Advice: "load the kernel module: modprobe overlay"}
	b, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		c.Detail = err.Error()
		return c
	}
	if c.OK = strings.Contains(string(b), "\toverlay\n"); c.OK {
		c.Detail = "there"
	} else {
		c.Detail = "the kernel has none loaded"
	}
	return c
}

func userNamespaceCheck() Check {
	c := Check{Name: "user namespaces", Required: true, Advice: "sysctl -w user.max_user_namespaces=15000, or run as root"}
	b, err := os.ReadFile("/proc/sys/user/max_user_namespaces")
	if err != nil {
		c.Detail = err.Error()
		return c
	}
	n := strings.TrimSpace(string(b))
	c.OK, c.Detail = n != "0", "at most "+n
	return c
}

// limitChecks are named as Exit.Unenforced names limits.
func limitChecks() []Check {
	g := findGroups()
	var checks []Check
	for _, name := range controllers {
		c := Check{Name: "limit " + name, OK: g.missing[name] == "", Detail: g.missing[name]}
		c.Advice = "run as root, or in a cgroup of your own: systemd-run --user --scope -p Delegate=yes"
		switch {
		case g.legacy[name] != "":
			c.Detail = "cgroup v1 at " + g.legacy[name]
		case c.OK:
			c.Detail = "cgroup v2 at " + g.unified
		case name == "pids" && !privileged():
			c.OK, c.Detail = true, "the user namespace's own count"
		}
		checks = append(checks, c)
	}
	return checks
}
