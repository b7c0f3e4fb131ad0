package npy

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func file(t *testing.T, h Header, values []byte) []byte {
	t.Helper()
	b, err := AppendHeader(nil, h)
	if err != nil {
		t.Fatal(err)
	}
	return append(b, values...)
}

func TestAFileReadsBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	for descr, dtype := range descrs {
		for _, shape := range [][]int64{{}, {0}, {3}, {2, 3}, {2, 1, 3}} {
			h := Header{dtype, shape}
			n, err := h.Size()
			if err != nil {
				t.Fatal(err)
			}
			values := bytes.Repeat([]byte{7}, int(n))
			b := file(t, h, values)
			if head := len(b) - int(n); head%64 != 0 {
				t.Errorf("%s: values start at byte %d", descr, head)
			}
			got, back, err := Read(bytes.NewReader(b), 1<<20)
			if err != nil {
				t.Fatalf("%s %v: %v", descr, shape, err)
			}
			if d := cmp.Diff(h, got); d != "" || !bytes.Equal(values, back) {
				t.Errorf("%s %v came back changed: %s", descr, shape, d)
			}
		}
	}
}

func TestWhatNumPyWritesIsRead(t *testing.T) {
	t.Parallel()
	// numpy 2.4: np.save(f, np.zeros((2, 3), "f4")) and a version 2.0 header
	dict := "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"
	v2 := "\x93NUMPY\x02\x00" + string([]byte{byte(len(dict) + 1), 0, 0, 0}) + dict + "\n" + strings.Repeat("\x00", 24)
	h, values, err := Read(strings.NewReader(v2), 24)
	if err != nil || h.DType != "float32" || len(values) != 24 {
		t.Fatalf("%v %d bytes, %v", h, len(values), err)
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	t.Parallel()
	header := func(dict string) string {
		return "\x93NUMPY\x01\x00" + string([]byte{byte(len(dict)), 0}) + dict
	}
	good := string(file(t, Header{"float32", []int64{2}}, make([]byte, 8)))
	for name, tc := range map[string]struct {
		file string
		want error
		text string
	}{
		"empty":            {"", ErrFormat, "too few"},
		"another format":   {"PK\x03\x04aaaaaaaa", ErrFormat, "NUMPY"},
		"cut in header":    {good[:40], ErrFormat, "cut short"},
		"cut in values":    {good[:len(good)-1], ErrFormat, "its header says 8"},
		"trailing bytes":   {good + "x", ErrFormat, "more bytes"},
		"fortran order":    {header("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1)}"), ErrUnsupported, "C order"},
		"big-endian":       {header("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}"), ErrUnsupported, "big-endian"},
		"objects":          {header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"), ErrUnsupported, "|O"},
		"structured":       {header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}"), ErrUnsupported, "structured"},
		"negative shape":   {header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"), ErrFormat, "shape"},
		"endless shape":    {header("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9)}"), nil, "too large"},
		"key missing":      {header("{'descr': '<f4', 'shape': (1,)}"), ErrFormat, "not all there"},
		"key twice":        {header("{'descr': '<f4', 'descr': '<f4', 'shape': (1,)}"), ErrFormat, "twice"},
		"larger than that": {good, nil, "more than the 4 expected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := int64(1 << 10)
			if name == "larger than that" {
				limit = 4
			}
			_, _, err := Read(strings.NewReader(tc.file), limit)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	b, _ := AppendHeader(nil, Header{"int16", []int64{2, 2}})
	f.Add(append(b, 1, 0, 2, 0, 3, 0, 4, 0))
	f.Add([]byte("\x93NUMPY\x01\x00\x06\x00{'descr"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, values, err := Read(bytes.NewReader(b), 1<<16)
		if err != nil {
			return
		}
		if n, err := h.Size(); err != nil || n != int64(len(values)) {
			t.Fatalf("%v: %d bytes, %v", h, len(values), err)
		}
	})
}
