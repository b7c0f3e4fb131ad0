package containers

import (
	"context"
	"errors"
)

// Starter is a [Runner] that can keep a container between the tiles of a batch.
type Starter interface {
	Runner
	// Start starts the payload of spec, which speaks the protocol of
	// [ParseAnswer]: its Stdin and Answers are the session's own. The session
	// lives on when ctx ends. The error is as that of Run.
	Start(ctx context.Context, spec Spec) (Session, error)
}

// Session is a running container that serves one request after another. The
// caller closes it.
type Session interface {
	// Serve has the payload do one request. The spec is that of Start but for
	// the content and fills of its mounts, Stdout (which takes Stderr, too) and
	// Limits.Time, which bounds this request. What the payload printed as it
	// started goes with the first one. The payload finds what it would in
	// a container of its own: of what was written or brought for an earlier
	// request nothing is left.
	//
	// Exit.Answered says that the session can go on; else the container has ended,
	// and the Exit says how, as that of Run does. While it is answered, the
	// payload may still write to what Exit.Kept holds, until the next Serve
	// empties it.
	//
	// The error is ErrUsedUp where the container cannot serve this request as a
	// new one would, and otherwise as that of Run. After any error, and where
	// Answered is false, only Close may follow.
	Serve(ctx context.Context, spec Spec) (*Exit, error)
	// Close ends the container: no process of it is left then. It may be called
	// more than once.
	Close() error
}

// ErrUsedUp says that a container cannot serve another request: its payload has
// ended or spoken without being asked, or what it left cannot be cleared away.
var ErrUsedUp = errors.New("the container cannot serve another request")
