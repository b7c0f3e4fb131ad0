package resource

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cubebuild/cube/graph"
	"github.com/google/go-cmp/cmp"
)

var small = Amounts{CPU: 4000, Memory: 8 << 30, GPU: 1, Token("matlab"): 2}

func TestADemandTakesWhatItsProducerSays(t *testing.T) {
	t.Parallel()
	inst := &graph.Instance{Manifest: graph.Manifest{Capabilities: graph.Capabilities{CPUs: 1}}}
	for name, c := range map[string]struct {
		change func(*graph.Instance)
		want   Amounts
	}{
		"nothing declared: its processors' share of memory at most": {func(*graph.Instance) {}, Amounts{CPU: 1000, Memory: 2 << 30}},
		"a large machine: no more than its limit":                   {func(i *graph.Instance) { i.Manifest.Capabilities.CPUs = 4 }, Amounts{CPU: 4000, Memory: 2 << 30}},
		"declared memory":  {func(i *graph.Instance) { i.Manifest.Capabilities.Memory = 6 << 30 }, Amounts{CPU: 1000, Memory: 6 << 30}},
		"of the workspace": {func(i *graph.Instance) { i.Resources.Memory = 1 << 30 }, Amounts{CPU: 1000, Memory: 1 << 30}},
		"more processors":  {func(i *graph.Instance) { i.Manifest.Capabilities.CPUs = 64 }, Amounts{CPU: 4000, Memory: 2 << 30}},
		"a GPU and a licence": {func(i *graph.Instance) {
			i.Manifest.Capabilities.Scarce = graph.Scarce{GPUs: 1, Tokens: map[string]int{"matlab": 2}}
		}, Amounts{CPU: 1000, Memory: 2 << 30, GPU: 1, Token("matlab"): 2}},
		"overridden, one by one": {func(i *graph.Instance) {
			i.Manifest.Capabilities.Scarce = graph.Scarce{GPUs: 1, Tokens: map[string]int{"matlab": 2}}
			i.Scarce = graph.Scarce{Tokens: map[string]int{"idl": 1}}
		}, Amounts{CPU: 1000, Memory: 2 << 30, GPU: 1, Token("idl"): 1}},
	} {
		i := *inst
		c.change(&i)
		if diff := cmp.Diff(c.want, Of(&i).On(small)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestWhatNeverFitsIsKnownBeforehand(t *testing.T) {
	t.Parallel()
	d := Demand{CPUs: 99, Memory: 9 << 30, GPUs: 2, Tokens: map[string]int{"matlab": 2, "idl": 1}}
	var names []Name
	for _, s := range d.Never(small) {
		names = append(names, s.Resource)
	}
	if diff := cmp.Diff([]Name{GPU, Memory, Token("idl")}, names); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// play has demands come and go by chance, and calls look after each step.
func play(t *testing.T, seed uint64, look func(l *Line)) {
	r := rand.New(rand.NewPCG(seed, 1))
	l := &Line{Held: Amounts{}}
	var held []Amounts
	ticket := uint64(0)
	came := map[uint64]uint64{} // admitted when it came
	for range 400 {
		switch {
		case r.IntN(3) > 0:
			d := Demand{CPUs: float64(1 + r.IntN(4)), Memory: int64(1+r.IntN(8)) << 30}
			if r.IntN(4) == 0 {
				d.Tokens = map[string]int{"matlab": 1 + r.IntN(2)}
			}
			ticket++
			came[ticket] = l.Admitted
			l.Waiting = append(l.Waiting, Waiter{Ticket: ticket, Since: l.Admitted, Want: d.On(small)})
		case len(held) > 0:
			i := r.IntN(len(held))
			l.Held.Sub(held[i])
			held = slices.Delete(held, i, i+1)
		}
		r.Shuffle(len(l.Waiting), func(i, j int) { l.Waiting[i], l.Waiting[j] = l.Waiting[j], l.Waiting[i] })
		for i := 0; i < len(l.Waiting); i++ {
			w := l.Waiting[i]
			if _, ok := l.Admit(w, small); !ok {
				continue
			}
			l.Admitted++
			l.Held.Add(w.Want)
			held = append(held, w.Want)
			l.Waiting = slices.Delete(l.Waiting, i, i+1)
			i = -1
		}
		look(l)
	}
	// All go home: whoever waits gets what it wants in the end.
	for len(l.Waiting) > 0 {
		before := len(l.Waiting)
		l.Waiting = slices.DeleteFunc(l.Waiting, func(w Waiter) bool {
			_, ok := l.Admit(w, small)
			if ok {
				l.Held.Add(w.Want)
				held = append(held, w.Want)
			}
			return ok
		})
		look(l)
		if len(l.Waiting) == before && len(held) == 0 {
			t.Fatalf("seed %d: %d wait for ever, with all free", seed, before)
		}
		for _, h := range held {
			l.Held.Sub(h)
		}
		held = nil
	}
}

func TestNothingIsEverOversubscribedAndNobodyWaitsForEver(t *testing.T) {
	t.Parallel()
	for seed := range uint64(15) {
		play(t, seed, func(l *Line) {
			for n, v := range l.Held {
				if v > small[n] || v < 0 {
					t.Fatalf("seed %d: %d of %s held, of %d", seed, v, n, small[n])
				}
			}
		})
	}
}

func TestSmallOnesGoAheadOfALargeOneOnlySoOften(t *testing.T) {
	t.Parallel()
	// Two small ones always run; each that ends is followed by another.
	one, all := Amounts{CPU: 2000}, Amounts{CPU: 4000}
	l := &Line{Held: Amounts{CPU: 4000}, Waiting: []Waiter{{Ticket: 1, Want: all}}}
	for n := uint64(0); n < 1000; n++ {
		l.Held.Sub(one)
		if _, ok := l.Admit(l.Waiting[0], small); ok {
			t.Fatal("the large one was admitted beside a small one")
		}
		s, ok := l.Admit(Waiter{Ticket: 2 + n, Since: n, Want: one}, small)
		if !ok {
			if n != Patience || !s.Behind {
				t.Fatalf("after %d, %+v; want after %d, because it is owed", n, s, Patience)
			}
			l.Held.Sub(one)
			if _, ok := l.Admit(l.Waiting[0], small); !ok {
				t.Fatal("the large one was not admitted when all was free")
			}
			return
		}
		l.Held.Add(one)
		l.Admitted++
	}
	t.Fatal("the large one waits for ever")
}

func TestWhoWaitsForALicenceKeepsNoProcessorIdle(t *testing.T) {
	t.Parallel()
	l := &Line{Held: Amounts{Token("matlab"): 2}, Admitted: 1000,
		Waiting: []Waiter{{Ticket: 1, Want: Amounts{CPU: 4000, Token("matlab"): 1}}}}
	if s, ok := l.Admit(Waiter{Ticket: 2, Want: Amounts{CPU: 1000}}, small); !ok {
		t.Errorf("a processor was kept idle: %+v", s)
	}
	l.Held.Sub(Amounts{Token("matlab"): 1}) // one comes back: it is kept for the first
	if _, ok := l.Admit(Waiter{Ticket: 2, Want: Amounts{CPU: 1000, Token("matlab"): 1}}, small); ok {
		t.Error("the licence went to one that came later")
	}
}

func TestShortagesAreSaidInWords(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]Shortage{
		"memory: 3 GiB held by another build":             {Resource: Memory, Want: 8 << 30, Free: 5 << 30, Others: 3 << 30},
		"a token of matlab: 1 held by another build":      {Resource: Token("matlab"), Want: 1, Others: 1},
		"processors: kept for an action that came before": {Resource: CPU, Behind: true},
		"processors: 0.5 of 2 free":                       {Resource: CPU, Want: 2000, Free: 500},
	} {
		if got := s.String(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
