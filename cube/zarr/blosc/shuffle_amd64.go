//go:build amd64 && !purego

package blosc

// The functions in assembly do n elements, a multiple of 16 (of 8 for elements
// of eight bytes), with SSE2, which every amd64 has. Planes lie stride bytes
// apart. They check nothing: the wrappers slice first.

//go:noescape
func shuffle2SSE2(dst, src *byte, stride, n int)

//go:noescape
func shuffle4SSE2(dst, src *byte, stride, n int)

//go:noescape
func unshuffle2SSE2(dst, src *byte, stride, n int)

//go:noescape
func unshuffle4SSE2(dst, src *byte, stride, n int)

//go:noescape
func unshuffle8SSE2(dst, src *byte, stride, n int)

// run calls f for the elements of the given size that come in whole groups, and
// returns how many those are.
func run(f func(dst, src *byte, stride, n int), dst, src []byte, size, n, group int) int {
	done := n &^ (group - 1)
	if done == 0 {
		return 0
	}
	_, _ = dst[size*n-1], src[size*n-1] // what f touches is there
	f(&dst[0], &src[0], n, done)
	return done
}

func shuffle2(dst, src []byte, n int) int   { return run(shuffle2SSE2, dst, src, 2, n, 16) }
func shuffle4(dst, src []byte, n int) int   { return run(shuffle4SSE2, dst, src, 4, n, 16) }
func shuffle8(dst, src []byte, n int) int   { return shuffle8Words(dst, src, n) }
func unshuffle2(dst, src []byte, n int) int { return run(unshuffle2SSE2, dst, src, 2, n, 16) }
func unshuffle4(dst, src []byte, n int) int { return run(unshuffle4SSE2, dst, src, 4, n, 16) }
func unshuffle8(dst, src []byte, n int) int { return run(unshuffle8SSE2, dst, src, 8, n, 8) }
