package crash

import (
	"fmt"
	"sync"
	"testing"
)

func TestBuildsOfOneCubeAtOnceShareTheWork(t *testing.T) {
	t.Parallel()
	tiles := seventy
	if soak {
		tiles = fourHundred
	}
	want := sync.OnceValue(func() result { return tiles.calm(t) })
	for _, n := range []int{2, 4}[:long(2, 1)] {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			w := newBareWorkspace(t, tiles) // images are built by all of them, too
			var engines []*engine
			for range n {
				engines = append(engines, w.start("build"))
			}
			for _, e := range engines {
				if code := e.wait(); code != 0 {
					t.Errorf("exit %d\n%s", code, e.output())
				}
			}
			w.clean(engines...)
			w.wantsOnce(tiles.actions())
			w.wants(want())
			w.sound()
		})
	}
}

func TestBuildsOfDifferentVariablesMoveAllTheirHeads(t *testing.T) {
	t.Parallel()
	want := small.calm(t)
	w := newWorkspace(t, small)
	var engines []*engine
	for range long(5, 1) {
		for _, v := range variables {
			engines = append(engines, w.start("build", v))
		}
	}
	for _, e := range engines {
		if code := e.wait(); code != 0 {
			t.Errorf("exit %d\n%s", code, e.output())
		}
	}
	w.clean(engines...)
	w.wantsOnce(small.actions())
	w.wants(want)
}
