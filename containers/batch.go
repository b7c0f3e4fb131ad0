package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/cubebuild/cube/graph"
	"golang.org/x/sys/unix"
)

// Forgetter is an optional ability of an Action's Log: where an action is run
// again, in a container of its own, Forget drops what it printed before. Any
// other log has all of it, with a line between.
type Forgetter interface{ Forget() }

// serve has an action served: by a container that has served others of its kind
// and is idle, or by a new one. Who fails in a container that has served others
// gets a new one to himself before that counts: what they left may be to blame.
func (x *Executor) serve(ctx context.Context, st *staged, a Action) (*Result, error) {
	starter, ok := x.runner.(Starter)
	if !ok {
		return x.serveOnce(ctx, st, a)
	}
	kind := ""
	if !st.alone(&a) {
		kind = st.kind()
	}
	var before Usage
	for {
		s := x.pool.take(kind)
		if s == nil {
			session, err := starter.Start(ctx, st.spec)
			if err != nil {
				x.pool.leave(nil)
				return nil, fmt.Errorf("run %s: %w", a.Name, err)
			}
			s = &served{Session: session, kind: kind}
		}
		s.turns++
		first := s.turns == 1
		r, err := x.turn(ctx, s, st, a)
		f := (*Failure)(nil)
		switch {
		case err == nil:
			r.Usage = r.Usage.and(before)
			return r, nil
		case errors.As(err, &f):
			if f.Usage = f.Usage.and(before); first {
				return nil, f
			}
			before = f.Usage
			startAfresh(a.Log, f)
		case !errors.Is(err, ErrUsedUp) || first:
			return nil, err
		}
		if f != nil {
			kind = "" // a new one
		}
	}
}

// and is the usage of both, one after the other.
func (u Usage) and(v Usage) Usage {
	return Usage{Wall: u.Wall + v.Wall, User: u.User + v.User, System: u.System + v.System, MaxRSS: max(u.MaxRSS, v.MaxRSS)}
}

func startAfresh(log io.Writer, f *Failure) {
	if l, ok := log.(Forgetter); ok {
		l.Forget()
	} else if log != nil {
		fmt.Fprintf(log, "cube: %s, after other tiles in the same container; once more, in a new one\n", f.Detail)
	}
}

// alone reports whether the container serves this action only: because that is
// asked for, because something of it is no later action's, or because what it
// leaves is read when the container must have ended.
func (s *staged) alone(a *Action) bool {
	for _, o := range a.Outputs {
		if o.Kind == graph.File {
			return true
		}
	}
	for _, m := range s.spec.Mounts {
		if m.Kind == Bind && m.Writable {
			return true
		}
	}
	return a.Alone || s.dir != "" || s.spec.Network != nil
}

// kind is all that a container is made of, but for what each action brings. It
// is made for every action: fmt would take longer than the rest of it.
func (s *staged) kind() string {
	p := &s.spec
	b := make(kind, 0, 2048)
	b.texts(p.Layers...)
	b.texts(p.Args...)
	b.texts(p.Env...)
	b.texts(p.Dir)
	b.numbers(int64(p.UID), int64(p.GID))
	b = fmt.Append(b, p.Limits)
	for i := range p.Mounts {
		m := &p.Mounts[i]
		b.numbers(int64(m.Kind), m.Size, number(m.Writable), number(m.Keep), number(m.Fill != nil), number(m.Private))
		b.texts(m.Source, m.Target)
		b.texts(m.Dirs...)
		if m.Kind == Content && m.Target != graph.RequestPath {
			b.texts(graph.Sum(m.Content).String())
		}
		if m.Kind == Bind { // and not what has come to the same path since
			var st unix.Stat_t
			err := unix.Stat(m.Source, &st)
			b = fmt.Append(b, st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim, err)
		}
	}
	return string(b)
}

// kind is a text that two lists of values share only where they are equal.
type kind []byte

func (k *kind) texts(list ...string) {
	k.numbers(int64(len(list)))
	for _, s := range list {
		k.numbers(int64(len(s)))
		*k = append(*k, s...)
	}
}

func (k *kind) numbers(list ...int64) {
	for _, n := range list {
		*k = append(strconv.AppendInt(*k, n, 10), ' ')
	}
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// turn has a container serve the action, and gives it back where it can serve
// more.
func (x *Executor) turn(ctx context.Context, s *served, st *staged, a Action) (*Result, error) {
	goesOn := false
	defer func() {
		if !goesOn {
			s.Close()
			s = nil
		}
		x.pool.leave(s)
	}()
	watched, stop := x.watchAll(ctx, st, a)
	defer stop()
	exit, err := s.Serve(watched, st.spec)
	if err != nil {
		if full := diskFull(watched); full != nil {
			return nil, full
		}
		return nil, fmt.Errorf("run %s: %w", a.Name, err)
	}
	defer exit.Close()
	lives := exit.Answered && exit.Success() && s.kind != "" && s.turns < a.Batch
	if !lives {
		s.Close()
	}
	r, err := st.result(ctx, exit, a)
	if f := (*Failure)(nil); err != nil && lives && !errors.As(err, &f) {
		// The payload may have changed what was being read: not any more.
		s.Close()
		r, err = st.result(ctx, exit, a)
	}
	goesOn = lives && err == nil
	return r, err
}

// serveOnce has a runner that can do no more start the command for this action
// alone: it reads one request and the end of its input.
func (x *Executor) serveOnce(ctx context.Context, st *staged, a Action) (*Result, error) {
	x.pool.enter()
	defer x.pool.leave(nil)
	watched, stop := x.watchAll(ctx, st, a)
	defer stop()
	exit, err := runOnce(watched, x.runner, st.spec)
	if err != nil {
		if full := diskFull(watched); full != nil {
			return nil, full
		}
		return nil, fmt.Errorf("run %s: %w", a.Name, err)
	}
	defer exit.Close()
	return st.result(ctx, exit, a)
}

// runOnce runs a payload that serves, for one request.
func runOnce(ctx context.Context, r Runner, spec Spec) (*Exit, error) {
	in, requests, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	_, err = requests.WriteString(Request)
	requests.Close()
	if err != nil {
		return nil, err
	}
	answers, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer answers.Close()
	answer := make(chan []byte, 1)
	go func() {
		line, _ := io.ReadAll(io.LimitReader(answers, int64(MaxAnswer)))
		_, _ = io.Copy(io.Discard, answers)
		answer <- line
	}()
	spec.Stdin, spec.Answers = in, to
	exit, err := r.Run(ctx, spec)
	to.Close()
	line := <-answer
	if err != nil || !exit.Success() {
		return exit, err
	}
	if exit.Code, err = ParseAnswer(line); err != nil {
		exit.Reason = Misspoke
	}
	return exit, nil
}
