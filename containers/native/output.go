//go:build linux

package native

import (
	"io"
	"os"
	"sync"
)

// output takes what a payload writes from pipes to writers. Even a file is
// written to by way of a pipe: the payload could read the name of a file, or
// write over what is there already.
type output struct {
	inner          []*os.File // ends for the payload
	stdout, stderr uint8      // which of them is which, from one; zero is none
	copying        sync.WaitGroup
}

func newOutput(stdout, stderr io.Writer) (*output, error) {
	o := &output{}
	var err error
	if o.stdout, err = o.pipe(stdout); err != nil {
		return nil, err
	}
	if stderr != nil && same(stdout, stderr) {
		o.stderr = o.stdout
		return o, nil
	}
	if o.stderr, err = o.pipe(stderr); err != nil {
		o.closeInner()
		o.wait()
		return nil, err
	}
	return o, nil
}

// pipe makes a pipe to the writer and returns its place among the inner ends.
func (o *output) pipe(w io.Writer) (uint8, error) {
	if w == nil {
		return 0, nil
	}
	read, write, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	o.inner = append(o.inner, write)
	o.copying.Go(func() {
		defer read.Close()
		// A writer that fails gets no more, but the payload must not notice.
		if _, err := io.Copy(w, read); err != nil {
			_, _ = io.Copy(io.Discard, read)
		}
	})
	return uint8(len(o.inner)), nil
}

// same reports whether both are the same writer.
func same(a, b io.Writer) (equal bool) {
	defer func() { _ = recover() }() // of types that cannot be compared: not the same
	return a == b
}

// closeInner closes the payload's ends here; it has its own.
func (o *output) closeInner() {
	closeFiles(o.inner)
	o.inner = nil
}

// wait waits until all has been written that the payload wrote.
func (o *output) wait() { o.copying.Wait() }
