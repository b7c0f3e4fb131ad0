package blosc

// shuffleBytes writes the first bytes of all elements of src to dst, then the
// second ones, and so on. Bytes after the last whole element stay where they
// are. dst and src have one length and do not overlap.
func shuffleBytes(dst, src []byte, size int) {
	n := len(src) / size
	done := 0
	switch size {
	case 2:
		done = shuffle2(dst, src, n)
	case 4:
		done = shuffle4(dst, src, n)
	case 8:
		done = shuffle8(dst, src, n)
	}
	for j := range size {
		plane := dst[j*n : (j+1)*n]
		for i := done; i < n; i++ {
			plane[i] = src[i*size+j]
		}
	}
	copy(dst[n*size:], src[n*size:])
}

// unshuffleBytes undoes shuffleBytes.
func unshuffleBytes(dst, src []byte, size int) {
	n := len(src) / size
	done := 0
	switch size {
	case 2:
		done = unshuffle2(dst, src, n)
	case 4:
		done = unshuffle4(dst, src, n)
	case 8:
		done = unshuffle8(dst, src, n)
	}
	for j := range size {
		plane := src[j*n : (j+1)*n]
		for i := done; i < n; i++ {
			dst[i*size+j] = plane[i]
		}
	}
	copy(dst[n*size:], src[n*size:])
}

// shuffleBits writes bit 0 of the first bytes of all elements to dst, then bit
// 1 of them, up to bit 7 of the last bytes. As Blosc does, it only copies where
// the number of elements is not a multiple of eight.
func shuffleBits(dst, src []byte, size int) {
	n := len(src) / size
	if n%8 != 0 {
		copy(dst, src)
		return
	}
	row := n / 8
	for j := range size {
		for i := range row {
			var x uint64
			for k := range 8 {
				x |= uint64(src[(8*i+k)*size+j]) << (8 * k)
			}
			x = transposeBits(x)
			for k := range 8 {
				dst[(8*j+k)*row+i] = byte(x >> (8 * k))
			}
		}
	}
	copy(dst[n*size:], src[n*size:])
}

// unshuffleBits undoes shuffleBits.
func unshuffleBits(dst, src []byte, size int) {
	n := len(src) / size
	if n%8 != 0 {
		copy(dst, src)
		return
	}
	row := n / 8
	for j := range size {
		for i := range row {
			var x uint64
			for k := range 8 {
				x |= uint64(src[(8*j+k)*row+i]) << (8 * k)
			}
			x = transposeBits(x)
			for k := range 8 {
				dst[(8*i+k)*size+j] = byte(x >> (8 * k))
			}
		}
	}
	copy(dst[n*size:], src[n*size:])
}

// transposeBits transposes the 8 by 8 bits of x.
func transposeBits(x uint64) uint64 {
	t := (x ^ x>>7) & 0x00aa00aa00aa00aa
	x ^= t ^ t<<7
	t = (x ^ x>>14) & 0x0000cccc0000cccc
	x ^= t ^ t<<14
	t = (x ^ x>>28) & 0x00000000f0f0f0f0
	return x ^ t ^ t<<28
}
