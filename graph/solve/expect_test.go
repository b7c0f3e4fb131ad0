package solve

import (
	"testing"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

func TestOnlyWhatIsNotKnownIsAskedHowLongItTakes(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.build(chain(), "base")
	asked := map[string]int{}
	expect := func(c *Config) {
		c.Expect = func(v *graph.Vertex) time.Duration {
			asked[v.Name]++
			return time.Second
		}
	}
	for _, want := range []map[string]int{{"one": 1, "two": 1}, {}} {
		clear(asked)
		if _, err := e.run(chain(), expect, "two"); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, asked); d != "" {
			t.Error(d)
		}
	}
}
