package blosc

import "encoding/binary"

// The functions below shuffle and unshuffle n elements, eight at a time in
// 64-bit words, and return how many they did.

func shuffle2Words(dst, src []byte, n int) int {
	a, b := dst[:n], dst[n:2*n]
	i := 0
	for ; i+8 <= n; i += 8 {
		s := src[2*i : 2*i+16 : 2*i+16]
		x, y := binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:])
		binary.LittleEndian.PutUint64(a[i:], even(x)|even(y)<<32)
		binary.LittleEndian.PutUint64(b[i:], even(x>>8)|even(y>>8)<<32)
	}
	return i
}

func unshuffle2Words(dst, src []byte, n int) int {
	a, b := src[:n], src[n:2*n]
	i := 0
	for ; i+8 <= n; i += 8 {
		d := dst[2*i : 2*i+16 : 2*i+16]
		x, y := binary.LittleEndian.Uint64(a[i:]), binary.LittleEndian.Uint64(b[i:])
		binary.LittleEndian.PutUint64(d, spread(x)|spread(y)<<8)
		binary.LittleEndian.PutUint64(d[8:], spread(x>>32)|spread(y>>32)<<8)
	}
	return i
}

// even gathers bytes 0, 2, 4, 6 of x in its low half.
func even(x uint64) uint64 {
	x &= 0x00ff00ff00ff00ff
	x = (x | x>>8) & 0x0000ffff0000ffff
	return (x | x>>16) & 0x00000000ffffffff
}

// spread is the inverse of even.
func spread(x uint64) uint64 {
	x &= 0x00000000ffffffff
	x = (x | x<<16) & 0x0000ffff0000ffff
	return (x | x<<8) & 0x00ff00ff00ff00ff
}

func shuffle4Words(dst, src []byte, n int) int {
	a, b, c, d := dst[:n], dst[n:2*n], dst[2*n:3*n], dst[3*n:4*n]
	i := 0
	for ; i+8 <= n; i += 8 {
		s := src[4*i : 4*i+32 : 4*i+32]
		p, q := pair(binary.LittleEndian.Uint64(s), binary.LittleEndian.Uint64(s[8:]))
		r, t := pair(binary.LittleEndian.Uint64(s[16:]), binary.LittleEndian.Uint64(s[24:]))
		binary.LittleEndian.PutUint64(a[i:], p&low|r<<32)
		binary.LittleEndian.PutUint64(b[i:], p>>32|r&^low)
		binary.LittleEndian.PutUint64(c[i:], q&low|t<<32)
		binary.LittleEndian.PutUint64(d[i:], q>>32|t&^low)
	}
	return i
}

const low = 0x00000000ffffffff

// pair transposes four elements of four bytes, two in x and two in y: p holds
// the four first bytes, then the four second ones; q the third and fourth.
func pair(x, y uint64) (p, q uint64) {
	// Swap the inner 32-bit elements so that x holds elements 0 and 2.
	x, y = x&low|y<<32, x>>32|y&^low
	const m = 0x00ff00ff00ff00ff
	// Bytes 0 and 1, then 2 and 3, of elements 0, 1 and of 2, 3.
	e, o := x&m|(y&m)<<8, (x>>8)&m|y&^m
	const h = 0x0000ffff0000ffff
	// e: byte 0 of 0,1 | byte 2 of 0,1 | byte 0 of 2,3 | byte 2 of 2,3.
	p = gather16(e&h) | gather16(o&h)<<32
	q = gather16(e>>16&h) | gather16(o>>16&h)<<32
	return p, q
}

// gather16 brings 16-bit fields 0 and 2 of x together.
func gather16(x uint64) uint64 { return (x | x>>16) & low }

func unshuffle4Words(dst, src []byte, n int) int {
	a, b, c, d := src[:n], src[n:2*n], src[2*n:3*n], src[3*n:4*n]
	i := 0
	for ; i+8 <= n; i += 8 {
		w, x := binary.LittleEndian.Uint64(a[i:]), binary.LittleEndian.Uint64(b[i:])
		y, z := binary.LittleEndian.Uint64(c[i:]), binary.LittleEndian.Uint64(d[i:])
		out := dst[4*i : 4*i+32 : 4*i+32]
		unpair(out, spread(w)|spread(x)<<8, spread(y)|spread(z)<<8)
		unpair(out[16:], spread(w>>32)|spread(x>>32)<<8, spread(y>>32)|spread(z>>32)<<8)
	}
	return i
}

// unpair writes four elements; lo holds their low halves and hi their high ones.
func unpair(out []byte, lo, hi uint64) {
	const h = 0x0000ffff0000ffff
	e, o := lo&h|(hi&h)<<16, lo>>16&h|hi&^h
	binary.LittleEndian.PutUint64(out, e&low|o<<32)
	binary.LittleEndian.PutUint64(out[8:], e>>32|o&^low)
}

func shuffle8Words(dst, src []byte, n int) int {
	i := 0
	for ; i+8 <= n; i += 8 {
		s := src[8*i : 8*i+64 : 8*i+64]
		var w [8]uint64
		for k := range w {
			w[k] = binary.LittleEndian.Uint64(s[8*k:])
		}
		transpose8(&w)
		for k, x := range w {
			binary.LittleEndian.PutUint64(dst[k*n+i:], x)
		}
	}
	return i
}

func unshuffle8Words(dst, src []byte, n int) int {
	i := 0
	for ; i+8 <= n; i += 8 {
		var w [8]uint64
		for k := range w {
			w[k] = binary.LittleEndian.Uint64(src[k*n+i:])
		}
		transpose8(&w)
		d := dst[8*i : 8*i+64 : 8*i+64]
		for k, x := range w {
			binary.LittleEndian.PutUint64(d[8*k:], x)
		}
	}
	return i
}

// transpose8 transposes the 8 by 8 bytes of w.
func transpose8(w *[8]uint64) {
	const m1, m2 = 0x00ff00ff00ff00ff, 0x0000ffff0000ffff
	for k := 0; k < 4; k++ {
		x, y := w[k], w[k+4]
		w[k], w[k+4] = x&low|y<<32, x>>32|y&^low
	}
	for _, k := range [4]int{0, 1, 4, 5} {
		x, y := w[k], w[k+2]
		w[k], w[k+2] = x&m2|(y&m2)<<16, x>>16&m2|y&^m2
	}
	for k := 0; k < 8; k += 2 {
		x, y := w[k], w[k+1]
		w[k], w[k+1] = x&m1|(y&m1)<<8, x>>8&m1|y&^m1
	}
}
