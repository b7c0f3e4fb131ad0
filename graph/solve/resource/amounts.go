package resource

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Name names a resource.
type Name string

// The resources that every machine has, and how they are counted.
const (
	CPU    Name = "cpu"    // thousandths of a processor
	Memory Name = "memory" // bytes
	GPU    Name = "gpu"    // pieces
)

// Worker is what a build has some of, and no machine: a place to run an action in. It
// is only in a Shortage.
const Worker Name = "worker"

const tokenPrefix = "token "

// Token is the resource that tokens of a name are. They are counted by the
// piece.
func Token(name string) Name { return Name(tokenPrefix + name) }

// scarce reports whether a resource is one that few actions need.
func (n Name) scarce() bool { return n != CPU && n != Memory }

// String is the name as people read it.
func (n Name) String() string {
	if t, ok := strings.CutPrefix(string(n), tokenPrefix); ok {
		return "a token of " + t
	}
	return map[Name]string{CPU: "processors", Memory: "memory", GPU: "a GPU", Worker: "a worker"}[n]
}

// Plain is the name in one word, a token's own.
func (n Name) Plain() string { return strings.TrimPrefix(string(n), tokenPrefix) }

// Amounts says how much of each resource. What is not in it is none.
type Amounts map[Name]int64

// Add adds what is in b.
func (a Amounts) Add(b Amounts) {
	for n, v := range b {
		a[n] += v
	}
}

// Sub takes away what is in b.
func (a Amounts) Sub(b Amounts) {
	for n, v := range b {
		if a[n] -= v; a[n] == 0 {
			delete(a, n)
		}
	}
}

// Clone returns a copy.
func (a Amounts) Clone() Amounts {
	if a == nil {
		return Amounts{}
	}
	return maps.Clone(a)
}

// Lasting is all but the processors, which what is idle does not use.
func (a Amounts) Lasting() Amounts {
	b := a.Clone()
	delete(b, CPU)
	return b
}

// Names are the resources that there is some of, in order.
func (a Amounts) Names() []Name { return slices.Sorted(maps.Keys(a)) }

// Of is an amount with what it is of, such as "3 GiB of memory".
func (n Name) Of(v int64) string {
	many := map[bool]string{true: "s"}[v != 1]
	switch n {
	case CPU:
		return n.Text(v) + " processors"
	case Memory:
		return n.Text(v) + " of memory"
	case GPU:
		return fmt.Sprintf("%d GPU%s", v, many)
	}
	return fmt.Sprintf("%d token%s of %s", v, many, n.Plain())
}

// Text is an amount of a resource as people read it, such as "3.0 GiB".
func (n Name) Text(v int64) string {
	switch n {
	case CPU:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(v)/1000), ".0")
	case Memory:
		if v >= 1<<30 {
			return strings.Replace(fmt.Sprintf("%.1f GiB", float64(v)/(1<<30)), ".0 ", " ", 1)
		}
		return fmt.Sprintf("%d MiB", v>>20)
	}
	return fmt.Sprint(v)
}
