package cas

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"

	"github.com/cubebuild/cube/graph"
)

// index maps keys to the offsets of their records by open addressing. It holds
// half a word of the key beside the offset; the key itself is read from the
// file where those agree. What was kept in a file is searched as it is.
type index struct {
	slots []slot
	used  int  // slots that are live or gone
	kept  kept // keys that are not in slots
	live  int  // keys, in slots and kept
}

// slot is empty where off is 0, and was removed where it is gone.
type slot struct {
	hash uint64
	off  int64
}

const (
	gone      = 1 // no record begins there: the header does
	maxOffset = 1<<62 - 1
)

// reader returns the key of the record at an offset.
type reader func(off int64) (graph.Digest, error)

// word takes eight bytes of the key, which is a digest: they are evenly spread.
func word(key graph.Digest) uint64 { return binary.LittleEndian.Uint64(key[8:]) }

// get returns the offset that key has.
func (x *index) get(at reader, key graph.Digest) (int64, bool, error) {
	h := word(key)
	for s := range x.alike(h) {
		found, err := at(s.off)
		if err != nil {
			return 0, false, err
		}
		if found == key {
			return s.off, true, nil
		}
	}
	return 0, false, nil
}

// alike yields the live entries with this half word of their keys.
func (x *index) alike(h uint64) func(func(slot) bool) {
	return func(yield func(slot) bool) {
		if len(x.slots) > 0 {
			mask := uint64(len(x.slots) - 1)
			for i := h & mask; x.slots[i].off != 0; i = (i + 1) & mask {
				if s := x.slots[i]; s.hash == h && s.off > gone && !yield(s) {
					return
				}
			}
		}
		for i := x.kept.first(h); i < x.kept.len() && x.kept.hash(i) == h; i++ {
			if off := x.kept.off(i); off > gone && !yield(slot{h, off}) {
				return
			}
		}
	}
}

// put enters a key that is not there.
func (x *index) put(key graph.Digest, off int64) {
	x.reserve(1)
	x.insert(slot{word(key), off})
	x.live++
}

func (x *index) insert(s slot) {
	mask := uint64(len(x.slots) - 1)
	i := s.hash & mask
	for x.slots[i].off != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = s
	x.used++
}

// remove forgets the key that has this offset.
func (x *index) remove(key graph.Digest, off int64) {
	h := word(key)
	x.live--
	if len(x.slots) > 0 {
		mask := uint64(len(x.slots) - 1)
		for i := h & mask; x.slots[i].off != 0; i = (i + 1) & mask {
			if x.slots[i].off == off {
				x.slots[i].off = gone
				return
			}
		}
	}
	x.kept.remove(h, off)
}

// reserve makes room for n more keys.
func (x *index) reserve(n int) {
	if 4*(x.used+n) > 3*len(x.slots) {
		x.grow(x.live - x.kept.live + n)
	}
}

// grow makes room for n keys in slots, and half as many again.
func (x *index) grow(n int) {
	old := x.slots
	size := 64
	for size < 2*n {
		size *= 2
	}
	x.slots, x.used = make([]slot, size), 0
	for _, s := range old {
		if s.off > gone {
			x.insert(s)
		}
	}
}

// kept is the part of an index that was read from a file: entries of sixteen
// bytes, a half word and an offset, in the order of the half words.
type kept struct {
	entries []byte
	live    int
}

func (k *kept) len() int { return len(k.entries) / indexEntry }

func (k *kept) hash(i int) uint64 { return binary.LittleEndian.Uint64(k.entries[i*indexEntry:]) }

func (k *kept) off(i int) int64 {
	return int64(binary.LittleEndian.Uint64(k.entries[i*indexEntry+8:]))
}

// first is the first entry whose half word is not below h. They are evenly
// spread, so that it is looked for from where it should be.
func (k *kept) first(h uint64) int {
	n := k.len()
	guess, _ := bits.Mul64(h, uint64(n))
	lo, hi := int(guess), int(guess)
	for step := 16; lo > 0 && k.hash(lo-1) >= h; step *= 2 {
		lo = max(0, lo-step)
	}
	for step := 16; hi < n && k.hash(hi) < h; step *= 2 {
		hi = min(n, hi+step)
	}
	return lo + sort.Search(hi-lo, func(i int) bool { return k.hash(lo+i) >= h })
}

// remove forgets the entry that has this offset.
func (k *kept) remove(h uint64, off int64) {
	for i := k.first(h); i < k.len() && k.hash(i) == h; i++ {
		if k.off(i) == off {
			binary.LittleEndian.PutUint64(k.entries[i*indexEntry+8:], gone)
			k.live--
			return
		}
	}
}

// sorted are all live entries, in the order of their half words.
func (x *index) sorted() []slot {
	all := make([]slot, 0, x.live)
	for _, s := range x.slots {
		if s.off > gone {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b slot) int { return cmp.Compare(a.hash, b.hash) })
	fresh := all
	all = make([]slot, 0, x.live)
	for i := range x.kept.len() {
		s := slot{x.kept.hash(i), x.kept.off(i)}
		for len(fresh) > 0 && fresh[0].hash < s.hash {
			all, fresh = append(all, fresh[0]), fresh[1:]
		}
		if s.off > gone {
			all = append(all, s)
		}
	}
	return append(all, fresh...)
}
