package wholefile

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ErrTooLarge says that a file has more bytes than Read was to read.
var ErrTooLarge = errors.New("too large")

// Read returns the content of a file of at most so many bytes: what may have been
// put there by anybody takes no more memory than that.
func Read(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		return nil, fmt.Errorf("%s: more than %d bytes: %w", path, most, ErrTooLarge)
	}
	return b, err
}
