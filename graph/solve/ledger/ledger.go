//go:build linux

package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cubebuild/cube/graph/solve/resource"
	"golang.org/x/sys/unix"
)

// Config says how a build takes part.
type Config struct {
	Path  string           // of the file; it is made where it is not there
	Total resource.Amounts // what the machine has, to this build's knowledge
	Name  string           // of the build, for people
	// EndIdle, where it is not nil, ends what actions left for their kin. It is called
	// before what that has is given to others. What is not taken up by then ends by
	// itself, after less than four seconds.
	EndIdle func()
}

// Ledger is one build's part in the sharing. Its methods may be called at once.
type Ledger struct {
	total   resource.Amounts
	file    *os.File
	part    int64
	endIdle func()

	giving  sync.Mutex // held while something is given back that was left; before mu
	mu      sync.Mutex // guards all below, and the lock on byte 0
	own     Entry
	written int64         // own.Seen, as it was last written
	freed   chan struct{} // closed when something of this build's is free again
	resting []resting     // what is held for kin; the oldest is first
	looking bool          // after what is held for kin
	closed  bool
}

// Open takes part in the sharing. The caller must close the ledger.
func Open(c Config) (*Ledger, error) {
	if err := os.MkdirAll(filepath.Dir(c.Path), 0o755); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	f, err := os.OpenFile(c.Path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o666)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{total: c.Total, file: f, part: -1, endIdle: c.EndIdle, freed: make(chan struct{}),
		own: Entry{PID: os.Getpid(), Name: c.Name, Held: resource.Amounts{}}}
	err = l.exclusive(context.Background(), func(*book) error { return l.enter() })
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	return l, nil
}

// enter takes a part that nobody has, and says that it holds nothing.
func (l *Ledger) enter() error {
	n, err := parts(l.file)
	if err != nil {
		return err
	}
	for i := range maxParts {
		ok, err := lock(l.file, offset(int64(i)))
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		l.part = int64(i)
		if n < 0 {
			l.open()
		}
		if err := fill(l.file, offset(l.part)); err != nil {
			return err
		}
		return l.write()
	}
	return fmt.Errorf("%s: more than %d builds at once", l.file.Name(), maxParts)
}

// open lets others write to a new file, where its folder is for all.
func (l *Ledger) open() {
	info, err := os.Stat(filepath.Dir(l.file.Name()))
	if err == nil && info.Mode().Perm()&0o002 != 0 {
		_ = l.file.Chmod(0o666) // otherwise it is this user's alone
	}
}

// Close gives up all that was reserved.
func (l *Ledger) Close() error {
	l.giveBack()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.file.Close()
}

// Total is what the machine has.
func (l *Ledger) Total() resource.Amounts { return l.total.Clone() }

// book is what the file says, while nobody else may write to it.
type book struct {
	line             resource.Line
	foreign          resource.Amounts  // held by other builds
	waiting          []resource.Waiter // of other builds
	ticket, admitted uint64
}

// exclusive has f look at the book and change it.
func (l *Ledger) exclusive(ctx context.Context, f func(*book) error) error {
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, 5*time.Millisecond) {
		ok, err := lock(l.file, 0)
		if err != nil {
			return err
		}
		if ok {
			break
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		time.Sleep(pause)
	}
	b, err := l.read()
	if err == nil {
		before := *b
		if err = f(b); err == nil && (b.ticket != before.ticket || b.admitted != before.admitted || b.ticket == 0) {
			err = writeHead(l.file, b.ticket, b.admitted)
		}
	}
	return errors.Join(err, unlock(l.file, 0))
}

// read reads the book.
func (l *Ledger) read() (*book, error) {
	b := &book{foreign: resource.Amounts{}}
	var err error
	if b.ticket, b.admitted, err = readHead(l.file); err != nil {
		return nil, err
	}
	now := clock()
	err = others(l.file, l.part, func(e Entry) {
		b.foreign.Add(e.Held)
		if now-e.Seen < stale {
			b.waiting = append(b.waiting, e.Waiting...)
		}
	})
	b.line.Held = b.foreign.Clone()
	b.line.Held.Add(l.own.Held)
	b.line.Waiting = slices.Concat(b.waiting, l.own.Waiting)
	b.line.Admitted = b.admitted
	return b, err
}

// write writes this build's entry.
func (l *Ledger) write() error {
	l.own.Seen = clock()
	b, err := l.own.encode()
	if err != nil {
		return err
	}
	_, err = l.file.WriteAt(b, offset(l.part))
	l.written = l.own.Seen
	return err
}

// poll is how often a waiter looks whether other builds gave something back.
const poll = 25 * time.Millisecond

// Try takes what is wanted where it is to be had now, as Reserve does; otherwise
// release is nil.
func (l *Ledger) Try(ctx context.Context, d resource.Demand) (release func(), err error) {
	w, err := l.waiter(d)
	if err != nil {
		return nil, err
	}
	defer l.forget(w)
	return l.try(ctx, w, d.Kin, nil, nil)
}

// Reserve waits until the machine has what is wanted, and takes it: nobody else
// gets it before release is called, or this process ends. Where it must wait it says
// what for, and again where that becomes another thing. Where ready is not nil, and
// says that what is wanted cannot be put to use now, nothing is taken and release is
// nil: nobody is kept from it meanwhile. The error is ctx's, or the file's, or that
// what is wanted is more than there is.
func (l *Ledger) Reserve(ctx context.Context, d resource.Demand, ready func() bool, notice func(resource.Shortage)) (release func(), err error) {
	w, err := l.waiter(d)
	if err != nil {
		return nil, err
	}
	defer l.forget(w)
	var told resource.Shortage
	for {
		var short lack
		release, err := l.try(ctx, w, d.Kin, ready, &short)
		if err != nil || release != nil || short.freed == nil {
			return release, err
		}
		if short.Resource != resource.CPU && l.due() && l.giveBack() {
			continue
		}
		if notice != nil && (short.Resource != told.Resource || short.Foreign() != told.Foreign()) {
			told = short.Shortage
			notice(told)
		}
		if err := pause(ctx, short.freed); err != nil {
			return nil, err
		}
	}
}

// waiter is who wants d, where the machine can ever give it.
func (l *Ledger) waiter(d resource.Demand) (*resource.Waiter, error) {
	if never := d.Never(l.total); len(never) > 0 {
		s := never[0]
		return nil, fmt.Errorf("it needs %s, and the machine has %s", s.Resource.Of(s.Want), s.Resource.Text(s.Free))
	}
	return &resource.Waiter{Want: d.On(l.total)}, nil
}

// lack is what is lacking, and a channel that is closed when some of this build's
// is free.
type lack struct {
	resource.Shortage
	freed <-chan struct{}
}

// pause waits until something of this build's is free, or a while.
func pause(ctx context.Context, freed <-chan struct{}) error {
	t := time.NewTimer(poll)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-freed:
	case <-t.C:
	}
	return nil
}

// try takes what is wanted where it may, and where ready, if it is not nil, says so.
// Otherwise it says what is lacking, if anything is, and writes down who waits; with
// no short it does neither. Who does not wait comes after all who do.
func (l *Ledger) try(ctx context.Context, w *resource.Waiter, kin string, ready func() bool, short *lack) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.exclusive(ctx, func(b *book) error {
		first := w.Ticket == 0
		if first {
			b.ticket++
			w.Ticket, w.Since = b.ticket, b.admitted
		}
		ask := *w
		left := l.left(kin, w.Want)
		if left >= 0 {
			ask.Want = resource.Amounts{resource.CPU: w.Want[resource.CPU]}
		}
		s, ok := b.line.Admit(ask, l.total)
		switch {
		case ok && ready != nil && !ready():
			l.drop(w)
			return l.write()
		case ok:
			b.admitted++
			l.own.Held.Add(ask.Want)
			began := time.Now()
			if left >= 0 {
				began = l.resting[left].began
				l.resting = slices.Delete(l.resting, left, left+1)
			}
			l.drop(w)
			want := w.Want
			release = sync.OnceFunc(func() { l.release(kin, want, began) })
			return l.write()
		case short == nil:
			return nil
		}
		s.Others = b.foreign[s.Resource]
		*short = lack{s, l.freed}
		if first {
			l.own.Waiting = append(l.own.Waiting, *w)
		}
		if first || clock()-l.written > stale/4 {
			return l.write()
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reserve: %w", err)
	}
	return release, nil
}

// drop takes a waiter out of the entry.
func (l *Ledger) drop(w *resource.Waiter) {
	l.own.Waiting = slices.DeleteFunc(l.own.Waiting, func(o resource.Waiter) bool { return o.Ticket == w.Ticket })
}

// forget is for a waiter that has what it wanted, or gave up.
func (l *Ledger) forget(w *resource.Waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(w) // the file is told with the next write: who waits there is passed over soon
}

// release gives back, or leaves to kin what others do not wait for.
func (l *Ledger) release(kin string, held resource.Amounts, began time.Time) {
	if kin != "" && l.endIdle != nil {
		if l.leave(kin, held, began) {
			return
		}
		l.endIdle()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free(held)
}

// free gives back. The lock is held.
func (l *Ledger) free(held resource.Amounts) {
	l.own.Held.Sub(held)
	// What cannot be written now is written with the next reservation, or is
	// free when this process ends.
	_ = l.exclusive(context.Background(), func(*book) error { return l.write() })
	close(l.freed)
	l.freed = make(chan struct{})
}

// clock is the time since the boot, in milliseconds.
func clock() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0
	}
	return t.Nano() / 1e6
}

// Read returns what the builds that live now hold and wait for. No file, or an
// empty one, is nobody.
func Read(path string) (entries []Entry, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	l := &Ledger{file: f, part: -1}
	defer f.Close()
	err = l.exclusive(context.Background(), func(*book) error {
		return others(f, -1, func(e Entry) { entries = append(entries, e) })
	})
	return entries, err
}
