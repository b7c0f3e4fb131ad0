package solve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/lineage"
)

// buildEnv makes the test binary a process that builds the cube that it names, and
// killEnv kills it at a moment, such as "recorded 3".
const (
	buildEnv = "CUBE_TEST_BUILD"
	killEnv  = "CUBE_TEST_KILL"
)

func TestMain(m *testing.M) {
	dir := os.Getenv(buildEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := buildRecorded(dir, os.Getenv(killEnv)); !errors.Is(err, solve.ErrFailed) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// flawed is a backend that makes ones, but of some tiles is told that their input
// is bad.
type flawed struct{ constant }

func (f flawed) Run(ctx context.Context, a containers.Action) (*containers.Result, error) {
	if box := a.Outputs[a.Name[:3]].Box; strings.HasPrefix(a.Name, "v0") && box.Y.Lo+box.X.Lo == 0 {
		return nil, &containers.Failure{Kind: containers.FailedBadInput, Code: 65, Detail: "exited with code 65"}
	}
	return f.constant.Run(ctx, a)
}

// buildRecorded builds layers with their lineage. The moments are "told <n>",
// "recorded <n>" and "done <n>": when the n-th action comes to something, when that
// is on record, and when all is over with it.
func buildRecorded(dir, kill string) error {
	ctx, ws := context.Background(), layers(3)
	c, err := cube.Open(dir, cube.Config{NoSync: true})
	if err != nil {
		return err
	}
	defer c.Close()
	plan, err := graph.Resolve(*ws, ws.Variables()...)
	if err != nil {
		return err
	}
	record, end := record(ws, c.Path("runs"))
	told, done := 0, 0
	at := func(moment string, n int) {
		if kill == fmt.Sprint(moment, " ", n) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	_, err = solve.Run(ctx, ws, plan, solve.Config{Cube: c, Backend: flawed{newConstant(16)}, Provider: noImages{}, Workers: 2, KeepGoing: true,
		Events: func(e solve.Event) error {
			switch e.(type) {
			case solve.Concluded:
				told++
				at("told", told)
				defer at("recorded", told)
			case solve.TileDone:
				done++
				at("done", done)
			}
			return record(e)
		}})
	return errors.Join(err, end())
}

func TestWhatAKilledBuildLeavesIsOnRecord(t *testing.T) {
	t.Parallel()
	for _, moment := range []string{"told", "recorded", "done"} {
		for _, n := range []int{1, 2, 9, 20} {
			t.Run(fmt.Sprint(moment, " ", n), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := cube.Create(dir); err != nil {
					t.Fatal(err)
				}
				if err := runBuild(t, dir, fmt.Sprint(moment, " ", n)); err == nil {
					t.Fatal("it was not killed")
				}
				onRecord(t, dir, "killed")
				if err := runBuild(t, dir, ""); err != nil {
					t.Fatal(err)
				}
				if results, failures := onRecord(t, dir, "built"); results == 0 || failures == 0 {
					t.Errorf("%d results and %d failures are kept", results, failures)
				}
			})
		}
	}
}

// runBuild is buildRecorded in a process of its own.
func runBuild(t *testing.T, dir, kill string) error {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), buildEnv+"="+dir, killEnv+"="+kill)
	out, err := cmd.CombinedOutput()
	if len(out) > 0 {
		t.Errorf("%s", out)
	}
	return err
}

// onRecord fails the test where a result, a known failure or a dead letter of a
// cube is not on record, and counts them.
func onRecord(t *testing.T, dir, when string) (results, failures int) {
	t.Helper()
	c, err := cube.Open(dir, cube.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	succeeded, failed := recorded(t, c)
	err = c.Results().Range(t.Context(), func(key graph.Digest, value []byte) error {
		var v struct {
			V    int
			Kind string
		}
		switch {
		case len(value) == len(key): // a cover key's
		case json.Unmarshal(value, &v) != nil:
			t.Errorf("%s: entry %s is no result", when, key.Short())
		case v.V > 0 && !succeeded[key]:
			t.Errorf("%s: result %s has no record", when, key.Short())
		case v.V > 0:
			results++
		case !failed[key]:
			t.Errorf("%s: the known failure %s has no record", when, key.Short())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := solve.DeadLetters(c).IDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if !failed[id] {
			t.Errorf("%s: dead letter %s has no record", when, id.Short())
		}
	}
	return results, len(ids)
}

// recorded are the actions that are on record: those that succeeded, and those that
// failed, also under the key by which a failure is known.
func recorded(t *testing.T, c *cube.Cube) (succeeded, failed map[graph.Digest]bool) {
	t.Helper()
	succeeded, failed = map[graph.Digest]bool{}, map[graph.Digest]bool{}
	runs := lineage.Open(c.Path("runs"))
	ids, err := runs.IDs()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		for a, err := range runs.Actions(id) {
			if err != nil {
				t.Fatal(err)
			}
			if a.Status == lineage.Succeeded {
				succeeded[a.ID] = true
				continue
			}
			failed[a.ID] = true
			failed[graph.Sum(bytes.Join([][]byte{[]byte("cube.failure"), a.ID[:]}, []byte{0}))] = true
		}
	}
	return succeeded, failed
}
