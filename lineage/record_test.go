package lineage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cubebuild/cube/graph"
)

func TestARunIsReadBackAsItWasRecorded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run := aRun(noon)
	w := Create(dir, run, Options{})
	vertex, actions := demVertex(), []Action{anAction(0), anAction(1)}
	must(t, w.Vertex(vertex))
	for _, a := range actions {
		must(t, w.Action(a))
	}
	counts := Counts{Actions: 2, Ran: 2}
	must(t, w.End(Partial, counts, errors.New("slope: tile 3: exit 1\nmore")))

	got, err := Open(dir).Run(w.ID())
	must(t, err)
	vertex.Run = w.ID()
	vertex.Sources[0].URI = "https://REDACTED@example.org/data/rmnp-dem.tif?token=REDACTED&v=2"
	run.Status, run.Counts, run.Error, run.Vertices = Partial, counts, "slope: tile 3: exit 1", []Vertex{vertex}
	if d := cmp.Diff(run, got, cmpopts.IgnoreFields(Run{}, "Finished", "Files")); d != "" {
		t.Error(d)
	}
	if got.Finished.IsZero() {
		t.Error("no time at which it finished")
	}
	var read []Action
	for a, err := range Open(dir).Actions(w.ID()) {
		must(t, err)
		read = append(read, a)
	}
	for i := range actions {
		actions[i].Run = w.ID()
	}
	if d := cmp.Diff(actions, read); d != "" {
		t.Error(d)
	}
}

func TestTheFinishedRunNamesTheDigestOfEachFile(t *testing.T) {
	t.Parallel()
	store, w := rockies(t)
	must(t, w.Action(anAction(1)))
	must(t, w.AppendLog(digest("a"), []byte("hello\n")))
	must(t, w.End(Succeeded, Counts{}, nil))
	run, err := store.Run(w.ID())
	must(t, err)
	for _, name := range []string{verticesFile, actionsFile, logFile} {
		b, err := os.ReadFile(filepath.Join(store.dir, w.ID(), name))
		must(t, err)
		if want := (FileSum{int64(len(b)), graph.Sum(b)}); run.Files[name] != want {
			t.Errorf("%s: %v, want %v", name, run.Files[name], want)
		}
	}
}

func TestThePreimageKeepsItsBytes(t *testing.T) {
	t.Parallel()
	store, w := rockies(t)
	v, _, err := store.Last("dem", "default")
	must(t, err)
	if want := demVertex().Preimage; !bytes.Equal(v.Preimage, want) {
		t.Errorf("got %s, want %s", v.Preimage, want)
	}
	must(t, w.End(Succeeded, Counts{}, nil))
}

func TestARunThatDidNothingLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "runs")
	w := Create(dir, aRun(noon), Options{})
	must(t, w.End(Succeeded, Counts{Actions: 10, Hits: 10}, nil))
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stat: %v", err)
	}
	if err := w.Action(anAction(1)); err == nil {
		t.Error("an action was recorded after the end")
	}
}

func TestStatusTellsRunningFromInterrupted(t *testing.T) {
	t.Parallel()
	store, w := rockies(t)
	status := func() Status {
		run, err := store.Summary(w.ID())
		must(t, err)
		return run.Status
	}
	if got := status(); got != Running {
		t.Errorf("while it goes on: %s", got)
	}
	if err := store.Remove(w.ID()); !errors.Is(err, ErrRunning) {
		t.Errorf("remove while it goes on: %v", err)
	}
	must(t, w.actions.close()) // as the kernel does when the process dies
	if got := status(); got != Interrupted {
		t.Errorf("after its death: %s", got)
	}
	must(t, store.Remove(w.ID()))
	if _, err := store.Run(w.ID()); !errors.Is(err, ErrNoRun) {
		t.Errorf("after its removal: %v", err)
	}
	if _, _, err := store.ByVersion("elevation", digest("elevation")); !errors.Is(err, ErrNoRecord) {
		t.Errorf("version of a removed run: %v", err)
	}
}

func TestAnActionIsReadableAsSoonAsItIsRecorded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := Create(dir, aRun(noon), Options{})
	for i := range 3 {
		must(t, w.Action(anAction(i)))
		n := 0
		for _, err := range Open(dir).Actions(w.ID()) {
			must(t, err)
			n++
		}
		if n != i+1 {
			t.Errorf("%d actions, want %d", n, i+1)
		}
	}
	must(t, w.End(Succeeded, Counts{}, nil))
}

func TestATornLastLineIsPassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := Create(dir, aRun(noon), Options{})
	for i := range 3 {
		must(t, w.Action(anAction(i)))
	}
	must(t, w.End(Succeeded, Counts{}, nil))
	path := filepath.Join(dir, w.ID(), actionsFile)
	whole, err := os.ReadFile(path)
	must(t, err)
	ends := []int{0}
	for i, c := range whole {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	for cut := range whole {
		must(t, os.WriteFile(path, whole[:cut], 0o644))
		want := 0
		for _, e := range ends[1:] {
			if e <= cut {
				want++
			}
		}
		got := 0
		for _, err := range Open(dir).Actions(w.ID()) {
			must(t, err)
			got++
		}
		if got != want {
			t.Fatalf("cut at %d: %d actions, want %d", cut, got, want)
		}
	}
}

func TestADamagedLineIsNamedAndTheOthersAreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := Create(dir, aRun(noon), Options{})
	for i := range 3 {
		must(t, w.Action(anAction(i)))
	}
	must(t, w.End(Succeeded, Counts{}, nil))
	path := filepath.Join(dir, w.ID(), actionsFile)
	b, err := os.ReadFile(path)
	must(t, err)
	second := bytes.IndexByte(b, '\n') + 1
	at := second + bytes.Index(b[second:], []byte(`"exit":0`)) + len(`"exit":`)
	b[at] = '7'
	must(t, os.WriteFile(path, b, 0o644))
	var good int
	var damage *DamageError
	for _, err := range Open(dir).Actions(w.ID()) {
		if err == nil {
			good++
		} else if !errors.As(err, &damage) {
			t.Fatal(err)
		}
	}
	if good != 2 || damage == nil || damage.Offset != int64(second) {
		t.Errorf("%d good, damage %v", good, damage)
	}
}

func TestWritersOfOneRunDoNotMixLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := Create(dir, aRun(noon), Options{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			log := w.Log(digest(fmt.Sprint(g)))
			for i := range 50 {
				if err := w.Action(anAction(g*50 + i)); err != nil {
					t.Error(err)
				}
				fmt.Fprintf(log, "%d %d\n", g, i)
				if err := log.Flush(); err != nil {
					t.Error(err)
				}
			}
			if err := log.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, w.End(Succeeded, Counts{}, nil))
	seen := map[graph.Digest]bool{}
	for a, err := range Open(dir).Actions(w.ID()) {
		must(t, err)
		seen[a.ID] = true
	}
	if len(seen) != 400 {
		t.Errorf("%d actions, want 400", len(seen))
	}
	for g := range 8 {
		var want strings.Builder
		for i := range 50 {
			fmt.Fprintf(&want, "%d %d\n", g, i)
		}
		if got := printed(t, Open(dir), w.ID(), digest(fmt.Sprint(g))); got != want.String() {
			t.Errorf("log of %d: %q", g, got)
		}
	}
}

func printed(t *testing.T, s *Store, run string, id graph.Digest) string {
	t.Helper()
	var b strings.Builder
	for p, err := range s.Printed(run, &id) {
		must(t, err)
		b.Write(p.Text)
	}
	return b.String()
}

func TestALogKeepsTheBeginningAndTheEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ size, piece int }{{0, 1}, {999, 7}, {1000, 1000}, {1001, 13}, {5000, 1}, {5000, 5000}, {123456, 999}} {
		t.Run(fmt.Sprintf("%d in pieces of %d", c.size, c.piece), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := Create(dir, aRun(noon), Options{LogLimit: 1000})
			all := make([]byte, c.size)
			for i := range all {
				all[i] = byte('a' + i%23)
			}
			log := w.Log(digest("x"))
			for rest := all; len(rest) > 0; {
				n := min(len(rest), c.piece)
				_, err := log.Write(rest[:n])
				must(t, err)
				rest = rest[n:]
			}
			must(t, log.Close())
			if log.Size() != int64(c.size) {
				t.Errorf("size %d, want %d", log.Size(), c.size)
			}
			must(t, w.End(Succeeded, Counts{}, nil))
			want := string(all)
			if c.size > 1000 {
				want = fmt.Sprintf("%s\n[%d bytes left out]\n%s", all[:500], c.size-1000, all[c.size-500:])
			}
			if c.size == 0 {
				return
			}
			if d := cmp.Diff(want, printed(t, Open(dir), w.ID(), digest("x"))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestATornLogIsReadUpToTheTear(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := Create(dir, aRun(noon), Options{})
	must(t, w.AppendLog(digest("a"), []byte("one\n")))
	must(t, w.AppendLog(digest("b"), []byte("two, with\n#cube-log within\n")))
	must(t, w.AppendLog(digest("a"), []byte("three\n")))
	must(t, w.End(Succeeded, Counts{}, nil))
	path := filepath.Join(dir, w.ID(), logFile)
	whole, err := os.ReadFile(path)
	must(t, err)
	if got := printed(t, Open(dir), w.ID(), digest("a")); got != "one\nthree\n" {
		t.Fatalf("whole: %q", got)
	}
	for cut := range whole {
		must(t, os.WriteFile(path, whole[:cut], 0o644))
		if got := printed(t, Open(dir), w.ID(), digest("a")); got != "" && got != "one\n" {
			t.Fatalf("cut at %d: %q", cut, got)
		}
	}
}

func TestIDsSortByTimeAndAreSafeNames(t *testing.T) {
	t.Parallel()
	last := ""
	for i := range 2000 {
		id := NewID(noon.Add(time.Duration(i) * 777 * time.Microsecond))
		if id <= last {
			t.Fatalf("%s follows %s", id, last)
		}
		must(t, CheckID(id))
		last = id
	}
	for _, bad := range []string{"", "..", "../../etc", "20200927T110000Z", "20200927T110000Z-5f3a9c1e2", "20200927T110000Z-5f3a9c1e2/", "20209927T110000Z-5f3a9c1e20", "20200927T110000Z-5F3A9C1E20"} {
		if err := CheckID(bad); !errors.Is(err, ErrBadID) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := Open(t.TempDir()).Run(bad); !errors.Is(err, ErrBadID) {
			t.Errorf("run %q: %v", bad, err)
		}
	}
}

func TestRunsAreListedOldestFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var want []string
	for i := range 5 {
		w := Create(dir, aRun(noon.Add(time.Duration(i)*time.Second)), Options{})
		must(t, w.Begin())
		must(t, w.End(Succeeded, Counts{}, nil))
		want = append(want, w.ID())
	}
	must(t, os.Mkdir(filepath.Join(dir, "notes"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, NewID(noon)), 0o755)) // died before run.json
	var got []string
	for run, err := range Open(dir).Runs() {
		must(t, err)
		got = append(got, run.ID)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestARecordOfANewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"format":"cube-run","version":2,"run":{}}`, `{"format":"other","version":1}`, `{}`} {
		if _, err := decodeRun([]byte(text)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWhatAKilledWriterLeftHalfMadeIsTidiedAway(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := Create(dir, aRun(noon), Options{})
	must(t, w.Action(anAction(0)))
	left := filepath.Join(dir, w.ID(), ".run.json-UVWXYZ")
	must(t, os.WriteFile(left, []byte("{}"), 0o644))
	store := Open(dir)
	store.Tidy(w.ID())
	store.Tidy("../" + filepath.Base(dir)) // no run's id
	store.Tidy("20200927T110000Z-00000000")
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
	must(t, w.End(Succeeded, Counts{}, nil))
	if _, err := store.Run(w.ID()); err != nil {
		t.Errorf("the run: %v", err)
	}
}

func TestVersionsAreFoundWhereTheyWereFirstAndLastMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := Open(dir)
	if _, _, err := store.ByVersion("slope", digest("slope")); !errors.Is(err, ErrNoRecord) {
		t.Fatalf("before any run: %v", err)
	}
	var ids []string
	for i := range 3 {
		w := Create(dir, aRun(noon.Add(time.Duration(i)*time.Minute)), Options{})
		v := slopeVertex()
		v.Derivation = digest(fmt.Sprint("derivation ", i))
		must(t, w.Vertex(v))
		ids = append(ids, w.ID())
		// The store must see what a running run adds, without being opened anew.
		_, run, err := store.LastByVersion("slope", digest("slope"))
		must(t, err)
		if run.ID != w.ID() || run.Status != Running {
			t.Errorf("last made by %s (%s), want %s", run.ID, run.Status, w.ID())
		}
		must(t, w.End(Succeeded, Counts{}, nil))
	}
	_, run, err := store.ByVersion("slope", digest("slope"))
	must(t, err)
	if run.ID != ids[0] {
		t.Errorf("first made by %s, want %s", run.ID, ids[0])
	}
	v, run, err := store.ByDerivation(digest("derivation 1"))
	must(t, err)
	if run.ID != ids[1] || v.Instance != "slope" {
		t.Errorf("derivation 1: %s of %s", v.Instance, run.ID)
	}
	if _, _, err := store.ByVersion("elevation", digest("slope")); !errors.Is(err, ErrNoRecord) {
		t.Errorf("another variable's: %v", err)
	}
}

func TestAVertexOfAnOlderRunDoesNotBecomeTheLast(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store := Open(dir)
	older, newer := Create(dir, aRun(noon), Options{}), Create(dir, aRun(noon.Add(time.Hour)), Options{})
	must(t, older.Begin())
	must(t, newer.Vertex(slopeVertex()))
	if _, run, err := store.Last("slope", "default"); err != nil || run.ID != newer.ID() {
		t.Fatalf("%s, %v", run.ID, err)
	}
	must(t, older.Vertex(slopeVertex()))
	if _, run, err := store.Last("slope", "default"); err != nil || run.ID != newer.ID() {
		t.Errorf("%s, %v, want %s", run.ID, err, newer.ID())
	}
	if _, run, err := store.ByVersion("slope", digest("slope")); err != nil || run.ID != older.ID() {
		t.Errorf("%s, %v, want %s", run.ID, err, older.ID())
	}
	must(t, older.End(Succeeded, Counts{}, nil))
	must(t, newer.End(Succeeded, Counts{}, nil))
}

func FuzzRunRecord(f *testing.F) {
	b, err := marshal(envelope{formatName, formatVersion, aRun(noon)})
	must(f, err)
	f.Add(b)
	f.Add([]byte(`{"format":"cube-run","version":1,"run":{"files":{"log":{"size":-1}}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		run, err := decodeRun(b)
		if err != nil {
			return
		}
		again, err := marshal(envelope{formatName, formatVersion, run})
		must(t, err)
		second, err := decodeRun(again)
		must(t, err)
		if d := cmp.Diff(run, second, cmpopts.EquateEmpty()); d != "" {
			t.Error(d)
		}
	})
}

func FuzzRecordLines(f *testing.F) {
	v, err := encodeLine("vertex", demVertex())
	must(f, err)
	a, err := encodeLine("action", anAction(1))
	must(f, err)
	f.Add(append(append([]byte{}, v...), a...))
	f.Add(v[:len(v)/2])
	f.Add([]byte("{\"digest\":\"\",\"vertex\":{}}\n\n{}\nnull\n[]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var x index
		x.made, x.derived, x.instance = map[madeKey][]place{}, map[graph.Digest][]place{}, map[instanceKey][]place{}
		rest, last := b, int64(0)
		lines(bytes.NewReader(b), "fuzz", 0, func(l line, err error) bool {
			must(t, err)
			want, after, _ := bytes.Cut(rest, []byte("\n"))
			if !bytes.Equal(l.text, want) || l.offset != last {
				t.Fatalf("line at %d is %q, want %q at %d", l.offset, l.text, want, last)
			}
			rest, last = after, l.end()
			decodeLine[Action]("action", l.text)
			if v, why := decodeLine[Vertex]("vertex", l.text); why == "" {
				h, ok := readHead(l.text)
				if ok && (h.instance != v.Instance || h.derivation != v.Derivation || len(h.outputs) != len(v.Outputs)) {
					t.Errorf("head %v differs from %v", h, v)
				}
			}
			x.add(place{}, l.text)
			return true
		})
		if bytes.Contains(rest, []byte("\n")) {
			t.Errorf("left unread: %q", rest)
		}
	})
}

func FuzzLogFrames(f *testing.F) {
	f.Add(appendFrame(appendFrame(nil, digest("a"), []byte("hello\n")), digest("b"), nil))
	f.Add([]byte("#cube-log zz 1\nx\n"))
	f.Add([]byte("#cube-log " + strings.Repeat("0", 64) + " 99999999999999999999\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		read := func(b []byte) (text []byte) {
			frames(bytes.NewReader(b), "fuzz", 0, nil, func(placed Placed[Printed], err error) bool {
				p := placed.Record
				text = append(text, p.Text...)
				return true
			})
			return text
		}
		if got := read(b); len(got) > len(b) {
			t.Errorf("%d bytes read from %d", len(got), len(b))
		}
		if len(b) > maxFrame {
			return
		}
		want := append([]byte("first"), b...)
		framed := appendFrame(appendFrame(nil, digest("a"), []byte("first")), digest("b"), b)
		if got := read(framed); !bytes.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
