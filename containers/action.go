package containers

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// Action is one container execution with its data: what graph.Action names by
// digest.
type Action struct {
	Name    string   // for errors and for names outside the sandbox
	Layers  []string // unpacked layer directories, lowest first
	Image   graph.Image
	Request []byte // the very bytes of /cube/request.json
	Inputs  []Input
	Sources []SourceFile
	// PartDirs are the directories of the Sources that are parts, which may be none.
	PartDirs []string `json:",omitempty"`
	// Secrets are files, too, that no key holds. Their values are taken out of
	// Log, and out of what a Failure says.
	Secrets []Secret
	Outputs map[string]graph.RequestOutput // by role
	CPUs    float64
	Limits  graph.Resources
	Log     io.Writer // what the payload prints; nil discards it. See [Forgetter]

	// Checkpoint is a directory of the host that the payload may write to, and
	// that stays as it leaves it; "" is none. It may grow to Limits.Disk. Such an
	// action is to be Alone.
	Checkpoint string

	// Batch is how many actions one start of the container may serve, of those
	// that differ only in Request, Inputs' values, parts of Sources and Log. From 2 on the payload
	// speaks the protocol of [ParseAnswer], however many it is given; it is not
	// told how many that may be. 0 and 1: the command runs once, for this action.
	Batch int
	// Alone gives the action a container of its own, whatever Batch allows.
	Alone bool
	// OwnWindows has no window be shared with other actions, so that nothing of them
	// is left on disk when it has ended.
	OwnWindows bool

	// Network answers it in place of the network; nil, as for all but those that
	// fetch: it has none.
	Network *Network
}

// Input is one staged window, or one file.
type Input struct {
	Role   string
	Window graph.RequestInput
	Spec   graph.VarSpec
	Grid   grid.Grid // that the window is on
	Box    grid.Box
	Values []byte       // little-endian, C order; nil for kind: file
	Digest graph.Digest // of Values, as the ActionID holds it; zero: not known
	File   string       // host path, of kind: file
}

// Secret is a file's content and where the container finds it.
type Secret struct {
	Target string
	Value  []byte
}

// SourceFile is a source's file on the host and where the container finds it.
type SourceFile struct {
	Path   string
	Target string
	// Part says that it is a part of an indexed source, of which other tiles see
	// other ones. It lies in one of Action.PartDirs, as nothing else does.
	Part bool `json:",omitempty"`
}

// Result is what a successful action left, checked against what was asked of
// it: every declared output, with its dtype and shape, and nothing else.
type Result struct {
	Outputs    map[string]Output // by role
	Usage      Usage
	Unenforced []string
}

// Output is the values of one output, or its file.
type Output struct {
	Values []byte   // little-endian, C order
	File   *os.File // of kind: file; positioned at its start
	Name   string   // of the file as the producer called it
}

// Close closes the files of the result.
func (r *Result) Close() error {
	var errs []error
	for _, o := range r.Outputs {
		if o.File != nil {
			errs = append(errs, o.File.Close())
		}
	}
	return errors.Join(errs...)
}

// FailureKind says how an action failed.
type FailureKind string

// The kinds of failure.
const (
	FailedExit     FailureKind = "exit"      // it exited with another code
	FailedRetry    FailureKind = "retry"     // exit 75: it asks to be run again
	FailedBadInput FailureKind = "bad_input" // exit 65: it says that its input is bad; running it again changes nothing
	FailedSignal   FailureKind = "signal"
	FailedTimeout  FailureKind = "timeout"
	FailedMemory   FailureKind = "oom"
	FailedDisk     FailureKind = "disk"     // it outgrew its disk limit
	FailedOutput   FailureKind = "output"   // it exited 0, and what it left is not what it declared
	FailedProtocol FailureKind = "protocol" // it serves, and did not answer with an exit code
)

// Exit codes with a meaning of their own (sysexits.h).
const (
	ExitBadInput = 65 // EX_DATAERR
	ExitRetry    = 75 // EX_TEMPFAIL
)

// Failure says that an action ran and failed; it is the producer's fault, or
// its limits'. Any other error of an [Executor] is the machine's.
type Failure struct {
	Kind   FailureKind
	Code   int    // of FailedExit, FailedRetry and FailedBadInput
	Detail string // what happened, in words
	Usage  Usage
}

func (f *Failure) Error() string { return f.Detail }

// orDisk is the failure, or that the disk limit was reached, where that is the
// likely cause of it.
func (f *Failure) orDisk(full bool, limit int64) *Failure {
	if !full {
		return f
	}
	switch f.Kind {
	case FailedExit, FailedSignal, FailedOutput:
		f.Kind = FailedDisk
		f.Detail += fmt.Sprintf("; it had filled its disk, whose limit is %d MiB", limit>>20)
	}
	return f
}

// failure turns an exit that is no success into a Failure, nil otherwise.
func failure(e *Exit, l graph.Resources) *Failure {
	f := &Failure{Code: e.Code, Detail: e.String(), Usage: e.Usage}
	switch {
	case e.Success():
		return nil
	case e.Reason == TimedOut:
		f.Kind, f.Detail = FailedTimeout, fmt.Sprintf("still running after its time limit of %v", l.Timeout)
	case e.Reason == OutOfMemory:
		f.Kind, f.Detail = FailedMemory, fmt.Sprintf("outgrew its memory limit of %d MiB", max(1, l.Memory>>20))
	case e.Reason == Signaled:
		f.Kind = FailedSignal
	case e.Reason == Misspoke:
		f.Kind, f.Code = FailedProtocol, 0
		f.Detail += ", as capabilities.batch has it do"
	case e.Code == ExitRetry:
		f.Kind, f.Detail = FailedRetry, "exited with code 75: it asks to be tried again"
	case e.Code == ExitBadInput:
		f.Kind, f.Detail = FailedBadInput, "exited with code 65: its input is bad"
	default:
		f.Kind = FailedExit
	}
	return f
}
