package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// ErrSpec is in the chain of every error that a Spec itself deserves: a
// missing layer, a mount target that is not absolute, a user id of zero.
// Running the same Spec again gives the same error.
var ErrSpec = errors.New("bad container spec")

// Runner runs one container to its end.
//
// Implementations may be called from many goroutines at once.
type Runner interface {
	// Run starts the payload of spec in a sandbox of its own, waits until it
	// and every process it left have ended, and says how it ended.
	//
	// A payload that fails is not an error: its exit code, signal, time-out
	// or out-of-memory kill is in the Exit, which the caller must close. The
	// error is non-nil only when the sandbox could not be made, when the
	// command could not be started, or when ctx ended first (then it wraps
	// context.Cause(ctx)); nothing of the sandbox is left behind then either.
	Run(ctx context.Context, spec Spec) (*Exit, error)
}

// Spec is all that a sandbox is made of. Nothing else enters it: no
// environment, file, descriptor, clock or name of the engine's own.
type Spec struct {
	// Name appears in errors and in names outside the sandbox, never inside.
	Name string

	// Layers are the directories of the unpacked image layers, lowest first.
	// They become the root directory, read-only.
	Layers []string

	// Args is the command; Args[0] is looked up in PATH of Env, within the
	// image, unless it holds a slash. Env is the whole environment. Dir is
	// the working directory ("/" when empty).
	Args []string
	Env  []string
	Dir  string

	// UID and GID are whom the payload sees itself as. Zero in both means
	// 65534; a sandbox made by root never runs a payload as root.
	UID, GID int

	// Mounts are made in order, over the root. Targets below /cube are made
	// on the way; any other target must exist in the image.
	Mounts []Mount

	// Limits bound the payload and all its descendants together.
	Limits Limits

	// Stdin is what the payload reads as its standard input: nil is /dev/null.
	// It is handed over as it is, so it should be a pipe or another file that
	// tells nothing of the host. The caller closes it, after Run at the latest.
	Stdin *os.File

	// Terminal says that Stdin is a terminal: it becomes the payload's own, its
	// standard output and error, too, and Stdout and Stderr are unset.
	Terminal bool

	// Answers is what the payload has as its descriptor 3, to write to; nil is
	// none. As with Stdin, it is handed over and the caller closes it.
	Answers *os.File

	// Network, where it is set, answers the payload at [NetworkAddress]: it is
	// called with a socket that listens in the sandbox's own network, from
	// before the payload starts, and returns when the listener is closed, which
	// it is when the payload has ended. The payload's network holds nothing but
	// a loopback device, with or without it: no route, no name server, nothing
	// of the host's.
	Network func(net.Listener)

	// Stdout and Stderr receive the payload's output; nil discards it. An
	// *os.File is handed over as it is, with no copying in between. They may
	// be the same. The caller bounds what it keeps.
	Stdout, Stderr io.Writer
}

// NetworkPort is the port that Spec.Network answers at, on 127.0.0.1, and
// NetworkAddress both.
const (
	NetworkPort    = 3128
	NetworkAddress = "127.0.0.1:3128"
)

// MountKind says what a Mount brings.
type MountKind int

const (
	// Bind shows a directory or file of the host.
	Bind MountKind = iota
	// Tmpfs is an empty directory in memory. What is written there counts as
	// memory of the payload.
	Tmpfs
	// Content is a read-only file below /cube that holds Mount.Content.
	Content
)

// Mount is one thing to see in the sandbox beside the image. No mount allows
// set-user-id programs or devices.
type Mount struct {
	Kind MountKind

	// Source is the absolute path on the host, for Bind.
	Source string
	// Target is the absolute path inside.
	Target string

	// Writable lets the payload write to a Bind, and to a Tmpfs that has a
	// Fill; without one a Tmpfs is always writable.
	//
	// As root, the runner gives the top directory of a writable bind to the
	// payload's uid and gid. Without root, the payload's uid is the engine's
	// own user seen from inside, who owns what it writes.
	Writable bool

	// Size is the most bytes that a Tmpfs holds: beyond, writes fail with
	// ENOSPC. Zero means 64 MiB.
	Size int64
	// Keep has the Tmpfs outlive the container, as Exit.Kept[Target].
	Keep bool
	// Dirs are names of directories that the payload finds in the Tmpfs, its
	// own to write to.
	Dirs []string
	// Fill writes what the payload finds in the Tmpfs: files that need no
	// place on the host before and no removal after. It is called once, by
	// Run, before the payload starts; its error is Run's. What it writes must
	// be readable by others, and counts against Size, not as the payload's
	// memory.
	Fill func(root *os.Root) error

	// Content is the file's bytes, for Content (at most 1 MiB).
	Content []byte
	// Private has the file of a Content belong to the payload's user and be
	// readable by nobody else: mode 0400, as programs want it that read keys.
	// Others are readable by all, mode 0444. It stays the same from one request of
	// a session to the next.
	Private bool
}

// Limits bound a container; zero is no limit. A limit that the kernel does
// not let the runner set is named in Exit.Unenforced.
type Limits struct {
	Memory int64         // bytes, of all processes together, what they wrote to tmpfs included
	CPUs   float64       // processors' worth of time
	PIDs   int           // processes and threads at once
	Time   time.Duration // by the clock, from start to end
}

// Reason says how a container ended.
type Reason int

const (
	// Exited means that the payload exited by itself, with Exit.Code.
	Exited Reason = iota
	// Signaled means that Exit.Signal killed it.
	Signaled
	// TimedOut means that Limits.Time ran out and it was killed.
	TimedOut
	// OutOfMemory means that it failed after the kernel killed one of its
	// processes for reaching Limits.Memory.
	OutOfMemory
	// Misspoke means that a payload that serves broke the protocol: it answered
	// something else than an exit code, or ended or closed descriptor 3 without
	// an answer.
	Misspoke
)

// String is the reason in words.
func (r Reason) String() string {
	switch r {
	case Exited:
		return "exited"
	case Signaled:
		return "killed by a signal"
	case TimedOut:
		return "timed out"
	case OutOfMemory:
		return "out of memory"
	case Misspoke:
		return "gave no exit code as its answer on descriptor 3"
	}
	return fmt.Sprintf("reason %d", int(r))
}

// Exit is how a container ended. The caller must close it.
type Exit struct {
	// Reason says which of the fields below speak.
	Reason Reason
	// Code is the exit code; 128 + the signal when the payload was killed.
	Code int
	// Signal is what killed the payload, or zero.
	Signal syscall.Signal
	// Answered says that a Session's payload answered Code, and lives.
	Answered bool
	// Usage is what it cost.
	Usage Usage
	// Unenforced names each limit asked for that was not enforced, with the
	// reason, such as "memory: no cgroup of ours has the memory controller".
	Unenforced []string
	// Kept holds, by Mount.Target, a handle on the root of each tmpfs that
	// was to be kept. No process can write to it any more. It lives until the
	// handle is closed; OpenKept opens it as a directory tree.
	Kept map[string]*os.File
}

// Usage is what a container used, sandbox included.
type Usage struct {
	Wall, User, System time.Duration
	// MaxRSS is the largest resident set in bytes of any one process, or the
	// high-water mark of the whole container where the kernel counts it.
	MaxRSS int64
}

// Success reports whether the payload exited by itself with code 0.
func (e *Exit) Success() bool { return e.Reason == Exited && e.Code == 0 }

// String is the exit in words, such as "exited with code 65".
func (e *Exit) String() string {
	switch e.Reason {
	case Exited:
		return fmt.Sprintf("exited with code %d", e.Code)
	case Signaled:
		return fmt.Sprintf("killed by signal %d (%s)", int(e.Signal), e.Signal)
	}
	return e.Reason.String()
}

// OpenKept opens the kept tmpfs that was mounted at target. The Root stays
// usable after the Exit is closed.
func (e *Exit) OpenKept(target string) (*os.Root, error) {
	f, ok := e.Kept[target]
	if !ok {
		return nil, fmt.Errorf("open kept tmpfs %s: %w", target, os.ErrNotExist)
	}
	root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("open kept tmpfs %s: %w", target, err)
	}
	return root, nil
}

// Close releases what the container left: the kept tmpfs. It may be called
// more than once, and on nil.
func (e *Exit) Close() error {
	if e == nil {
		return nil
	}
	var errs []error
	for _, f := range e.Kept {
		errs = append(errs, f.Close())
	}
	e.Kept = nil
	return errors.Join(errs...)
}
