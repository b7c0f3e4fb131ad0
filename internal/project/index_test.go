package project

import (
	"bytes"
	"testing"
)

// FuzzIndex gives the engine any index and any file of parts: what is believed
// lies within the file, one part after the other.
func FuzzIndex(f *testing.F) {
	for _, seed := range []string{`{"parts": []}`, `{}`, `null`, `{"parts": [{"offset": 0, "size": 3}]} x`,
		`{"parts": [{"offset": 0, "size": 3, "crs": "EPSG:4326", "bounds": [-1, -1, 1, 1], "time": [0, 60]}, {"offset": 3, "size": 3}]}`,
		`{"parts": [{"offset": 2, "size": 9223372036854775807}]}`, `{"parts": [{"offset": -1, "size": 1}], "more": 1}`} {
		f.Add([]byte(seed), []byte("abcdef"))
	}
	f.Fuzz(func(t *testing.T, index, data []byte) {
		x, err := readIndex(bytes.NewReader(index), bytes.NewReader(data))
		if err != nil {
			return
		}
		end := int64(0)
		for _, p := range x.Parts {
			if p.Offset < end || p.Size < 0 || p.Offset+p.Size > int64(len(data)) {
				t.Errorf("%+v of %d bytes, after %d", p, len(data), end)
			}
			end = p.Offset + p.Size
		}
	})
}
