package wholefile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
)

// Seal puts a line before b that names its content. What only saves work may be
// believed when it is read again, if it is sealed: else a bit that a disk lost
// would decide what is made.
func Seal(b []byte) []byte {
	return append(seal(sha256.Sum256(b), len(b)), b...)
}

// Unseal returns what was sealed, and its SHA-256; false where any of it is not as
// it was.
func Unseal(b []byte) (content []byte, sum [sha256.Size]byte, ok bool) {
	_, content, ok = bytes.Cut(b, []byte("\n"))
	if ok {
		sum = sha256.Sum256(content)
		ok = bytes.HasPrefix(b, seal(sum, 0))
	}
	if !ok {
		return nil, [sha256.Size]byte{}, false
	}
	return content, sum, true
}

// seal is the line, with its end and room for what follows.
func seal(sum [sha256.Size]byte, room int) []byte {
	line := append(make([]byte, 0, 80+room), "sha256:"...)
	return append(hex.AppendEncode(line, sum[:]), '\n')
}
