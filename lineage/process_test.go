package lineage

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// childEnv makes the test binary a process that records actions for ever in the
// folder that it names, and says after each how many there are.
const childEnv = "CUBE_TEST_RUNS"

func TestMain(m *testing.M) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	w := Create(dir, aRun(time.Now()), Options{})
	for n := 0; ; n++ {
		err := w.Action(anAction(n))
		if err == nil && n%10 == 0 {
			err = w.Vertex(slopeVertex())
		}
		if err == nil {
			err = w.AppendLog(digest("log"), []byte("x"))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Println(n + 1)
	}
}

func TestWhatAKilledProcessRecordedIsThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		said := 0
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			fmt.Sscan(lines.Text(), &said)
			if said == 1 {
				time.AfterFunc(rand.N(50*time.Millisecond), func() { cmd.Process.Kill() })
			}
		}
		if err := cmd.Wait(); err == nil || said == 0 {
			t.Fatalf("the process ended by itself: %v", err)
		}
		ids, err := Open(dir).IDs()
		must(t, err)
		if len(ids) != round+1 {
			t.Fatalf("%d runs, want %d", len(ids), round+1)
		}
		run, err := Open(dir).Run(ids[round])
		must(t, err)
		if run.Status != Interrupted {
			t.Errorf("status %s", run.Status)
		}
		n := 0
		for a, err := range Open(dir).Actions(run.ID) {
			must(t, err)
			if a.ID != anAction(n).ID {
				t.Fatalf("action %d is another", n)
			}
			n++
		}
		if n < said || len(run.Vertices) < (said+9)/10 || len(printed(t, Open(dir), run.ID, digest("log"))) < said {
			t.Errorf("%d actions and %d vertices are there, %d were acknowledged", n, len(run.Vertices), said)
		}
	}
}
