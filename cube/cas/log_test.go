package cas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/graph"
)

func newLog(t testing.TB, path string) *Log {
	t.Helper()
	l := OpenLog(path, LogConfig{NoSync: true})
	t.Cleanup(func() { l.Close() })
	return l
}

func keyOf(i int) graph.Digest { return graph.Sum(fmt.Append(nil, "key", i)) }

func valueOf(i int) []byte { return bytes.Repeat([]byte{byte(i)}, i%300) }

func fillLog(t testing.TB, l *Log, n int) {
	t.Helper()
	for i := range n {
		if _, err := l.Put(t.Context(), keyOf(i), valueOf(i)); err != nil {
			t.Fatal(err)
		}
	}
}

// content reads a log afresh.
func content(t testing.TB, path string) map[graph.Digest]string {
	t.Helper()
	l := OpenLog(path, LogConfig{})
	defer l.Close()
	out := map[graph.Digest]string{}
	err := l.Range(t.Context(), func(k graph.Digest, v []byte) error { out[k] = string(v); return nil })
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range out {
		if got, ok, err := l.Get(k); !ok || err != nil || string(got) != v {
			t.Fatalf("Get gives %q, %v, %v where Range has %q", got, ok, err, v)
		}
	}
	return out
}

func TestAKeyIsPutOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "actions", "results")
	l, other := newLog(t, path), newLog(t, path)
	if v, ok, err := l.Get(keyOf(1)); ok || err != nil {
		t.Fatalf("an empty log has %q, %v", v, err)
	}
	if won, err := l.Put(t.Context(), keyOf(1), []byte("first")); err != nil || string(won) != "first" {
		t.Fatalf("Put: %q, %v", won, err)
	}
	if won, err := other.Put(t.Context(), keyOf(1), []byte("second")); err != nil || string(won) != "first" {
		t.Fatalf("the second Put: %q, %v: want the first's value", won, err)
	}
	if v, ok, err := other.Get(keyOf(1)); !ok || err != nil || string(v) != "first" {
		t.Fatalf("Get: %q, %v, %v", v, ok, err)
	}
	if err := other.Delete(t.Context(), keyOf(1)); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := l.Get(keyOf(1)); ok || err != nil {
		t.Fatalf("deleted, and still there: %v", err)
	}
	if won, err := l.Put(t.Context(), keyOf(1), []byte("third")); err != nil || string(won) != "third" {
		t.Fatalf("after Delete: %q, %v", won, err)
	}
	if v, ok, err := other.Get(keyOf(1)); !ok || err != nil || string(v) != "third" {
		t.Fatalf("Get: %q, %v, %v", v, ok, err)
	}
	if got := content(t, path); len(got) != 1 {
		t.Fatalf("%d keys", len(got))
	}
	if _, err := l.Put(t.Context(), keyOf(2), make([]byte, MaxValue+1)); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("a value beyond the limit: %v", err)
	}
}

func TestATornTailIsDropped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := newLog(t, path)
	var ends []int64
	for i := range 6 {
		if _, err := l.Put(t.Context(), keyOf(i), valueOf(10*i)); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, l.end)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		for name, tail := range map[string][]byte{"short": nil, "zeros": make([]byte, len(whole)-cut)} {
			path := filepath.Join(dir, fmt.Sprint("cut", cut, name))
			if err := os.WriteFile(path, append(bytes.Clone(whole[:cut]), tail...), 0o666); err != nil {
				t.Fatal(err)
			}
			if cut < headerSize && name == "zeros" {
				continue // no log
			}
			want := 0
			for want < len(ends) && ends[want] <= int64(cut) {
				want++
			}
			if got := content(t, path); len(got) != want {
				t.Fatalf("cut at %d (%s): %d records, want %d", cut, name, len(got), want)
			}
			l := OpenLog(path, LogConfig{NoSync: true})
			if _, err := l.Put(t.Context(), keyOf(99), []byte("next")); err != nil {
				t.Fatalf("cut at %d (%s): %v", cut, name, err)
			}
			l.Close()
			if got := content(t, path); len(got) != want+1 || got[keyOf(99)] != "next" {
				t.Fatalf("cut at %d (%s): %d records after a Put, want %d", cut, name, len(got), want+1)
			}
		}
	}
}

func TestDamageCostsOnlyTheRecordsItHits(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l := newLog(t, path)
	fillLog(t, l, 20)
	l.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := headerSize; at < len(whole)-recordHeader; at += 37 {
		b := bytes.Clone(whole)
		b[at] ^= 0x55
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		if n := len(content(t, path)); n != 19 {
			t.Fatalf("byte %d flipped: %d records are left of 20", at, n)
		}
	}
	for _, b := range [][]byte{append([]byte("cube-log\x02"), whole[9:]...), []byte("something else entirely")} {
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		l := OpenLog(path, LogConfig{})
		if _, _, err := l.Get(keyOf(1)); !errors.Is(err, ErrFormat) {
			t.Errorf("another format gives %v", err)
		}
		if _, err := l.Put(t.Context(), keyOf(1), nil); !errors.Is(err, ErrFormat) {
			t.Errorf("a Put into another format gives %v", err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, b) {
			t.Errorf("another program's file was changed")
		}
		l.Close()
	}
}

func TestCompactKeepsWhatIsWanted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l, other := newLog(t, path), newLog(t, path)
	fillLog(t, l, 100)
	for i := range 50 {
		if err := l.Delete(t.Context(), keyOf(2*i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := other.Get(keyOf(1)); !ok || err != nil {
		t.Fatal(err)
	}
	shed, err := l.Compact(t.Context(), func(k graph.Digest, _ []byte) bool { return k != keyOf(1) })
	if err != nil || shed <= 0 {
		t.Fatalf("shed %d bytes, %v", shed, err)
	}
	if got := content(t, path); len(got) != 49 {
		t.Fatalf("%d keys, want 49", len(got))
	}
	// Whoever had the old file open goes over to the new one.
	if _, ok, err := other.Get(keyOf(1)); ok || err != nil {
		t.Fatalf("another process still has it: %v", err)
	}
	if _, err := other.Put(t.Context(), keyOf(200), []byte("new")); err != nil {
		t.Fatal(err)
	}
	if v, ok, err := l.Get(keyOf(200)); !ok || err != nil || string(v) != "new" {
		t.Fatalf("Get: %q, %v, %v", v, ok, err)
	}
}

func TestManyWritersAgree(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	const writers, keys = 4, 200
	won := make([]map[int]string, writers)
	var wg sync.WaitGroup
	for w := range writers {
		won[w] = map[int]string{}
		wg.Go(func() {
			l := OpenLog(path, LogConfig{NoSync: true}) // its own file description, as another process has
			defer l.Close()
			for i := range keys {
				k := (i*7 + w*50) % keys
				v, err := l.Put(t.Context(), keyOf(k), fmt.Append(nil, "writer ", w))
				if err != nil {
					t.Error(err)
				}
				won[w][k] = string(v)
			}
		})
	}
	wg.Wait()
	got := content(t, path)
	for k := range keys {
		for w := range writers {
			if won[w][k] != got[keyOf(k)] {
				t.Fatalf("writer %d was told that %q won key %d: it was %q", w, won[w][k], k, got[keyOf(k)])
			}
		}
	}
}

// writeEnv has the test binary write to the folder that it names until it is
// killed.
const writeEnv = "CUBE_CAS_TEST_WRITE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writeEnv); dir != "" {
		if err := writeForEver(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForEver puts objects, and records that name them.
func writeForEver(dir string) error {
	ctx := context.Background()
	s := Open(filepath.Join(dir, "objects"), Config{NoSync: true})
	l := OpenLog(filepath.Join(dir, "log"), LogConfig{NoSync: true})
	if _, err := s.Recover(ctx); err != nil {
		return err
	}
	start := int(time.Now().UnixNano())
	for i := start; ; i++ {
		d, err := s.Put(ctx, bytes.Repeat(fmt.Append(nil, i), 1+i%3000))
		if err != nil {
			return err
		}
		if _, err := l.Put(ctx, keyOf(i), append(d[:], valueOf(i)...)); err != nil {
			return err
		}
		if i%5 == 0 {
			if err := l.Delete(ctx, keyOf(i)); err != nil {
				return err
			}
		}
		if i%100 == 0 {
			if err := s.Sync(ctx); err != nil {
				return err
			}
		}
	}
}

func TestAfterKillEverythingRecordedIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	before := 0
	for round := 0; round < 20 || before == 0; round++ { // a busy machine takes longer to write anything
		var stderr [2]bytes.Buffer
		var cmds []*exec.Cmd
		for i := range stderr {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), writeEnv+"="+dir)
			cmd.Stderr = &stderr[i]
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmds = append(cmds, cmd)
		}
		time.Sleep(time.Duration(15+7*round) * time.Millisecond)
		for i, cmd := range cmds {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if stderr[i].Len() > 0 {
				t.Fatalf("round %d: the writer says %s", round, stderr[i].Bytes())
			}
		}
		s := Open(filepath.Join(dir, "objects"), Config{NoSync: true})
		if _, err := s.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		records := content(t, filepath.Join(dir, "log"))
		for _, v := range records {
			if err := s.Verify(t.Context(), graph.Digest([]byte(v[:32]))); err != nil {
				t.Fatalf("round %d: a record names what is not there: %v", round, err)
			}
		}
		if len(records) < before {
			t.Fatalf("round %d: %d records, and there were %d", round, len(records), before)
		}
		before = len(records)
		for _, sub := range []string{tempDir, marksDir} {
			if left, _ := os.ReadDir(filepath.Join(s.dir, sub)); len(left) > 0 {
				t.Fatalf("round %d: left behind in %s: %v", round, sub, left)
			}
		}
	}
}

func TestClaimsAreExclusive(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "claims")
	a, b := OpenClaims(path), OpenClaims(path) // two file descriptions, as two processes have
	defer a.Close()
	defer b.Close()
	release, ok, err := a.Claim(t.Context(), keyOf(1))
	if !ok || err != nil {
		t.Fatalf("the first claim: %v, %v", ok, err)
	}
	for _, c := range []*Claims{a, b} {
		if _, ok, err := c.Claim(t.Context(), keyOf(1)); ok || err != nil {
			t.Fatalf("a second claim: %v, %v", ok, err)
		}
	}
	other, ok, err := b.Claim(t.Context(), keyOf(2))
	if !ok || err != nil {
		t.Fatalf("another key: %v, %v", ok, err)
	}
	other()
	waited := make(chan error, 1)
	go func() {
		r, err := b.Wait(t.Context(), keyOf(1))
		if err == nil {
			r()
		}
		waited <- err
	}()
	time.Sleep(5 * time.Millisecond)
	select {
	case err := <-waited:
		t.Fatalf("Wait did not wait: %v", err)
	default:
	}
	release()
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	if r, ok, err := a.Claim(t.Context(), keyOf(1)); !ok || err != nil {
		t.Fatalf("after release: %v, %v", ok, err)
	} else {
		a.Close() // as its process's end does
		// Not at once: a process that is just being started by another test has
		// its parent's files open for an instant.
		r2, err := b.Wait(t.Context(), keyOf(1))
		if err != nil {
			t.Fatalf("after the holder's end: %v", err)
		}
		r2()
		r()
	}
}

func FuzzLog(f *testing.F) {
	b := header()
	f.Add(b)
	for i := range 3 {
		b = appendRecord(b, kindPut, keyOf(i), valueOf(i+5))
		f.Add(bytes.Clone(b))
	}
	f.Add(appendRecord(bytes.Clone(b), kindDeleted, keyOf(1), nil))
	f.Add(b[:len(b)-3])
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
		l := OpenLog(path, LogConfig{NoSync: true})
		defer l.Close()
		before := map[graph.Digest]string{}
		err := l.Range(t.Context(), func(k graph.Digest, v []byte) error { before[k] = string(v); return nil })
		if err != nil {
			return
		}
		if _, err := l.Put(t.Context(), keyOf(1000), []byte("new")); errors.Is(err, ErrFormat) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if _, ok := before[keyOf(1000)]; !ok {
			before[keyOf(1000)] = "new"
		}
		if diff := cmp.Diff(before, content(t, path)); diff != "" {
			t.Fatalf("after a Put (-want +got):\n%s", diff)
		}
	})
}

func BenchmarkLogPut(b *testing.B) {
	l := newLog(b, filepath.Join(b.TempDir(), "log"))
	value := make([]byte, 120)
	i := 0
	for b.Loop() {
		i++
		if _, err := l.Put(b.Context(), keyOf(i), value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLogGet(b *testing.B) {
	l := newLog(b, filepath.Join(b.TempDir(), "log"))
	fillLog(b, l, 10000)
	i := 0
	for b.Loop() {
		i++
		if _, ok, err := l.Get(keyOf(i % 10000)); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLogOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	buf := header()
	const n = 1_000_000
	for i := range n {
		buf = appendRecord(buf, kindPut, keyOf(i), make([]byte, 120))
		if len(buf) > 1<<20 {
			f.Write(buf)
			buf = buf[:0]
		}
	}
	f.Write(buf)
	f.Close()
	b.ResetTimer()
	for b.Loop() {
		l := OpenLog(path, LogConfig{})
		if got, err := l.Len(); err != nil || got != n {
			b.Fatal(got, err)
		}
		l.Close()
		os.Remove(l.indexPath())
	}
}

func TestEntriesThatArePutAtOnceAreAllThereOrNone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l := OpenLog(path, LogConfig{NoSync: true})
	defer l.Close()
	entry := func(key, value string) Entry { return Entry{graph.Sum([]byte(key)), []byte(value)} }
	if _, err := l.PutAll(t.Context(), entry("a", "1"), entry("b", "2")); err != nil {
		t.Fatal(err)
	}
	winners, err := l.PutAll(t.Context(), entry("c", "3"), entry("b", "other"), entry("d", "4"))
	if err != nil || string(winners[0]) != "3" || string(winners[1]) != "2" || string(winners[2]) != "4" {
		t.Fatalf("%q %v", winners, err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Wherever its writer is killed, a reader sees some of the first entries.
	for cut := len(whole); cut >= headerSize; cut-- {
		if err := os.WriteFile(path+".cut", whole[:cut], 0o666); err != nil {
			t.Fatal(err)
		}
		c := OpenLog(path+".cut", LogConfig{NoSync: true})
		missing := false
		for _, key := range []string{"a", "b", "c", "d"} {
			_, ok, err := c.Get(graph.Sum([]byte(key)))
			if err != nil || ok && missing {
				t.Fatalf("cut at %d: %s is there, and not what came before (%v)", cut, key, err)
			}
			missing = missing || !ok
		}
		c.Close()
	}
}
