package blosc

import "encoding/binary"

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
	planes := src
	if size > 1 {
		tmp := buffers.Get().(*buffer)
		defer buffers.Put(tmp)
		planes = tmp.size(len(src))
		shuffleBytes(planes, src, size)
	}
	for j := range size {
		shufflePlane(dst[j*n:(j+1)*n], planes[j*n:(j+1)*n])
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
	planes := dst
	if size > 1 {
		tmp := buffers.Get().(*buffer)
		defer buffers.Put(tmp)
		planes = tmp.size(len(src))
	}
	for j := range size {
		unshufflePlane(planes[j*n:(j+1)*n], src[j*n:(j+1)*n])
	}
	if size > 1 {
		unshuffleBytes(dst[:n*size], planes[:n*size], size)
	}
	copy(dst[n*size:], src[n*size:])
}

// shufflePlane writes bit 0 of all bytes of src, a multiple of eight, to dst,
// then bit 1, and so on.
func shufflePlane(dst, src []byte) {
	row := len(src) / 8
	i := 0
	for ; i+8 <= row; i += 8 {
		var w [8]uint64
		for k := range w {
			w[k] = transposeBits(binary.LittleEndian.Uint64(src[8*(i+k):]))
		}
		transpose8(&w)
		for k, x := range w {
			binary.LittleEndian.PutUint64(dst[k*row+i:], x)
		}
	}
	for ; i < row; i++ {
		x := transposeBits(binary.LittleEndian.Uint64(src[8*i:]))
		for k := range 8 {
			dst[k*row+i] = byte(x >> (8 * k))
		}
	}
}

// unshufflePlane undoes shufflePlane.
func unshufflePlane(dst, src []byte) {
	row := len(src) / 8
	i := 0
	for ; i+8 <= row; i += 8 {
		var w [8]uint64
		for k := range w {
			w[k] = binary.LittleEndian.Uint64(src[k*row+i:])
		}
		transpose8(&w)
		for k, x := range w {
			binary.LittleEndian.PutUint64(dst[8*(i+k):], transposeBits(x))
		}
	}
	for ; i < row; i++ {
		var x uint64
		for k := range 8 {
			x |= uint64(src[k*row+i]) << (8 * k)
		}
		binary.LittleEndian.PutUint64(dst[8*i:], transposeBits(x))
	}
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
