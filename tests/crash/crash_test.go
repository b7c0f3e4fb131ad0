// Package crash breaks builds: it kills them, interrupts them, starts several
// at once, fills the disk under them, changes and damages what they read, and
// has one run for long. Each test runs the built program with the real sandbox
// on a workspace of its own; what counts is what the next build makes of it.
//
// With CUBE_SOAK set the tests take their long forms, which differ from the
// short ones in numbers only.
package crash

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	soak  = os.Getenv("CUBE_SOAK") != ""
	seed  = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of what the tests leave to chance")
	lives = flag.Int("cubes", 100, "with CUBE_SOAK: how many cubes are struck, for five rounds each")
)

// long is the number that the long or the short form of a test takes.
func long(inSoak, otherwise int) int {
	if soak {
		return inSoak
	}
	return otherwise
}

// TestMain takes in every process that an engine leaves behind, so that none
// goes unseen: in the end there must be no child.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "become a subreaper:", err)
		os.Exit(1)
	}
	code := m.Run()
	if code != 0 {
		fmt.Fprintf(os.Stderr, "to have the same left to chance: -seed=%d\n", *seed)
	}
	if warmed != "" {
		os.RemoveAll(warmed)
	}
	for _, p := range lastChildren() {
		fmt.Fprintln(os.Stderr, "left behind:", p)
		code = 1
	}
	os.Exit(code)
}

// lastChildren waits a little for all children to end and lists the rest.
func lastChildren() []string {
	for range 100 {
		for {
			if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
				break
			}
		}
		if len(childrenOf(os.Getpid())) == 0 {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	var left []string
	for _, p := range childrenOf(os.Getpid()) {
		left = append(left, p.String())
	}
	return left
}

// process is what /proc says of one.
type process struct {
	pid, parent, group int
	state, name, start string
}

func (p process) String() string { return fmt.Sprintf("%d (%s), %s", p.pid, p.name, p.state) }

// processes lists all that there are, but for those that have ended.
func processes() (all []process) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if p, ok := readProcess(pid); ok && p.state != "Z" && p.state != "X" {
			all = append(all, p)
		}
	}
	return all
}

func readProcess(pid int) (process, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	open, end := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
	f := strings.Fields(string(b[end+1:]))
	if open < 0 || len(f) < 20 {
		return process{}, false
	}
	p := process{pid: pid, name: string(b[open+1 : end]), state: f[0], start: f[19]}
	p.parent, _ = strconv.Atoi(f[1])
	p.group, _ = strconv.Atoi(f[2])
	return p, true
}

func childrenOf(pid int) (out []process) {
	for _, p := range processes() {
		if p.parent == pid {
			out = append(out, p)
		}
	}
	return out
}

// descendantsOf lists all processes below one.
func descendantsOf(pid int) (out []process) {
	all := processes()
	for todo := []int{pid}; len(todo) > 0; todo = todo[1:] {
		for _, p := range all {
			if p.parent == todo[0] {
				out = append(out, p)
				todo = append(todo, p.pid)
			}
		}
	}
	return out
}

// lives reports whether it is still the same process.
func (p process) lives() bool {
	now, ok := readProcess(p.pid)
	return ok && now.start == p.start && now.state != "Z" && now.state != "X"
}
