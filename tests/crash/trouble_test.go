package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var threeHundred = size{10, 10, 16} // 301 actions

// TestWhateverHappensACubeIsAsACalmBuildMakesIt has one, two or four builds at
// once, and while they run kills engines, containers and workers, stalls them,
// interrupts them and takes the disk's room away. Builds that ended are started
// again, with the same command and nothing else done. Once all is quiet they
// must succeed, the cube must be what a calm build makes, bit for bit, no action
// may have been done twice, and nothing may be left behind.
//
// A round is one such time. Five rounds go over one cube, that is edited in
// between.
func TestWhateverHappensACubeIsAsACalmBuildMakesIt(t *testing.T) {
	t.Parallel()
	tiles := size{3, 4, 16}
	if soak {
		tiles = threeHundred
	}
	edits := []edit{{}, {"third", 1}, {"second", 2}, {"first", 3}, {"total", 4}}
	want := map[edit]result{}
	var took time.Duration
	for _, e := range edits {
		began := time.Now()
		want[e] = tiles.calmWith(t, e.apply)
		took = max(took, time.Since(began))
	}
	total := &troubles{}
	lives := long(100, 1)
	for n := range lives {
		t.Run(fmt.Sprint("cube ", n), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(*seed, uint64(1000+n)))
			l := newLife(t, rng, tiles, took)
			rng.Shuffle(len(edits), func(i, j int) { edits[i], edits[j] = edits[j], edits[i] })
			for _, e := range edits[:long(len(edits), 2)] {
				l.round(e, want[e])
				total.add(l.trouble)
				if t.Failed() {
					t.Fatalf("%v\n%s", e, strings.Join(l.log, "\n"))
				}
			}
			t.Log(total)
		})
	}
	t.Logf("%d cubes: %v", lives, total)
}

// edit says which variable's producer adds what.
type edit struct {
	variable string
	add      int
}

func (e edit) apply(w *workspace) { w.add(e.variable, e.add) }

// undo takes cube.yaml back to what it was.
func (e edit) undo(w *workspace) {
	if e.variable != "" {
		w.replace(fmt.Sprintf("/%s, params: {add: %d}", e.variable, e.add), "/"+e.variable)
	}
}

// troubles counts what was done to builds.
type troubles struct {
	engines, containers, stalls, interrupts, full, starts int
}

func (n *troubles) add(m troubles) {
	n.engines += m.engines
	n.containers += m.containers
	n.stalls += m.stalls
	n.interrupts += m.interrupts
	n.full += m.full
	n.starts += m.starts
}

func (n *troubles) String() string {
	return fmt.Sprintf("%d engines and %d processes below them killed, %d stalled, %d interrupted, the disk full %d times; %d builds started",
		n.engines, n.containers, n.stalls, n.interrupts, n.full, n.starts)
}

// life is one cube on a disk of its own.
type life struct {
	*workspace
	rng     *rand.Rand
	room    *room
	took    time.Duration // by a calm build
	engines []*engine     // of all rounds
	now     edit

	mu      sync.Mutex
	log     []string
	trouble troubles // of the round
}

func newLife(t *testing.T, rng *rand.Rand, s size, took time.Duration) *life {
	l := &life{workspace: newWorkspace(t, s), rng: rng, took: took}
	if os.Getuid() == 0 { // only root can have a disk of a bounded size
		l.room = newRoom(t, l.root, 96<<10)
		l.moveInto(l.room)
	}
	return l
}

func (l *life) note(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

// round edits the workspace and builds it, whatever happens.
func (l *life) round(e edit, want result) {
	l.t.Helper()
	l.log, l.trouble = nil, troubles{}
	l.now.undo(l.workspace)
	e.apply(l.workspace)
	l.now = e
	builds := []int{1, 1, 2, 4}[l.rng.IntN(4)]
	l.note("%d builds of %v", builds, e)
	running := make([]*engine, builds)
	for i := range running {
		running[i] = l.begin()
	}
	strikes := 1 + l.rng.IntN(5)
	for range strikes {
		l.wait(running, time.Duration(l.rng.Int64N(int64(l.took)))/time.Duration(strikes))
		l.strike(running)
	}
	l.settle(running)
	l.clean(l.engines...)
	l.wants(want)
	l.sound()
	for id, n := range l.succeeded() {
		if n > 1 {
			l.t.Errorf("action %s was done %d times though its result was there", id[:12], n)
		}
	}
}

func (l *life) begin() *engine {
	args := []string{"build"}
	if how := backends[l.rng.IntN(len(backends))]; how != "" {
		args = append(args, "--backend", how)
	}
	e := l.start(args...)
	l.engines = append(l.engines, e)
	l.trouble.starts++
	l.note("%d: %s", e.pid(), strings.Join(args, " "))
	return e
}

// backends are those that builds are begun with; "" is the default one.
var backends = []string{""}

// wait lets time pass, and begins those builds again that have failed.
func (l *life) wait(running []*engine, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for i, e := range running {
			if e.ended() && e.wait() != 0 {
				l.note("%d ended: %v", e.pid(), e.cmd.ProcessState)
				running[i] = l.begin()
			}
		}
	}
}

// settle waits for the builds, once nothing happens to them any more. Those
// that fail still, for what happened before, are begun again, once.
func (l *life) settle(running []*engine) {
	l.t.Helper()
	for _, e := range running {
		if l.ends(e) == 0 {
			continue
		}
		l.note("%d ended: %v", e.pid(), e.cmd.ProcessState)
		if out := e.output(); strings.Contains(out, "goroutine ") {
			l.t.Errorf("it panicked:\n%s", out)
		}
		again := l.begin()
		if code := l.ends(again); code != 0 {
			l.t.Fatalf("exit %d\n%s\n%s", code, again.output(), strings.Join(l.log, "\n"))
		}
	}
}

// ends is wait, but for builds that hang: those are made to say where.
func (l *life) ends(e *engine) int {
	l.t.Helper()
	if !soon(5*time.Minute, e.ended) {
		e.signalAlone(syscall.SIGQUIT)
		e.wait()
		l.t.Fatalf("it did not end\n%s\n%s", e.output(), strings.Join(l.log, "\n"))
	}
	return e.wait()
}

// strike does one thing to the builds that run.
func (l *life) strike(running []*engine) {
	e := running[l.rng.IntN(len(running))]
	switch l.rng.IntN(8) {
	case 0: // as the machine's out-of-memory killer does it
		l.note("kill engine %d alone", e.pid())
		e.signalAlone(syscall.SIGKILL)
		l.trouble.engines++
	case 1:
		l.note("kill engine %d and all that it started", e.pid())
		e.signal(syscall.SIGKILL)
		l.trouble.engines++
	case 2, 3:
		l.oneBelow(e, func(p process, send func(syscall.Signal)) {
			l.note("kill %v below %d", p, e.pid())
			send(syscall.SIGKILL)
			l.trouble.containers++
		})
	case 4:
		l.note("stall engine %d", e.pid())
		e.signal(syscall.SIGSTOP)
		time.Sleep(time.Duration(l.rng.IntN(300)) * time.Millisecond)
		e.signal(syscall.SIGCONT)
		l.trouble.stalls++
	case 5:
		l.oneBelow(e, func(p process, send func(syscall.Signal)) {
			l.note("stall %v below %d", p, e.pid())
			send(syscall.SIGSTOP)
			time.Sleep(time.Duration(l.rng.IntN(300)) * time.Millisecond)
			send(syscall.SIGCONT)
			l.trouble.stalls++
		})
	case 6:
		l.note("interrupt %d", e.pid())
		e.signal(syscall.SIGINT)
		l.trouble.interrupts++
	case 7:
		l.fullFor(time.Duration(50+l.rng.IntN(500))*time.Millisecond, running)
	}
}

// oneBelow finds one of the processes that an engine has started, if there are
// any, for do to send signals to: to that very process, whoever has its number
// by then.
func (l *life) oneBelow(e *engine, do func(p process, send func(syscall.Signal))) {
	var below []process
	if !soon(time.Second, func() bool { below = descendantsOf(e.pid()); return len(below) > 0 || e.ended() }) || len(below) == 0 {
		return
	}
	p := below[l.rng.IntN(len(below))]
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if !p.lives() {
		return
	}
	do(p, func(s syscall.Signal) { _ = unix.PidfdSendSignal(fd, s, nil, 0) })
}

// fullFor leaves next to no room on the disk for a while.
func (l *life) fullFor(d time.Duration, running []*engine) {
	if l.room == nil {
		return
	}
	left := l.rng.IntN(200)
	l.note("%d KiB of room", left)
	ballast := filepath.Join(l.room.dir, "ballast")
	f, err := os.Create(ballast)
	l.must(err)
	defer f.Close()
	if size := int64(l.room.size-l.room.used()-left) << 10; size > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
			l.note("ballast: %v", err) // a build was quicker
		}
	}
	l.wait(running, d)
	l.must(os.Remove(ballast))
	l.trouble.full++
	l.note("room again")
}
