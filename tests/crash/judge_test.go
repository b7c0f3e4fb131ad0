package crash

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/lineage"
)

// judge fails the test where a round has not come to what it must.
func (l *life) judge(want result) {
	l.t.Helper()
	l.clean(l.engines...)
	l.quiet()
	l.wants(want)
	l.sound()
	l.traced()
	again := 0
	for _, n := range l.succeeded() {
		again += max(0, n-1-l.forgot)
	}
	if most := l.stopped * (runtime.NumCPU() + 1); again > most {
		l.t.Errorf("actions were done again %d times, and engines can have died between record and result %d times", again, most)
	}
	l.trouble["actions done again: their engine died between record and result"] += again
}

// quiet fails the test where something of ended builds goes on: locks, news of
// what they do, checkpoints, or fetches to go on with, of what is there by now.
func (l *life) quiet() {
	l.t.Helper()
	for _, lock := range locksOn(l.rooms) {
		l.t.Errorf("left behind: lock %s", lock)
	}
	for _, dir := range []string{l.path(".cube", "live"), l.path(".cube", "checkpoints"), l.cache("sources", "partial")} {
		entries, err := os.ReadDir(dir)
		if err != nil && !os.IsNotExist(err) {
			l.t.Fatal(err)
		}
		for _, e := range entries {
			l.t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
		}
	}
	letters, err := filepath.Glob(l.path(".cube", "deadletter", "*.json"))
	l.must(err)
	for _, f := range letters {
		b, err := os.ReadFile(f)
		l.must(err)
		if !bytes.Contains(b, []byte("flawed")) {
			l.t.Errorf("left behind: a dead letter of an action that has succeeded since: %s", b)
		}
	}
}

// locksOn lists the locks on files of some file systems.
func locksOn(rooms []*room) (out []string) {
	b, _ := os.ReadFile("/proc/locks")
	for line := range strings.Lines(string(b)) {
		for _, r := range rooms {
			var st unix.Stat_t
			if err := unix.Stat(r.dir, &st); err != nil {
				continue
			}
			if strings.Contains(line, fmt.Sprintf(" %02x:%02x:", unix.Major(st.Dev), unix.Minor(st.Dev))) {
				out = append(out, strings.TrimSpace(line))
			}
		}
	}
	return out
}

// traced fails the test where lineage has gaps: every version that the cube shows
// leads down to sources by records whose inputs are there, every record of an
// action comes to its id again, and every result has a record.
func (l *life) traced() {
	l.t.Helper()
	ctx := l.t.Context()
	c, err := cube.Open(l.dir, cube.Config{})
	l.must(err)
	defer c.Close()
	runs := lineage.Open(c.Path("runs"))
	heads, err := c.Heads(ctx)
	l.must(err)
	for name, h := range heads {
		tree, err := lineage.Trace(runs, name, h.Version)
		l.must(err)
		for _, n := range tree.Nodes {
			if !n.Known || !c.HasVersion(n.Version) {
				l.t.Errorf("%s: of %s %s there is a record: %v, and the version: %v", name, n.Variable, n.Version.Short(), n.Known, c.HasVersion(n.Version))
			}
			if len(n.Inputs)+len(n.Sources) == 0 {
				l.t.Errorf("%s: %s is made of nothing", name, n.Variable)
			}
		}
	}
	recorded := l.recorded(runs)
	for id := range l.results() {
		if !recorded[id] {
			l.t.Errorf("result %s has no record", id.Short())
		}
	}
}

// recorded reads all records, and returns the actions that succeeded.
func (l *life) recorded(runs *lineage.Store) map[graph.Digest]bool {
	l.t.Helper()
	done := map[graph.Digest]bool{}
	ids, err := runs.IDs()
	l.must(err)
	for _, id := range ids {
		for v, err := range runs.Vertices(id) {
			if err != nil {
				l.t.Errorf("vertices of run %s: %v", id, err)
			} else if v.Status == lineage.Succeeded && len(v.Outputs) == 0 {
				l.t.Errorf("run %s: %s succeeded and made nothing", id, v.Instance)
			}
		}
		for a, err := range runs.Actions(id) {
			if err != nil {
				l.t.Errorf("actions of run %s: %v", id, err)
				continue
			}
			if a.Status != lineage.Succeeded {
				continue
			}
			if !done[a.ID] && len(done)%20 == 0 {
				l.rebuilds(runs, a)
			}
			done[a.ID] = true
		}
	}
	return done
}

// rebuilds fails the test where a record does not come to the action's id.
func (l *life) rebuilds(runs *lineage.Store, a lineage.Action) {
	l.t.Helper()
	if a.Sandbox == "" {
		return // a merge, whose preimage is its inputs
	}
	if _, err := runs.Preimage(a); err != nil {
		l.t.Errorf("run %s, %s %v: %v", a.Run, a.Instance, a.Tile, err)
	}
}
