package solve

import (
	"math/rand/v2"
	"testing"
)

func TestATileSetHoldsWhatWasAddedInAnyOrder(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for _, spread := range []int{1, 2, 100, 3 * tilesPerPage} {
		const n = 5*tilesPerPage + 17
		order := make([]int64, n)
		for i := range order {
			order[i] = int64(i)
		}
		for i := range order { // chance within the spread
			j := min(n-1, i+r.IntN(spread))
			order[i], order[j] = order[j], order[i]
		}
		var s tileSet
		have := make([]bool, n+1)
		for k, i := range order {
			if s.has(i) {
				t.Fatalf("tile %d is there before it was added", i)
			}
			s.add(i)
			have[i] = true
			if k%97 != 0 && k != n-1 {
				continue
			}
			prefix := int64(0)
			for have[prefix] {
				prefix++
			}
			if s.prefix != prefix {
				t.Fatalf("spread %d, %d added: the prefix is %d, want %d", spread, k+1, s.prefix, prefix)
			}
			for _, probe := range []int64{0, i, prefix, r.Int64N(n)} {
				if s.has(probe) != have[probe] {
					t.Fatalf("spread %d, %d added: has(%d) is %v", spread, k+1, probe, s.has(probe))
				}
			}
		}
		if len(s.pages) > 1 {
			t.Errorf("spread %d: %d pages are left", spread, len(s.pages))
		}
	}
}
