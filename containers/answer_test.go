package containers

import (
	"fmt"
	"testing"
)

func TestAnswerIsAnExitCodeOnALine(t *testing.T) {
	for code := range 256 {
		if got, err := ParseAnswer(fmt.Appendf(nil, "%d\n", code)); got != code || err != nil {
			t.Errorf("%d was read as %d, %v", code, got, err)
		}
	}
	for _, bad := range []string{"", "\n", "0", "00\n", "01\n", "256\n", "1000\n", "-1\n", "+1\n", " 1\n", "1 \n", "0\r\n", "0\n0\n", "0\n\n", "a\n", "٣\n", "0x1\n"} {
		if got, err := ParseAnswer([]byte(bad)); err == nil {
			t.Errorf("%q was read as %d", bad, got)
		}
	}
}

func FuzzParseAnswer(f *testing.F) {
	for _, s := range []string{"0\n", "65\n", "255\n", "256\n", "00\n", "0\n0\n", "\n", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		code, err := ParseAnswer(b)
		if err == nil && fmt.Sprintf("%d\n", code) != string(b) {
			t.Errorf("%q was read as %d", b, code)
		}
		if err == nil && (code < 0 || code > 255 || len(b) >= MaxAnswer) {
			t.Errorf("%q was read as %d", b, code)
		}
	})
}
