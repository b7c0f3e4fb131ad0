package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// Bounds of JSON from outside.
const (
	maxJSON      = 1 << 20
	maxJSONDepth = 64
)

// decodeJSON reads one JSON value from outside: bounded in size and depth,
// without duplicate keys, with numbers kept as they are and within the range
// of a double. Objects are map[string]any.
func decodeJSON(raw []byte) (any, error) {
	if len(raw) > maxJSON {
		return nil, fmt.Errorf("JSON of %d bytes; at most %d are read", len(raw), maxJSON)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := jsonValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("JSON: more than one value")
	}
	return v, nil
}

func jsonValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("JSON is nested more than %d deep", maxJSONDepth)
	}
	tok, err := d.Token()
	if err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	switch tok {
	case json.Delim('{'):
		return jsonObject(d, depth)
	case json.Delim('['):
		return jsonArray(d, depth)
	}
	if n, ok := tok.(json.Number); ok {
		return n, checkNumber(n)
	}
	return tok, nil
}

func jsonObject(d *json.Decoder, depth int) (any, error) {
	m := make(map[string]any)
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("JSON: %w", err)
		}
		key, ok := tok.(string)
		if !ok {
			return nil, errors.New("JSON: a key must be text")
		}
		if _, dup := m[key]; dup {
			return nil, fmt.Errorf("JSON: key %q stands there twice", clip(key))
		}
		if m[key], err = jsonValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return m, err
}

func jsonArray(d *json.Decoder, depth int) (any, error) {
	l := []any{}
	for d.More() {
		v, err := jsonValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	_, err := d.Token()
	return l, err
}

// checkNumber refuses numbers that take long to compute with, such as
// 1e999999999 and 1e-999999999.
func checkNumber(n json.Number) error {
	f, err := strconv.ParseFloat(string(n), 64)
	mantissa, _, _ := strings.Cut(strings.ToLower(string(n)), "e")
	if err != nil || math.IsInf(f, 0) || len(n) > 64 || f == 0 && strings.Trim(mantissa, "-0.") != "" {
		return fmt.Errorf("JSON: number %s is out of range", clip(string(n)))
	}
	return nil
}
