package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// strike is one of the things that happen to builds; one with a greater weight
// happens more often. It says whether there was something to strike.
type strike struct {
	what   string
	weight int
	do     func(*life, []*building) bool
}

var strikes = []strike{
	{"engines killed alone", 3, func(l *life, all []*building) bool { return l.killEngine(all, (*engine).signalAlone) }},
	{"engines killed with all that they started", 3, func(l *life, all []*building) bool { return l.killEngine(all, (*engine).signal) }},
	{"workers killed", 5, func(l *life, all []*building) bool { return l.oneBelow(all, isWorker, kill) }},
	{"sandboxes killed", 3, func(l *life, all []*building) bool { return l.oneBelow(all, isSandbox, kill) }},
	{"payloads killed", 3, func(l *life, all []*building) bool { return l.oneBelow(all, isPayload, kill) }},
	{"engines stalled", 2, (*life).stallEngine},
	{"workers stalled", 1, func(l *life, all []*building) bool { return l.oneBelow(all, isWorker, l.stall) }},
	{"sandboxes stalled", 1, func(l *life, all []*building) bool { return l.oneBelow(all, isSandbox, l.stall) }},
	{"payloads stalled", 1, func(l *life, all []*building) bool { return l.oneBelow(all, isPayload, l.stall) }},
	{"interrupted", 2, (*life).interrupt},
	{"the cube's disk full", 2, func(l *life, all []*building) bool { return l.fullFor(0, all) }},
	{"the cache's disk full", 2, func(l *life, all []*building) bool { return l.fullFor(1, all) }},
	{"the temporary files' disk full", 1, func(l *life, all []*building) bool { return l.fullFor(2, all) }},
	{"the cube's disk slow", 6, (*life).slowFor},
	{"gc at once", 2, func(l *life, all []*building) bool { return l.beside(all, "gc") }},
	{"invalidate at once", 2, func(l *life, all []*building) bool { return l.invalidate(all) }},
}

// strike does one thing to the builds that run.
func (l *life) strike(running []*building) {
	for range 20 {
		s := l.draw()
		if s.do(l, running) {
			l.trouble[s.what]++
			return
		}
	}
}

// draw is one of the strikes.
func (l *life) draw() strike {
	weights := 0
	for _, s := range strikes {
		weights += s.weight
	}
	n := l.rng.IntN(weights)
	for _, s := range strikes {
		if n -= s.weight; n < 0 {
			return s
		}
	}
	panic("no strike")
}

// one is one of the builds.
func one(rng *rand.Rand, all []*building) *building { return all[rng.IntN(len(all))] }

func (l *life) killEngine(all []*building, send func(*engine, syscall.Signal)) bool {
	b := one(l.rng, all)
	if b.ended() {
		return false
	}
	l.note("kill %d", b.pid())
	send(b.engine, syscall.SIGKILL)
	return true
}

// killWithinFetch kills all builds while the source is fetched, where that
// happens within a second.
func (l *life) killWithinFetch(all []*building) {
	if !soon(time.Second, l.host.busy) {
		return
	}
	time.Sleep(time.Duration(l.rng.IntN(100)) * time.Millisecond)
	if !l.host.busy() {
		return
	}
	l.note("kill all within a fetch")
	for _, b := range all {
		b.signal(syscall.SIGKILL)
	}
	l.trouble["fetches killed"]++
}

func (l *life) stallEngine(all []*building) bool {
	b := one(l.rng, all)
	if b.ended() {
		return false
	}
	l.note("stall %d", b.pid())
	b.signal(syscall.SIGSTOP)
	l.pause()
	b.signal(syscall.SIGCONT)
	return true
}

func (l *life) pause() { time.Sleep(time.Duration(l.rng.IntN(300)) * time.Millisecond) }

func (l *life) interrupt(all []*building) bool {
	b := one(l.rng, all)
	if b.ended() {
		return false
	}
	l.note("interrupt %d", b.pid())
	b.signal(syscall.SIGINT)
	return true
}

// The sorts of processes below an engine.
func isWorker(p process) bool {
	// Its name is that of the descriptor that it was started from.
	args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
	return bytes.HasPrefix(args, []byte("cube-node\x00"))
}
func isPayload(p process) bool { return p.name == "producer" || strings.HasPrefix(p.name, "python") }
func isSandbox(p process) bool { return !isWorker(p) && !isPayload(p) }

func kill(send func(syscall.Signal)) { send(syscall.SIGKILL) }

func (l *life) stall(send func(syscall.Signal)) {
	send(syscall.SIGSTOP)
	l.pause()
	send(syscall.SIGCONT)
}

// oneBelow finds one of the processes of a sort that an engine has started, if
// there are any, for do to send signals to: to that very process, whoever has its
// number by then.
func (l *life) oneBelow(all []*building, sort func(process) bool, do func(send func(syscall.Signal))) bool {
	b := one(l.rng, all)
	var below []process
	if !soon(50*time.Millisecond, func() bool {
		below = slices.DeleteFunc(descendantsOf(b.pid()), func(p process) bool { return !sort(p) })
		return len(below) > 0 || b.ended()
	}) || len(below) == 0 {
		return false
	}
	p := below[l.rng.IntN(len(below))]
	fd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if !p.lives() {
		return false
	}
	l.note("strike %v below %d", p, b.pid())
	do(func(s syscall.Signal) { _ = unix.PidfdSendSignal(fd, s, nil, 0) })
	return true
}

// fullFor leaves next to no room on a disk for a while.
func (l *life) fullFor(which int, running []*building) bool {
	if which >= len(l.rooms) {
		return false
	}
	r, left := l.rooms[which], l.rng.IntN(200)
	l.note("%d KiB of room in %s", left, r.dir)
	f, err := os.Create(r.ballast())
	l.must(err)
	defer f.Close()
	if size := int64(r.free()-left) << 10; size > 0 {
		if err := unix.Fallocate(int(f.Fd()), 0, 0, size); err != nil {
			l.note("ballast: %v", err) // a build was quicker
		}
	}
	l.wait(running, time.Duration(50+l.rng.IntN(350))*time.Millisecond)
	l.must(os.Remove(r.ballast()))
	l.note("room again")
	return true
}

func (l *life) slowFor(running []*building) bool {
	if l.slow == nil {
		return false
	}
	l.note("a slow disk")
	l.slow.limit(l.t, 400<<10)
	l.wait(running, time.Duration(100+l.rng.IntN(900))*time.Millisecond)
	l.slow.limit(l.t, 0)
	l.note("a fast disk")
	return true
}

// beside runs another command of the program on the cube, and kills it or not.
// It is refused while a build uses the cube.
func (l *life) beside(running []*building, args ...string) bool {
	l.forgot++
	e := l.start(args...)
	l.engines = append(l.engines, e)
	l.note("%d: %s", e.pid(), strings.Join(args, " "))
	if l.rng.IntN(2) == 0 {
		l.wait(running, time.Duration(l.rng.IntN(60))*time.Millisecond)
		e.signal(syscall.SIGKILL)
	}
	code := l.ends(e)
	l.note("%d ended: %v", e.pid(), e.cmd.ProcessState)
	if out := e.output(); code > 1 || code == 1 && !strings.Contains(out, "in use by a build") {
		l.aside(args[0], code, out)
	}
	return true
}

// aside judges a command that failed. It may for want of room, and for want of
// what a build has yet to do: fetch the source, and make something.
func (l *life) aside(command string, code int, out string) {
	for _, why := range []string{"no space left on device", "source is not on this machine", "was not built yet"} {
		if strings.Contains(out, why) {
			return
		}
	}
	l.t.Errorf("cube %s: exit %d\n%s", command, code, out)
}

// invalidate voids tiles of a variable.
func (l *life) invalidate(running []*building) bool {
	v := []string{"first", "second", "third", "spots", "peak", "patient"}[l.rng.IntN(6)]
	args := []string{"invalidate", v}
	if l.rng.IntN(2) == 0 {
		args = append(args, "--tile", "0,0")
	}
	return l.beside(running, args...)
}
