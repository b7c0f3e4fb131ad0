package zarr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// maxMetadata bounds the size of a metadata document.
const maxMetadata = 64 << 20

// fields is a JSON object whose members are taken out one by one, so that what
// is left over is what was not understood.
type fields map[string]json.RawMessage

// parseFields reads an object.
func parseFields(doc []byte) (fields, error) {
	var f fields
	if err := parseDocument(doc, &f); err != nil {
		return nil, err
	}
	if f == nil {
		return nil, fmt.Errorf("%w: not a JSON object", ErrCorrupt)
	}
	return f, nil
}

// parseDocument reads a whole document. Numbers that JSON does not have but
// Python writes (NaN, Infinity) become strings of that name.
func parseDocument(doc []byte, into any) error {
	if len(doc) > maxMetadata {
		return fmt.Errorf("%d bytes, more than %d: %w", len(doc), maxMetadata, ErrCorrupt)
	}
	err := unmarshal(doc, into)
	if err != nil {
		if fixed, changed := quoteNonFinite(doc); changed {
			err = unmarshal(fixed, into)
		}
	}
	return err
}

// unmarshal reads one JSON value; numbers in an any keep their digits.
func unmarshal(doc []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: more than one JSON value", ErrCorrupt)
	}
	return nil
}

// take removes the member name and reads it into the value that into points
// to. It reports whether it was there.
func (f fields) take(name string, into any) (bool, error) {
	raw, ok := f[name]
	if !ok {
		return false, nil
	}
	delete(f, name)
	if err := unmarshal(raw, into); err != nil {
		return true, fmt.Errorf("%s: %w", name, err)
	}
	return true, nil
}

// need is take for a member that must be there.
func (f fields) need(name string, into any) error {
	ok, err := f.take(name, into)
	if err == nil && !ok {
		err = fmt.Errorf("%s: %w: missing", name, ErrCorrupt)
	}
	return err
}

// rest fails where a member is left that must be understood.
func (f fields) rest() error {
	for _, name := range sortedKeys(f) {
		var extension struct {
			MustUnderstand *bool `json:"must_understand"`
		}
		err := json.Unmarshal(f[name], &extension)
		if err != nil || extension.MustUnderstand == nil || *extension.MustUnderstand {
			return fmt.Errorf("field %.100q: %w", name, ErrUnsupported)
		}
	}
	return nil
}

// header checks the members that every document has.
func (f fields) header(nodeType string) error {
	var format int
	if err := f.need("zarr_format", &format); err != nil {
		return err
	}
	if format != 3 {
		return fmt.Errorf("zarr_format %d: %w", format, ErrUnsupported)
	}
	var got string
	if err := f.need("node_type", &got); err != nil {
		return err
	}
	if got != nodeType {
		return fmt.Errorf("node_type %.20q, want %q: %w", got, nodeType, ErrCorrupt)
	}
	return nil
}

// quoteNonFinite puts quotes round NaN, Infinity and -Infinity where they stand
// outside strings.
func quoteNonFinite(doc []byte) (out []byte, changed bool) {
	for len(doc) > 0 {
		n := 1
		switch c := doc[0]; {
		case c == '"':
			n = stringEnd(doc)
		case c == 'N' || c == 'I' || c == '-':
			for _, name := range []string{"NaN", "Infinity", "-Infinity"} {
				if bytes.HasPrefix(doc, []byte(name)) {
					out = append(append(append(out, '"'), name...), '"')
					doc, n, changed = doc[len(name):], 0, true
					break
				}
			}
		}
		out = append(out, doc[:n]...)
		doc = doc[n:]
	}
	return out, changed
}

// stringEnd is the length of the JSON string that doc begins with.
func stringEnd(doc []byte) int {
	for i := 1; i < len(doc); i++ {
		switch doc[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(doc)
}

// encode writes v as a document: indented by two spaces, members of maps
// sorted, and no character escaped that JSON lets stand.
func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
