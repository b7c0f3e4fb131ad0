//go:build linux

package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native/inside"
	"golang.org/x/sys/unix"
)

var _ containers.Starter = (*Runner)(nil)

// lastWordsWithin is how long a payload may live on that has closed its
// descriptor 3 without an answer: one that ends closes it a moment before.
const lastWordsWithin = 2 * time.Second

// session is a container that serves.
type session struct {
	running
	rooms    []room         // what is emptied between two requests
	contents map[string]int // mounts of kind Content, by name below the base
	roots    []*os.Root     // by mount, of those that are filled
	requests *os.File       // the payload's standard input
	answers  *os.File       // its descriptor 3
	log      *logPipe
	out      *output
	hangUp   func() // ends what answers in the sandbox's network
	meter    meter
	served   int
	over     bool // nothing more can be asked of it
	closed   bool
}

// Start implements containers.Starter.
func (r *Runner) Start(ctx context.Context, spec containers.Spec) (containers.Session, error) {
	s, err := r.startSession(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("start container %s: %w", spec.Name, err)
	}
	return s, nil
}

func (r *Runner) startSession(ctx context.Context, spec containers.Spec) (_ *session, err error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	config, err := r.configure(&spec)
	if err != nil {
		return nil, err
	}
	config.Serve = true
	b, err := r.spares.take(user{int(config.UID), int(config.GID)})
	if err != nil {
		return nil, err
	}
	s := &session{running: running{spec: &spec, config: config, box: b, runner: r}}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	stop := context.AfterFunc(ctx, b.kill)
	defer stop()
	s.limit()
	if err := s.open(); err != nil {
		return nil, s.because(ctx, err)
	}
	if s.hangUp, err = s.listen(); err != nil {
		return nil, s.because(ctx, err)
	}
	if err := s.receive(); err != nil {
		return nil, s.because(ctx, err)
	}
	return s, s.layOut()
}

// open makes the payload's pipes and hands the config over.
func (s *session) open() error {
	in, requests, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	s.requests = requests
	answers, to, err := os.Pipe()
	if err != nil {
		return err
	}
	defer to.Close()
	s.answers = answers
	log, inner, err := newLogPipe()
	if err != nil {
		return err
	}
	s.log, s.out = log, &output{inner: []*os.File{inner}, stdout: 1, stderr: 1}
	s.spec.Stdin, s.spec.Answers = in, to
	defer func() { s.spec.Stdin, s.spec.Answers = nil, nil }()
	return s.startWith(s.out)
}

// receive takes the handles that come before the payload starts.
func (s *session) receive() error {
	kind, body, fds, err := inside.Receive(s.box.sock)
	if err != nil {
		return errors.New("the sandbox's init ended without a word: it is not this program's cube-worker, or was killed")
	}
	if kind != inside.Handles {
		return s.failure(kind, body)
	}
	if err := s.keep(body, fds); err != nil {
		return err
	}
	if s.kept[""] == nil {
		return inside.ErrFrame
	}
	return nil
}

// layOut notes what is to be emptied and rewritten between two requests.
func (s *session) layOut() error {
	base := int(s.kept[""].Fd())
	s.contents, s.roots = map[string]int{}, make([]*os.Root, len(s.spec.Mounts))
	for _, name := range []string{"tmp", "shm"} {
		if err := s.addRoom(base, name, 0o1777, nil); err != nil {
			return err
		}
	}
	for i, m := range s.spec.Mounts {
		switch {
		case m.Kind == containers.Tmpfs && s.kept[m.Target] != nil:
			if err := s.addRoom(int(s.kept[m.Target].Fd()), ".", 0o755, m.Dirs); err != nil {
				return err
			}
		case m.Kind == containers.Content:
			s.contents[m.Target[1:]] = i
		}
	}
	return nil
}

func (s *session) addRoom(at int, path string, mode uint32, dirs []string) error {
	r, err := openRoom(at, path, mode)
	if err != nil {
		return err
	}
	r.dirs = dirs
	if !s.runner.rootless {
		r.owner = &user{int(s.config.UID), int(s.config.GID)}
	}
	s.rooms = append(s.rooms, r)
	return nil
}

// Serve implements containers.Session.
func (s *session) Serve(ctx context.Context, spec containers.Spec) (*containers.Exit, error) {
	exit, err := s.serve(ctx, spec)
	if err != nil {
		s.over = true
		return nil, fmt.Errorf("run container %s: %w", spec.Name, err)
	}
	return exit, nil
}

func (s *session) serve(ctx context.Context, spec containers.Spec) (*containers.Exit, error) {
	start := time.Now()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if s.over {
		return nil, containers.ErrUsedUp
	}
	before := s.spec.Mounts
	if err := s.refit(spec); err != nil {
		return nil, err
	}
	if s.served++; s.served > 1 {
		if err := s.clear(); err != nil {
			return nil, fmt.Errorf("%w: %w", containers.ErrUsedUp, err)
		}
	}
	if err := s.rewrite(before); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, s.box.kill)
	defer stop()
	s.timedOut.Store(false)
	if limit := spec.Limits.Time; limit > 0 {
		timer := time.AfterFunc(limit, func() { s.timedOut.Store(true); s.box.kill() })
		defer timer.Stop()
	}
	if err := s.fill(); err != nil {
		return nil, s.because(ctx, err)
	}
	exit, err := s.ask(ctx)
	if err != nil {
		return nil, s.because(ctx, err)
	}
	exit.Usage.Wall = time.Since(start)
	return exit, nil
}

// refit takes the spec of another request, which is of the same container.
func (s *session) refit(spec containers.Spec) error {
	same := func(a, b containers.Mount) bool {
		return a.Kind == b.Kind && a.Target == b.Target && a.Source == b.Source && slices.Equal(a.Dirs, b.Dirs) && (a.Fill == nil) == (b.Fill == nil)
	}
	if !slices.EqualFunc(s.spec.Mounts, spec.Mounts, same) {
		return bad("another container's mounts")
	}
	s.spec = &spec
	return nil
}

// clear makes all that the payload sees as it was before its first request.
func (s *session) clear() error {
	if n, err := waiting(s.answers); err != nil || n > 0 {
		return errors.Join(err, errors.New("it answered what it was not asked"))
	}
	for _, m := range s.spec.Mounts {
		if m.Kind == containers.Bind && m.Writable || m.Kind == containers.Tmpfs && s.kept[m.Target] == nil {
			return fmt.Errorf("%s cannot be emptied", m.Target)
		}
	}
	for i := range s.rooms {
		if err := s.rooms[i].empty(); err != nil {
			return err
		}
	}
	return nil
}

// rewrite brings the content of mounts up to date.
func (s *session) rewrite(before []containers.Mount) error {
	for name, i := range s.contents {
		content := s.spec.Mounts[i].Content
		if bytes.Equal(content, before[i].Content) {
			continue
		}
		if s.spec.Mounts[i].Private {
			return fmt.Errorf("/%s is another: %w", name, containers.ErrUsedUp)
		}
		if err := replace(int(s.kept[""].Fd()), name, content); err != nil {
			return fmt.Errorf("write /%s: %w", name, err)
		}
	}
	return nil
}

// fill fills the tmpfs that want it, which the payload cannot write to.
func (s *session) fill() error {
	for i := range s.spec.Mounts {
		m := &s.spec.Mounts[i]
		if m.Fill == nil {
			continue
		}
		if s.roots[i] == nil {
			root, err := os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d", s.kept[m.Target].Fd()))
			if err != nil {
				return fmt.Errorf("fill %s: %w", m.Target, err)
			}
			s.roots[i] = root
		}
		if err := m.Fill(s.roots[i]); err != nil {
			return fmt.Errorf("fill %s: %w", m.Target, err)
		}
	}
	return nil
}

// waiting is how many bytes can be read from a pipe.
func waiting(f *os.File) (n int, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	return n, errors.Join(conn.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }), err)
}

// ask has the payload do what it finds, and says what came of it.
func (s *session) ask(ctx context.Context) (*containers.Exit, error) {
	if s.log.begun {
		s.log.turn(s.spec.Stdout)
	} else {
		s.log.begin(s.spec.Stdout, &s.out.copying)
	}
	// Where that fails the payload has ended or has closed its standard input; an
	// answer, or the end of the answers, says what is the matter.
	_, _ = s.requests.WriteString(containers.Request)
	line, err := s.answer()
	if err != nil {
		return s.ended(ctx)
	}
	code, err := containers.ParseAnswer(line)
	if err != nil {
		s.box.kill()
		return s.misspoke(ctx)
	}
	s.log.turn(nil)
	exit := &containers.Exit{Code: code, Answered: true, Unenforced: s.unenforced, Usage: s.meter.read(s.box)}
	if code != 0 && s.box.leaf.killedForMemory() {
		exit.Reason, exit.Signal, exit.Code = containers.OutOfMemory, unix.SIGKILL, 128+int(unix.SIGKILL)
	}
	exit.Kept, err = s.lend()
	return exit, err
}

// answer reads up to a newline, and no more than an answer holds.
func (s *session) answer() ([]byte, error) {
	line := make([]byte, 0, containers.MaxAnswer)
	for len(line) < cap(line) && bytes.IndexByte(line, '\n') < 0 {
		n, err := s.answers.Read(line[len(line):cap(line)])
		if line = line[:len(line)+n]; err != nil {
			return nil, err
		}
		s.began = true // whether or not the init has come to say so
	}
	return line, nil
}

// lend returns handles on what the payload wrote, for the caller to close.
func (s *session) lend() (map[string]*os.File, error) {
	lent := map[string]*os.File{}
	for i := range s.spec.Mounts {
		m := &s.spec.Mounts[i]
		if !m.Keep {
			continue
		}
		fd, err := unix.FcntlInt(s.kept[m.Target].Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			e := containers.Exit{Kept: lent}
			return nil, errors.Join(err, e.Close())
		}
		lent[m.Target] = os.NewFile(uintptr(fd), "kept tmpfs")
	}
	return lent, nil
}

// ended is how a container ended whose payload gave no answer.
func (s *session) ended(ctx context.Context) (*containers.Exit, error) {
	var silent atomic.Bool
	timer := time.AfterFunc(lastWordsWithin, func() { silent.Store(true); s.box.kill() })
	defer timer.Stop()
	exit, err := s.last(ctx)
	if err != nil {
		return nil, err
	}
	if silent.Load() && exit.Reason == containers.Signaled || exit.Success() {
		exit.Reason = containers.Misspoke
	}
	return exit, nil
}

// misspoke is the end of a container whose payload has answered nonsense.
func (s *session) misspoke(ctx context.Context) (*containers.Exit, error) {
	exit, err := s.last(ctx)
	if err == nil {
		exit.Reason = containers.Misspoke
	}
	return exit, err
}

// last waits for the container's end.
func (s *session) last(ctx context.Context) (*containers.Exit, error) {
	s.over = true
	exit, err := s.exit(ctx)
	s.out.wait()
	s.log.turn(nil)
	if err != nil {
		return nil, err
	}
	exit.Kept, err = s.lend()
	exit.Usage = s.meter.rest(exit.Usage)
	return exit, err
}

// Close implements containers.Session; it may be called again. When it returns no process
// of the container is left; the rest is let go of meanwhile.
func (s *session) Close() error {
	if s.over = true; s.closed {
		return nil
	}
	s.closed = true
	s.box.kill()
	_, _ = s.box.init.Wait() // it may have been waited for
	s.runner.background.Go(s.release)
	return nil
}

// release lets go of all that the session is made of.
func (s *session) release() {
	s.runner.abandon(s.box)
	if s.hangUp != nil {
		s.hangUp()
	}
	if s.out != nil {
		s.log.close()
		s.out.closeInner()
		s.out.wait()
	}
	for _, f := range []*os.File{s.requests, s.answers, s.meter.stat, s.meter.peak} {
		if f != nil {
			f.Close()
		}
	}
	for i := range s.rooms {
		s.rooms[i].dir.Close()
	}
	for _, root := range s.roots {
		if root != nil {
			root.Close()
		}
	}
	s.closeKept()
}

// replace puts a file in the place of another, whole. The name is below /cube.
func replace(base int, name string, content []byte) error {
	const made = "l/new" // where no payload sees it
	fd, err := unix.Openat(base, made, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 0o444)
	if err != nil {
		return err
	}
	for b := content; len(b) > 0 && err == nil; {
		var n int
		if n, err = unix.Write(fd, b); n > 0 {
			b = b[n:]
		}
	}
	if err == nil {
		err = unix.Fchmod(fd, 0o444) // whatever this process's umask says
	}
	if closed := unix.Close(fd); err == nil {
		err = closed
	}
	if err == nil {
		err = toEpoch(base, made)
	}
	if err == nil {
		err = unix.Renameat(base, made, base, name)
	}
	if err == nil {
		err = toEpoch(base, path.Dir(name))
	}
	return err
}
