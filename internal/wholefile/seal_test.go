package wholefile

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"
)

func TestWhatIsSealedIsReadAsItWasOrNotAtAll(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", `{"parts":[]}` + "\n", "two\nlines"} {
		sealed := Seal([]byte(text))
		if got, sum, ok := Unseal(sealed); !ok || string(got) != text || sum != sha256.Sum256([]byte(text)) {
			t.Errorf("%q comes back as %q, %v", text, got, ok)
		}
		for i := range sealed {
			for bit := range 8 {
				harmed := slices.Clone(sealed)
				harmed[i] ^= 1 << bit
				if got, _, ok := Unseal(harmed); ok {
					t.Fatalf("%q with bit %d of byte %d turned is read as %q", text, bit, i, got)
				}
			}
			if _, _, ok := Unseal(sealed[:i]); ok {
				t.Fatalf("%q is read from its first %d bytes", text, i)
			}
		}
		if _, _, ok := Unseal(append(bytes.Clone(sealed), '\n')); ok {
			t.Errorf("%q is read with a byte more", text)
		}
	}
}
