package cas

import (
	"encoding/binary"

	"github.com/cubebuild/cube/graph"
)

// index maps keys to the offsets of their records by open addressing. It holds
// half a word of the key beside the offset; the key itself is read from the
// file where those agree.
type index struct {
	slots []slot
	live  int
	used  int // live and gone
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
	if x.live == 0 {
		return 0, false, nil
	}
	h := word(key)
	mask := uint64(len(x.slots) - 1)
	for i := h & mask; x.slots[i].off != 0; i = (i + 1) & mask {
		s := x.slots[i]
		if s.off == gone || s.hash != h {
			continue
		}
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

// put enters a key that is not there.
func (x *index) put(key graph.Digest, off int64) {
	if 4*(x.used+1) > 3*len(x.slots) {
		x.grow(x.live + 1)
	}
	x.insert(slot{word(key), off})
}

func (x *index) insert(s slot) {
	mask := uint64(len(x.slots) - 1)
	i := s.hash & mask
	for x.slots[i].off != 0 {
		i = (i + 1) & mask
	}
	x.slots[i] = s
	x.live++
	x.used++
}

// remove forgets the key that has this offset.
func (x *index) remove(key graph.Digest, off int64) {
	mask := uint64(len(x.slots) - 1)
	for i := word(key) & mask; x.slots[i].off != 0; i = (i + 1) & mask {
		if x.slots[i].off == off {
			x.slots[i].off = gone
			x.live--
			return
		}
	}
}

// reserve makes room for n more keys.
func (x *index) reserve(n int) {
	if 4*(x.used+n) > 3*len(x.slots) {
		x.grow(x.live + n)
	}
}

// grow makes room for n keys, and half as many again.
func (x *index) grow(n int) {
	old := x.slots
	size := 64
	for size < 2*n {
		size *= 2
	}
	*x = index{slots: make([]slot, size)}
	for _, s := range old {
		if s.off > gone {
			x.insert(s)
		}
	}
}
