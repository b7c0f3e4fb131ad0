//go:build linux

package ledger

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cubebuild/cube/graph/solve/resource"
)

var machine = resource.Amounts{resource.CPU: 2000, resource.Memory: 4 << 30, resource.Token("matlab"): 1}

func TestMain(m *testing.M) {
	if path := os.Getenv("CUBE_LEDGER_HOLD"); path != "" {
		hold(path)
		return
	}
	os.Exit(m.Run())
}

// hold is a build in a process of its own: it takes the licence and says so.
func hold(path string) {
	l, err := Open(Config{Path: path, Total: machine, Name: "held"})
	if err == nil {
		_, err = l.Reserve(context.Background(), licensed, nil, nil)
	}
	fmt.Println("held", err)
	bufio.NewReader(os.Stdin).ReadByte() // until it is killed
}

var licensed = resource.Demand{CPUs: 1, Memory: 1 << 30, Tokens: map[string]int{"matlab": 1}}

func open(t *testing.T, path string) *Ledger {
	t.Helper()
	l, err := Open(Config{Path: path, Total: machine, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func path(t *testing.T) string { return filepath.Join(t.TempDir(), "machine", "ledger") }

// start starts a process that holds the licence.
func start(t *testing.T, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CUBE_LEDGER_HOLD="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held <nil>\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	return cmd
}

func TestWhatAKilledBuildHeldIsFreeAgain(t *testing.T) {
	t.Parallel()
	at := path(t)
	other := start(t, at)
	l := open(t, at)
	if release, err := l.Try(t.Context(), licensed); release != nil || err != nil {
		t.Fatalf("two have the licence: %v", err)
	}
	told := make(chan resource.Shortage, 1)
	done := make(chan error, 1)
	go func() {
		_, err := l.Reserve(t.Context(), licensed, nil, func(s resource.Shortage) { told <- s })
		done <- err
	}()
	if s := <-told; s.Resource != resource.Token("matlab") || s.Others != 1 {
		t.Errorf("it waits for %+v", s)
	}
	entries, err := Read(at)
	if err != nil || len(entries) != 2 || entries[0].Name != "held" || len(entries[1].Waiting) != 1 {
		t.Errorf("the ledger says %+v, %v", entries, err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBuildsTogetherNeverTakeMoreThanThereIs(t *testing.T) {
	t.Parallel()
	at := path(t)
	var cpu, memory, token atomic.Int64
	var wait sync.WaitGroup
	for b := range 3 {
		l := open(t, at)
		for w := range 4 {
			wait.Go(func() {
				r := rand.New(rand.NewPCG(uint64(b), uint64(w)))
				for range 25 {
					d := resource.Demand{CPUs: float64(1 + r.IntN(2)), Memory: int64(1+r.IntN(3)) << 30}
					if r.IntN(3) == 0 {
						d.Tokens = map[string]int{"matlab": 1}
					}
					release, err := l.Reserve(t.Context(), d, nil, nil)
					if err != nil {
						t.Error(err)
						return
					}
					n := int64(len(d.Tokens))
					if c, m, k := cpu.Add(int64(d.CPUs)), memory.Add(d.Memory), token.Add(n); c > 2 || m > 4<<30 || k > 1 {
						t.Errorf("%d processors, %d bytes and %d licences are taken", c, m, k)
					}
					cpu.Add(-int64(d.CPUs))
					memory.Add(-d.Memory)
					token.Add(-n)
					release()
				}
			})
		}
	}
	wait.Wait()
	entries, err := Read(at)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if len(e.Held) != 0 || len(e.Waiting) != 0 {
			t.Errorf("%+v is left", e)
		}
	}
}

func TestWhoGivesUpTakesNothing(t *testing.T) {
	t.Parallel()
	at := path(t)
	a, b := open(t, at), open(t, at)
	release, err := a.Reserve(t.Context(), licensed, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := b.Reserve(ctx, licensed, nil, func(resource.Shortage) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want that it was cancelled", err)
	}
	release()
	release() // once more does no harm
	if release, err := a.Try(t.Context(), licensed); release == nil {
		t.Fatalf("the licence is not free again: %v", err)
	}
}

func TestWhoCannotUseItNowLeavesItToOthers(t *testing.T) {
	t.Parallel()
	at := path(t)
	a, b := open(t, at), open(t, at)
	asked := 0
	release, err := a.Reserve(t.Context(), licensed, func() bool { asked++; return false }, nil)
	if release != nil || err != nil || asked != 1 {
		t.Errorf("it was asked %d times, and took it: %v, %v", asked, release != nil, err)
	}
	if release, err = b.Try(t.Context(), licensed); release == nil {
		t.Fatalf("the licence is not free: %v", err)
	}
	freed := false
	_, err = a.Reserve(t.Context(), licensed, func() bool { return freed }, func(resource.Shortage) { freed = true; release() })
	if err != nil {
		t.Error(err)
	}
	if again, err := b.Try(t.Context(), licensed); again != nil || err != nil {
		t.Errorf("two have the licence: %v", err)
	}
}

// kin opens a ledger with one licence in use by an action that has kin, and counts
// how often what is idle is ended.
func kin(t *testing.T, at string) (l *Ledger, d resource.Demand, release func(), ended *atomic.Int32) {
	t.Helper()
	ended = &atomic.Int32{}
	l, err := Open(Config{Path: at, Total: machine, Name: t.Name(), EndIdle: func() { ended.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	d = licensed
	d.Kin = "slope"
	if release, err = l.Try(t.Context(), d); release == nil {
		t.Fatal(err)
	}
	return l, d, release, ended
}

func TestKinTakeOverALicenceAndNobodyElseDoes(t *testing.T) {
	t.Parallel()
	at := path(t)
	l, d, release, ended := kin(t, at)
	other := open(t, at)
	release()
	if release, err := other.Try(t.Context(), licensed); release != nil || err != nil {
		t.Fatalf("what an idle container has was given to another build: %v", err)
	}
	if all, err := other.Try(t.Context(), resource.Demand{CPUs: 2}); all == nil {
		t.Errorf("what is idle has processors: %v", err)
	} else {
		all()
	}
	if release, err := l.Try(t.Context(), licensed); release != nil || err != nil {
		t.Errorf("who is no kin took it over: %v", err)
	}
	release, err := l.Try(t.Context(), d)
	if release == nil || ended.Load() != 0 {
		t.Fatalf("kin did not take it over: %v", err)
	}
	if again, err := l.Try(t.Context(), d); again != nil || err != nil {
		t.Errorf("two took it over: %v", err)
	}
	release()
}

func TestWhatIsIdleEndsBeforeOthersHaveItsLicence(t *testing.T) {
	t.Parallel()
	for name, rest := range map[string]bool{"who comes while it is idle": true, "who came before": false} {
		for _, foreign := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, of another build: %v", name, foreign), func(t *testing.T) {
				t.Parallel()
				at := path(t)
				l, _, release, ended := kin(t, at)
				who := l
				if foreign {
					who = open(t, at)
				}
				notice := func(resource.Shortage) { release() }
				if rest {
					release()
					notice = nil
				}
				if _, err := who.Reserve(t.Context(), licensed, nil, notice); err != nil {
					t.Fatal(err)
				}
				if ended.Load() != 1 {
					t.Errorf("what was idle was ended %d times", ended.Load())
				}
			})
		}
	}
}

func TestAClosedLedgerLeavesNothingIdle(t *testing.T) {
	t.Parallel()
	l, _, release, ended := kin(t, path(t))
	release()
	if err := l.Close(); err != nil || ended.Load() != 1 {
		t.Errorf("what was idle was ended %d times: %v", ended.Load(), err)
	}
}

func TestWhatIsMoreThanThereIsIsAnError(t *testing.T) {
	t.Parallel()
	l := open(t, path(t))
	_, err := l.Reserve(t.Context(), resource.Demand{CPUs: 1, Tokens: map[string]int{"idl": 1}}, nil, nil)
	if err == nil || err.Error() != "it needs 1 token of idl, and the machine has 0" {
		t.Error(err)
	}
}

func TestAFileThatIsNoLedgerIsRefused(t *testing.T) {
	t.Parallel()
	at := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(at, make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Path: at, Total: machine}); !errors.Is(err, ErrFormat) {
		t.Errorf("%v, want %v", err, ErrFormat)
	}
}

func TestThisMachineHasSomethingToShare(t *testing.T) {
	t.Parallel()
	m := Machine()
	if m[resource.CPU] < 1000 || m[resource.Memory] < 64<<20 {
		t.Errorf("%v", m)
	}
	if p, err := Path("/cache"); err != nil || p == "/cache/machine/ledger-" {
		t.Errorf("%q, %v", p, err)
	}
}

func FuzzEntriesAreReadOrRefused(f *testing.F) {
	whole, err := Entry{PID: 1, Name: "a", Held: machine, Waiting: []resource.Waiter{{Ticket: 1, Want: machine}}}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:20])
	f.Add([]byte{255, 255, 255, 255, '{', '}'})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(b)
		if err != nil {
			return
		}
		again, err := e.encode()
		if err != nil {
			return // too large for a part
		}
		if _, err := decodeEntry(again); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
	})
}

func BenchmarkReserve(b *testing.B) {
	l, err := Open(Config{Path: filepath.Join(b.TempDir(), "ledger"), Total: machine})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	for b.Loop() {
		release, err := l.Try(b.Context(), licensed)
		if err != nil || release == nil {
			b.Fatal(err)
		}
		release()
	}
}
