//go:build linux

// Package backendtest is the suite that every backend passes: what a producer's
// end comes to, logs, limits, cancelling, the loss of whoever runs an action,
// actions that run twice, and whole plans, whose versions are the same wherever
// they are made.
//
//	func TestBackend(t *testing.T) {
//		backendtest.Run(t, long, func(t *testing.T, m backendtest.Machine) backendtest.Subject { … })
//	}
//
// It runs real sandboxes.
package backendtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
)

// Machine is what a backend is made with.
type Machine struct {
	Init, Node string                 // paths of cube-worker and cube-node
	State      string                 // for sandboxes
	Stage      func() (string, error) // for what is too large for memory
	Workers    int
}

// Subject is a backend under test.
type Subject struct {
	solve.Backend
	// Serial says that it does one thing after the other.
	Serial bool
	// Workers are the processes that run actions, of a backend that can lose some.
	Workers func() []int
}

// Run has a backend pass the suite that runs actions in the engine's own process.
// open makes one, which ends with its test. Where long is set, plans have a
// thousand tiles.
func Run(t *testing.T, long bool, open func(t *testing.T, m Machine) Subject) {
	newSuite(t, long, open).run(t)
}

// RunLosing has a backend pass the suite that can lose whoever runs an action.
func RunLosing(t *testing.T, long bool, open func(t *testing.T, m Machine) Subject) {
	s := newSuite(t, long, open)
	s.run(t)
	t.Run("ALostActionIsRunAgain", s.lost)
	t.Run("AnActionThatIsAlwaysLostIsGivenUp", s.alwaysLost)
}

// Maker makes an action whose producer does something, n times.
type Maker func(do string, n int) containers.Action

// With calls a test of a backend's own with what the suite makes backends with, and
// what makes actions.
func With(t *testing.T, test func(t *testing.T, m Machine, action Maker)) {
	s := newSuite(t, false, nil)
	test(t, s.machine(t), func(do string, n int) containers.Action { return s.action(t, do, n) })
}

func newSuite(t *testing.T, long bool, open func(t *testing.T, m Machine) Subject) *suite {
	s := &suite{open: open, long: long, dir: t.TempDir()}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.build(t)
	return s
}

func (s *suite) run(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"AnActionSucceeds":                   s.succeeds,
		"EveryEndIsToldApart":                s.fails,
		"LimitsHold":                         s.limits,
		"ALogIsWholeInOrderAndLive":          s.logs,
		"ACancelledActionEndsAtOnce":         s.cancelled,
		"LargeWindowsPassUnchanged":          s.large,
		"AFileIsAnOutput":                    s.file,
		"AnImageThatIsWrongIsTheSpecsFault":  s.spec,
		"AnAttemptThatAsksForAnotherGetsOne": s.retried,
		"APlanCancelledHalfwayGoesOn":        s.halfway,
		"APlanComesOutTheSameEverywhere":     s.plan,
		"OneWorkerGoesInOrder":               s.inOrder,
		"AnActionThatRunsTwiceIsOneResult":   s.twice,
		"ABatchIsServedInTurns":              s.inTurns,
		"ABadTileOfABatchSpoilsNoOther":      s.batches,
	} {
		t.Run(name, test)
	}
}

type suite struct {
	open func(*testing.T, Machine) Subject
	long bool
	dir  string
}

// build builds the programs.
func (s *suite) build(t *testing.T) {
	t.Helper()
	const cmd, here = "github.com/cubebuild/cube/cmd/", "github.com/cubebuild/cube/graph/solve/backendtest/"
	for out, pkg := range map[string]string{"cube-worker": cmd + "cube-worker", "cube-node": cmd + "cube-node", "layer/producer": here + "producer"} {
		c := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(s.dir, out), pkg)
		c.Env = append(c.Environ(), "CGO_ENABLED=0")
		if output, err := c.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", pkg, err, output)
		}
	}
}

// subject opens a backend.
func (s *suite) subject(t *testing.T) Subject {
	t.Helper()
	return s.open(t, s.machine(t))
}

func (s *suite) machine(t *testing.T) Machine {
	stage := t.TempDir()
	return Machine{Init: filepath.Join(s.dir, "cube-worker"), Node: filepath.Join(s.dir, "cube-node"),
		State: filepath.Join(s.dir, "state"), Stage: func() (string, error) { return stage, nil }, Workers: 2}
}

// action is one whose producer does something, n times.
func (s *suite) action(t *testing.T, do string, n int) containers.Action {
	return containers.Action{Name: t.Name(), Layers: []string{filepath.Join(s.dir, "layer")}, Image: graph.Image{Command: []string{"/producer"}},
		Request: fmt.Appendf(nil, `{"params": {"do": %q, "n": %d}, "outputs": {"a": {"path": "/cube/out/a"}}}`, do, n),
		Outputs: map[string]graph.RequestOutput{"a": {Kind: graph.File}}, CPUs: 1, Limits: graph.Resources{}.WithDefaults()}
}
