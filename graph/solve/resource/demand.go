package resource

import (
	"math"

	"github.com/cubebuild/cube/graph"
)

// Demand is what one action asks for.
type Demand struct {
	CPUs   float64
	Memory int64 // bytes: its limit
	// Assumed says that nobody declared Memory: it is a default limit, which
	// few actions come near.
	Assumed bool
	GPUs    int
	Tokens  map[string]int
	// Kin, where it is not "", names the actions that may take over what this one had
	// but for its processors: what it leaves, a container that waits for the next of
	// them, has it still.
	Kin string
}

// Of is what an action of an instance asks for.
func Of(inst *graph.Instance) Demand {
	c := inst.Manifest.Capabilities
	scarce := inst.Scarce.Or(c.Scarce)
	kin := ""
	if c.Batch > 1 {
		kin = inst.Name
	}
	return Demand{Kin: kin, CPUs: max(c.CPUs, 0), Memory: inst.Limits().Memory, Assumed: max(inst.Resources.Memory, c.Memory) == 0,
		GPUs: scarce.GPUs, Tokens: scarce.Tokens}
}

// On is what the action takes of a machine that has so much. Processors are
// shared in time: an action that wants more than there are takes all. Of memory
// that nobody declared it takes at most its processors' share.
func (d Demand) On(total Amounts) Amounts {
	cpu := min(int64(math.Ceil(max(d.CPUs, 0.001)*1000)), total[CPU])
	a := Amounts{}
	put := func(n Name, v int64) {
		if v > 0 {
			a[n] = v
		}
	}
	put(CPU, cpu)
	put(Memory, d.Memory)
	if d.Assumed && total[CPU] > 0 {
		put(Memory, min(d.Memory, int64(float64(total[Memory])*float64(cpu)/float64(total[CPU]))))
	}
	put(GPU, int64(d.GPUs))
	for name, n := range d.Tokens {
		put(Token(name), int64(n))
	}
	return a
}

// Never says what of the demand a machine with that much can never give.
func (d Demand) Never(total Amounts) (lacking []Shortage) {
	a := d.On(total)
	for _, n := range a.Names() {
		if a[n] > total[n] {
			lacking = append(lacking, Shortage{Resource: n, Want: a[n], Free: total[n]})
		}
	}
	return lacking
}
