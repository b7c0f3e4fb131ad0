package graph

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Canonical returns v as canonical JSON (RFC 8785): keys sorted by UTF-16 code
// units, no white space, numbers as ECMAScript prints them. An integer that a
// double cannot hold exactly is written as the string "int:0x…" or "int:-0x…",
// so that no digit is lost. NaN and infinities are errors, as in encoding/json.
func Canonical(v any) ([]byte, error) {
	raw, ok := v.(json.RawMessage)
	if !ok {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			return nil, fmt.Errorf("canonical JSON: %w", err)
		}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("canonical JSON: more than one value")
	}
	return appendCanonical(nil, tree)
}

// hashCanonical digests v's canonical JSON under a domain prefix, so that no
// two sorts of record can share a digest, and returns the preimage.
func hashCanonical(domain string, v any) (Digest, []byte, error) {
	b, err := Canonical(v)
	if err != nil {
		return Digest{}, nil, fmt.Errorf("%s: %w", domain, err)
	}
	h := sha256.New()
	io.WriteString(h, domain)
	h.Write([]byte{0})
	h.Write(b)
	return Digest(h.Sum(nil)), b, nil
}

func appendCanonical(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v), nil
	case json.Number:
		return appendNumber(b, v)
	case []any:
		return appendArray(b, v)
	case map[string]any:
		return appendObject(b, v)
	}
	return nil, fmt.Errorf("canonical JSON: unexpected %T", v)
}

func appendArray(b []byte, v []any) (_ []byte, err error) {
	b = append(b, '[')
	for i, e := range v {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendCanonical(b, e); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendObject(b []byte, v map[string]any) (_ []byte, err error) {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b string) int {
		return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
	})
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, k), ':')
		if b, err = appendCanonical(b, v[k]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

const maxExact = 1 << 53

func appendNumber(b []byte, n json.Number) ([]byte, error) {
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil {
		if i >= -maxExact && i <= maxExact {
			return strconv.AppendInt(b, i, 10), nil
		}
		if i < 0 {
			return fmt.Appendf(b, `"int:-0x%x"`, -uint64(i)), nil
		}
		return fmt.Appendf(b, `"int:0x%x"`, i), nil
	}
	if u, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return fmt.Appendf(b, `"int:0x%x"`, u), nil
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("canonical JSON: number %s is out of range", n)
	}
	if f == 0 {
		return append(b, '0'), nil
	}
	// encoding/json prints doubles as ECMAScript does.
	s, err := json.Marshal(f)
	return append(b, s...), err
}

const hexDigits = "0123456789abcdef"

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < 0x20:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[r>>4], hexDigits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
