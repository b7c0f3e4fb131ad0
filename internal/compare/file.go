package compare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// files compares two versions of kind file, byte by byte.
func (r *Result) files(ctx context.Context, a, b Side) error {
	fa, okA := a.Version.File()
	fb, okB := b.Version.File()
	if !okA || !okB {
		r.Meaning = append(r.Meaning, fmt.Sprintf("kind: %s → %s", a.Version.Layout().Spec.Kind, b.Version.Layout().Spec.Kind))
		return nil
	}
	r.Comparable, r.Cells = true, max(fa.Size, fb.Size)
	if fa.MediaType != fb.MediaType {
		r.Meaning = append(r.Meaning, fmt.Sprintf("media type: %s → %s", or(fa.MediaType, "unknown"), or(fb.MediaType, "unknown")))
	}
	if fa.Ext != fb.Ext {
		r.Meaning = append(r.Meaning, fmt.Sprintf("extension: %s → %s", or(fa.Ext, "none"), or(fb.Ext, "none")))
	}
	if fa.Object == fb.Object {
		return nil
	}
	x, err := os.Open(a.Cube.Objects().Path(fa.Object))
	if err != nil {
		return err
	}
	defer x.Close()
	y, err := os.Open(b.Cube.Objects().Path(fb.Object))
	if err != nil {
		return err
	}
	defer y.Close()
	return r.bytes(ctx, bufio.NewReaderSize(x, 1<<18), bufio.NewReaderSize(y, 1<<18))
}

// bytes counts the bytes that differ. What one has beyond the other's end does.
func (r *Result) bytes(ctx context.Context, x, y *bufio.Reader) error {
	for at := int64(0); ; at++ {
		if at%(1<<20) == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		a, errA := x.ReadByte()
		b, errB := y.ReadByte()
		switch {
		case errA == io.EOF && errB == io.EOF:
			return nil
		case errA != nil && errA != io.EOF, errB != nil && errB != io.EOF:
			return errors.Join(errA, errB)
		case errA != nil || errB != nil || a != b:
			if r.Differ++; r.Differ == 1 {
				r.Offset = at
			}
		}
	}
}
