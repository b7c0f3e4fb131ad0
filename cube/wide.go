package cube

import (
	"math/big"
	"math/bits"
)

// wide is a signed integer of 128 bits, in two's complement.
type wide struct {
	hi int64
	lo uint64
}

func toWide[T number](v T) wide {
	if v < 0 {
		return wide{-1, uint64(int64(v))}
	}
	return wide{0, uint64(v)}
}

func (w *wide) add(o wide) {
	lo, carry := bits.Add64(w.lo, o.lo, 0)
	w.lo = lo
	w.hi += o.hi + int64(carry)
}

func (w wide) negate() wide {
	lo, borrow := bits.Sub64(0, w.lo, 0)
	return wide{-w.hi - int64(borrow), lo}
}

// divide returns w/n rounded half to even; w is a sum of n values of 64 bits,
// so that the quotient has no more.
func (w wide) divide(n int64) wide {
	if w.hi < 0 {
		return w.negate().divide(n).negate()
	}
	q, r := bits.Div64(uint64(w.hi), w.lo, uint64(n))
	if twice := 2 * r; twice > uint64(n) || twice == uint64(n) && q%2 == 1 {
		q++
	}
	return wide{0, q}
}

// String prints the decimal number.
func (w wide) String() string {
	n := new(big.Int).Lsh(big.NewInt(w.hi), 64)
	return n.Add(n, new(big.Int).SetUint64(w.lo)).String()
}
