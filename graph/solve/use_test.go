package solve

import (
	"context"
	"errors"
	"testing"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
)

// TestABuildHasTheCubeFromItsBeginning holds that nobody takes results away that
// a build has looked up, also where it has nothing to do and writes nothing.
func TestABuildHasTheCubeFromItsBeginning(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.ran(chain(), "two") // on a cube that is closed since
	plan, err := graph.Resolve(*chain(), "two")
	if err != nil {
		t.Fatal(err)
	}
	others, err := cube.Open(e.dir, cube.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	if _, err := Invalidate(t.Context(), chain(), plan, Config{Cube: others}, Invalidation{}); err != nil {
		t.Fatal(err)
	}
	seen := 0
	_, err = e.run(chain(), func(c *Config) {
		c.Events = func(Event) error {
			seen++
			if _, err := Invalidate(t.Context(), chain(), plan, Config{Cube: others}, Invalidation{}); !errors.Is(err, cube.ErrBusy) {
				t.Errorf("results are taken away beside a build: %v", err)
			}
			if _, err := others.GC(t.Context(), cube.GCConfig{}); !errors.Is(err, cube.ErrBusy) {
				t.Errorf("gc beside a build: %v", err)
			}
			return nil
		}
	}, "two")
	if err != nil || seen == 0 {
		t.Fatal(seen, err)
	}
	if n := len(e.backend.took()); n != 0 {
		t.Errorf("%d actions ran: the build had something to write", n)
	}
}

func TestABuildThatWaitsForTheCubeHasLookedNothingUp(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.ran(chain(), "two")
	unlock, err := e.open().Exclusive()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	plan, err := graph.Resolve(*chain(), "two")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(ctx, chain(), plan, Config{Cube: e.open(), Backend: e.backend, Provider: nothing{}, Events: func(ev Event) error {
		t.Errorf("it has come to %T", ev)
		return nil
	}})
	if r != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", r, err)
	}
	unlock()
	if ran := e.ran(chain(), "two"); len(ran) != 0 {
		t.Errorf("ran %v", ran)
	}
}
