package graph

// Volume is how many bytes of values an action is given and makes. What is of
// kind file is not in it: how large that is only its content tells.
type Volume struct {
	Read int64 `json:"read"`
	Made int64 `json:"made"`
}

// volumeTiles is how many tiles of a vertex are looked at for their mean.
const volumeTiles = 64

// Volume is what one action of the vertex is given and makes, as the mean of
// tiles that lie evenly over it. It is known before anything ran.
func (v *Vertex) Volume() Volume {
	n := v.Len()
	if n == 0 {
		return Volume{}
	}
	span := v.Tiling.Span(v.Box)
	looked := min(n, volumeTiles)
	var sum Volume
	for k := range looked {
		i := k * n / looked
		nx, ny := span.X.Len(), span.Y.Len()
		box := v.Tiling.Tile(span.T.Lo+i/nx/ny, span.Y.Lo+i/nx%ny, span.X.Lo+i%nx, v.Box)
		for _, w := range v.Windows(box) {
			sum.Read += bytesOf(w.Binding.Spec(), ShapeOf(w.Binding.Spec(), w.Box))
		}
		for _, o := range v.Outputs {
			sum.Made += bytesOf(o.Spec, ShapeOf(o.Spec, o.OutputBox(box.Box)))
		}
	}
	return Volume{sum.Read / looked, sum.Made / looked}
}

// bytesOf is the size of an array in memory.
func bytesOf(spec VarSpec, shape []int64) int64 {
	if spec.Kind == File {
		return 0
	}
	n := int64(spec.DType.Size())
	for _, length := range shape {
		n *= length
	}
	return n
}
