package resource

import "fmt"

// Patience is how many others are admitted after a demand came before it is
// owed what it waits for.
const Patience = 16

// Waiter is a demand that waits.
type Waiter struct {
	Ticket uint64  `json:"t"` // in order of arrival
	Since  uint64  `json:"s"` // Line.Admitted when it came
	Want   Amounts `json:"w"`
}

// Line is who holds what of a machine and who waits for it, at one instant.
type Line struct {
	Held     Amounts  // by everybody
	Admitted uint64   // how many demands were, ever
	Waiting  []Waiter // in any order
}

// Shortage says what a demand waits for.
type Shortage struct {
	Resource   Name
	Want, Free int64
	// Others is how much of it is held by other builds.
	Others int64
	// Behind says that there is enough, and it is owed to an earlier one.
	Behind bool
}

// Foreign reports whether the build that waits does not have it all itself: others
// do, or it is owed to who came before.
func (s Shortage) Foreign() bool { return s.Others > 0 || s.Behind }

// String says what is waited for, such as "memory: 3 GiB held by another build".
func (s Shortage) String() string {
	switch {
	case s.Behind:
		return fmt.Sprintf("%s: kept for an action that came before", s.Resource)
	case s.Others > 0:
		return fmt.Sprintf("%s: %s held by another build", s.Resource, s.Resource.Text(s.Others))
	}
	return fmt.Sprintf("%s: %s of %s free", s.Resource, s.Resource.Text(s.Free), s.Resource.Text(s.Want))
}

// Admit reports whether a demand may have what it wants, of a machine that has
// so much in all, and otherwise what it waits for.
func (l *Line) Admit(w Waiter, total Amounts) (Shortage, bool) {
	if s, ok := l.lacking(w.Want, total); ok {
		return s, false
	}
	for _, e := range l.Waiting {
		if e.Ticket >= w.Ticket || l.Admitted-e.Since < Patience {
			continue
		}
		if s, ok := l.owed(e, w.Want, total); ok {
			return s, false
		}
	}
	return Shortage{}, true
}

// lacking is the first resource that there is not enough of.
func (l *Line) lacking(want, total Amounts) (Shortage, bool) {
	for _, n := range want.Names() {
		if free := total[n] - l.Held[n]; free < want[n] {
			return Shortage{Resource: n, Want: want[n], Free: free}, true
		}
	}
	return Shortage{}, false
}

// owed is a resource that would be lacking for an earlier demand.
func (l *Line) owed(e Waiter, want, total Amounts) (Shortage, bool) {
	ready := true // but for processors and memory
	for n, v := range e.Want {
		ready = ready && (!n.scarce() || total[n]-l.Held[n] >= v)
	}
	for _, n := range want.Names() {
		free := total[n] - l.Held[n]
		if e.Want[n] > 0 && (ready || n.scarce()) && free-want[n] < e.Want[n] {
			return Shortage{Resource: n, Want: want[n], Free: free, Behind: true}, true
		}
	}
	return Shortage{}, false
}
