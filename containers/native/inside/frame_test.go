//go:build linux

package inside

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func pair(t testing.TB) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

func TestFramesArriveWholeWithTheirDescriptors(t *testing.T) {
	a, b := pair(t)
	defer unix.Close(b)
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	file.WriteString("the file")
	large := bytes.Repeat([]byte("large"), 1<<20)
	go func() {
		defer unix.Close(a)
		for _, body := range [][]byte{[]byte("small"), nil, large} {
			if err := Send(a, Start, body, int(file.Fd())); err != nil {
				t.Error(err)
			}
		}
	}()
	for _, want := range [][]byte{[]byte("small"), nil, large} {
		kind, body, fds, err := Receive(b)
		if err != nil || kind != Start || !bytes.Equal(body, want) || len(fds) != 1 {
			t.Fatalf("%c, %d bytes, %v, %v", kind, len(body), fds, err)
		}
		got := make([]byte, 8)
		if _, err := unix.Pread(fds[0], got, 0); err != nil || string(got) != "the file" {
			t.Errorf("%q, %v", got, err)
		}
		unix.Close(fds[0])
	}
	if _, _, _, err := Receive(b); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestFramesOfNonsenseAreRefused(t *testing.T) {
	for name, sent := range map[string][]byte{
		"cut in the header": {'S', 1},
		"cut in the body":   {'S', 9, 0, 0, 0, 'x'},
		"too large":         {'S', 0xff, 0xff, 0xff, 0xff},
	} {
		a, b := pair(t)
		unix.Write(a, sent)
		unix.Close(a)
		if _, _, _, err := Receive(b); err == nil || err == io.EOF {
			t.Errorf("%s: %v", name, err)
		}
		unix.Close(b)
	}
}

func TestEndingDecodesToWhatWasMeasured(t *testing.T) {
	want := Ending{Status: 0x0900}
	want.measure()
	got, err := DecodeEnding(want.append(nil))
	if err != nil || got != want || got.MaxRSS == 0 {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := DecodeEnding(nil); !errors.Is(err, ErrFrame) {
		t.Errorf("empty: %v", err)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte("S\x02\x00\x00\x00{}"))
	f.Add([]byte("E\x00\x00\x00\x00"))
	f.Add([]byte{'S', 0xff, 0xff, 0xff, 0x03})
	f.Fuzz(func(t *testing.T, sent []byte) {
		if len(sent) > 1<<16 {
			return
		}
		a, b := pair(t)
		defer unix.Close(b)
		unix.Write(a, sent)
		unix.Close(a)
		kind, body, fds, err := Receive(b)
		if err == nil && (kind != Kind(sent[0]) || !bytes.Equal(body, sent[frameHeader:frameHeader+len(body)]) || len(fds) != 0) {
			t.Errorf("%c %q %v from %q", kind, body, fds, sent)
		}
	})
}
