package exchange

import (
	"context"
	"io"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
)

// Export writes one version of a variable, whose values are checked on their
// way.
type Export struct {
	Cube    *cube.Cube
	Head    cube.Head // its names and colours
	Version *cube.Version
}

// File copies the content of a variable of kind file.
func (x Export) File(ctx context.Context, w io.Writer) error {
	f, ok := x.Version.File()
	if !ok {
		return &InputError{x.Head.Variable + " is no file"}
	}
	if err := x.Cube.Objects().Verify(ctx, f.Object); err != nil {
		return err
	}
	in, err := x.Cube.Objects().Open(f.Object)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = io.Copy(w, in)
	return err
}

func (x Export) layout() cube.Layout { return x.Version.Layout() }

// planes is the number of planes of the further dimensions.
func (x Export) planes() int64 {
	n := int64(1)
	for _, d := range x.layout().Spec.Dims {
		n *= d.Size
	}
	return n
}

// steps is the number of times, 1 for a static variable.
func (x Export) steps() int64 {
	l := x.layout()
	if l.Spec.Kind != graph.Time {
		return 1
	}
	return l.Grid.Box.T.Len()
}
