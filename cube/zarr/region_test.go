package zarr

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// offsets yields, for each element of box at start in shape, its number.
func offsets(shape, start, box []int) []int {
	all := []int{0}
	for d, n := range box {
		var next []int
		for _, at := range all {
			for i := range n {
				next = append(next, at*shape[d]+start[d]+i)
			}
		}
		all = next
	}
	return all
}

func randomBox(r *rand.Rand) (shapeA, startA, shapeB, startB, box []int) {
	for range r.IntN(5) {
		n := r.IntN(4)
		if r.IntN(8) > 0 {
			n++
		}
		a, b := r.IntN(3), r.IntN(3)
		box = append(box, n)
		startA, startB = append(startA, a), append(startB, b)
		shapeA, shapeB = append(shapeA, a+n+r.IntN(2)), append(shapeB, b+n+r.IntN(2))
		if r.IntN(2) == 0 {
			startA[len(startA)-1], startB[len(startB)-1] = 0, 0
			shapeA[len(shapeA)-1], shapeB[len(shapeB)-1] = n, n
		}
	}
	return shapeA, startA, shapeB, startB, box
}

func TestCopyRegionAndFillRegionAreTheirDefinitions(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		shapeA, startA, shapeB, startB, box := randomBox(r)
		size := 1 + r.IntN(9)
		na, _ := volume(shapeA, size)
		nb, _ := volume(shapeB, size)
		src, dst := make([]byte, na), make([]byte, nb)
		for i := range src {
			src[i] = byte(1 + r.IntN(255))
		}
		want, filled := bytes.Clone(dst), bytes.Clone(dst)
		elem := src[:min(size, len(src))]
		from, to := offsets(shapeA, startA, box), offsets(shapeB, startB, box)
		for i := range from {
			copy(want[to[i]*size:(to[i]+1)*size], src[from[i]*size:])
			copy(filled[to[i]*size:], elem)
		}
		CopyRegion(dst, shapeB, startB, src, shapeA, startA, box, size)
		if !bytes.Equal(dst, want) {
			t.Fatalf("copy of %v from %v in %v to %v in %v differs", box, startA, shapeA, startB, shapeB)
		}
		if len(elem) == size {
			clear(dst)
			if FillRegion(dst, shapeB, startB, box, elem); !bytes.Equal(dst, filled) {
				t.Fatalf("fill of %v at %v in %v differs", box, startB, shapeB)
			}
		}
	}
}

func TestCopyRegionPanicsWhereTheBoxLeavesAnArray(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]int{{3, 2, 2}, {3, -1, 2}, {3, 0, 4}, {3, 0, -1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("no panic for shape %d, start %d, box %d", c[0], c[1], c[2])
				}
			}()
			CopyRegion(make([]byte, 9), []int{9}, []int{0}, make([]byte, 3), c[:1], c[1:2], c[2:], 1)
		}()
	}
}
