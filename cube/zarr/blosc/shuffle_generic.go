//go:build !amd64 || purego

package blosc

func shuffle2(dst, src []byte, n int) int   { return shuffle2Words(dst, src, n) }
func shuffle4(dst, src []byte, n int) int   { return shuffle4Words(dst, src, n) }
func shuffle8(dst, src []byte, n int) int   { return shuffle8Words(dst, src, n) }
func unshuffle2(dst, src []byte, n int) int { return unshuffle2Words(dst, src, n) }
func unshuffle4(dst, src []byte, n int) int { return unshuffle4Words(dst, src, n) }
func unshuffle8(dst, src []byte, n int) int { return unshuffle8Words(dst, src, n) }
