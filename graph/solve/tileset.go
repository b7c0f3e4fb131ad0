package solve

import "math/bits"

// tileSet holds the tiles of a node that are done. Tiles are done nearly in
// order: all below prefix are, and only those above it take memory, a bit each
// in pages that come and go.
type tileSet struct {
	prefix int64
	pages  map[int64]*tilePage // by index / tilesPerPage
}

const tilesPerPage = 4096

type tilePage struct{ words [tilesPerPage / 64]uint64 }

// newTileSet holds the first n tiles but some, which are in order.
func newTileSet(n int64, but []int64) tileSet {
	if len(but) == 0 {
		return tileSet{prefix: n}
	}
	s := tileSet{prefix: but[0], pages: map[int64]*tilePage{}}
	for first := but[0] / tilesPerPage * tilesPerPage; first < n; first += tilesPerPage {
		p := &tilePage{}
		for i := range min(tilesPerPage, n-first) {
			p.words[i/64] |= 1 << (i % 64)
		}
		s.pages[first/tilesPerPage] = p
	}
	for _, i := range but {
		s.pages[i/tilesPerPage].words[i%tilesPerPage/64] &^= 1 << (i % 64)
	}
	return s
}

func (s *tileSet) has(i int64) bool {
	if i < s.prefix {
		return true
	}
	p := s.pages[i/tilesPerPage]
	return p != nil && p.words[i%tilesPerPage/64]&(1<<(i%64)) != 0
}

// add enters a tile that is not in the set.
func (s *tileSet) add(i int64) {
	if i == s.prefix && s.pages[i/tilesPerPage] == nil { // as it is in order
		s.prefix++
		return
	}
	p := s.pages[i/tilesPerPage]
	if p == nil {
		if s.pages == nil {
			s.pages = map[int64]*tilePage{}
		}
		p = &tilePage{}
		s.pages[i/tilesPerPage] = p
	}
	p.words[i%tilesPerPage/64] |= 1 << (i % 64)
	if i == s.prefix {
		s.advance()
	}
}

// advance moves the prefix to the first tile that is not in the set, and lets
// go of the pages that it leaves behind.
func (s *tileSet) advance() {
	for {
		n := s.prefix / tilesPerPage
		p := s.pages[n]
		if p == nil {
			return
		}
		at := s.prefix % tilesPerPage
		for at < tilesPerPage {
			run := int64(bits.TrailingZeros64(^(p.words[at/64] >> (at % 64))))
			run = min(run, 64-at%64)
			at += run
			if run == 0 || at%64 != 0 {
				break
			}
		}
		s.prefix = n*tilesPerPage + at
		if at < tilesPerPage {
			return
		}
		delete(s.pages, n)
	}
}
