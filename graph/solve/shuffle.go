package solve

import "math/rand/v2"

// shuffle is an order of n tiles: their own where step is 0, and otherwise one
// that visits each of them once and needs no memory for it.
type shuffle struct{ n, step, first int64 }

// newShuffle returns the order that a seed gives to n tiles; 0 gives their own.
func newShuffle(n int64, seed uint64) shuffle {
	if seed == 0 || n < 2 {
		return shuffle{n: n}
	}
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	s := shuffle{n: n, first: r.Int64N(n)}
	// Steps without a common divisor with n reach every tile. One from the
	// middle of the range keeps neighbours apart.
	for s.step = n/3 + r.Int64N(n/3+1) + 1; gcd(s.step, n) != 1; s.step++ {
	}
	return s
}

func (s shuffle) on() bool { return s.step != 0 }

// at is the index of the tile that comes in place i.
func (s shuffle) at(i int64) int64 {
	if !s.on() {
		return i
	}
	return (s.first + mulMod(i, s.step, s.n)) % s.n
}

// mulMod is a·b mod n, for n below 2⁶².
func mulMod(a, b, n int64) (r int64) {
	const small = 1 << 31
	if a < small && b < small {
		return a * b % n
	}
	for a, b = a%n, b%n; b > 0; b >>= 1 {
		if b&1 == 1 {
			r = (r + a) % n
		}
		a = 2 * a % n
	}
	return r
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
