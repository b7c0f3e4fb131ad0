//go:build linux

package wire

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzFramesAreReadOrRefused(f *testing.F) {
	whole, err := Append(nil, Frame{Run, 7, []byte(`{}`), []Blob{{}, {Bytes: []byte("abc")}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(bytes.Repeat([]byte{255}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		first, err := Read(bytes.NewReader(b), nil)
		if err != nil {
			return
		}
		again, err := Append(nil, first)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(b, again) {
			t.Error(cmp.Diff(b, again))
		}
	})
}
