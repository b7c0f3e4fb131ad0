package graph

import (
	"encoding"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
)

// encoder appends a value's canonical JSON. Keys are made for every tile, so
// the usual nouns are written straight from their fields; what a value's type
// has a say in itself goes by way of encoding/json.
type encoder func(b []byte, v reflect.Value) ([]byte, error)

var encoders sync.Map // reflect.Type → encoder

var (
	digestType  = reflect.TypeFor[Digest]()
	rawType     = reflect.TypeFor[json.RawMessage]()
	jsonMarshal = reflect.TypeFor[json.Marshaler]()
	textMarshal = reflect.TypeFor[encoding.TextMarshaler]()
)

// encoderOf returns the encoder of a type. It agrees with [canon] over
// encoding/json for every value.
func encoderOf(t reflect.Type) encoder {
	if e, ok := encoders.Load(t); ok {
		return e.(encoder)
	}
	// Whoever asks meanwhile, also the type itself where it holds itself, gets an
	// encoder that waits for the real one when it is first used.
	var made sync.WaitGroup
	var e encoder
	made.Add(1)
	other, loaded := encoders.LoadOrStore(t, encoder(func(b []byte, v reflect.Value) ([]byte, error) {
		made.Wait()
		return e(b, v)
	}))
	if loaded {
		return other.(encoder)
	}
	e = newEncoder(t)
	made.Done()
	encoders.Store(t, e)
	return e
}

func newEncoder(t reflect.Type) encoder {
	switch {
	case t == digestType:
		return encodeDigest
	case t == rawType:
		return encodeRaw
	case ownJSON(t):
		return encodeOwn
	}
	switch t.Kind() {
	case reflect.Bool:
		return func(b []byte, v reflect.Value) ([]byte, error) { return strconv.AppendBool(b, v.Bool()), nil }
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(b []byte, v reflect.Value) ([]byte, error) { return appendInt(b, v.Int()), nil }
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(b []byte, v reflect.Value) ([]byte, error) { return appendUint(b, v.Uint()), nil }
	case reflect.Float64:
		return encodeFloat
	case reflect.String:
		return func(b []byte, v reflect.Value) ([]byte, error) { return appendString(b, v.String()), nil }
	case reflect.Pointer:
		return pointerEncoder(t)
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			return listEncoder(t)
		}
	case reflect.Array:
		return listEncoder(t)
	case reflect.Map:
		if t.Key().Kind() == reflect.String && !ownJSON(t.Key()) {
			return mapEncoder(t)
		}
	case reflect.Struct:
		if fields, ok := fieldsOf(t); ok {
			return structEncoder(fields)
		}
	}
	return encodeOwn
}

// ownJSON reports whether a type's values say themselves what their JSON is.
func ownJSON(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(jsonMarshal) || p.Implements(textMarshal)
}

func encodeDigest(b []byte, v reflect.Value) ([]byte, error) {
	var d Digest
	reflect.Copy(reflect.ValueOf(d[:]), v)
	b = append(b, '"')
	if !d.IsZero() {
		b = hex.AppendEncode(append(b, "sha256:"...), d[:])
	}
	return append(b, '"'), nil
}

func encodeRaw(b []byte, v reflect.Value) ([]byte, error) {
	raw := v.Bytes()
	if raw == nil {
		return append(b, "null"...), nil
	}
	return appendCanonical(b, raw)
}

func encodeOwn(b []byte, v reflect.Value) ([]byte, error) {
	raw, err := json.Marshal(v.Interface())
	if err != nil {
		return nil, err
	}
	return appendCanonical(b, raw)
}

func encodeFloat(b []byte, v reflect.Value) ([]byte, error) { return appendFloat(b, v.Float()) }

func appendFloat(b []byte, f float64) ([]byte, error) {
	if f == math.Trunc(f) && math.Abs(f) <= maxExact {
		return strconv.AppendInt(b, int64(f), 10), nil
	}
	text, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	return appendNumber(b, string(text))
}

func pointerEncoder(t reflect.Type) encoder {
	elem := encoderOf(t.Elem())
	return func(b []byte, v reflect.Value) ([]byte, error) {
		if v.IsNil() {
			return append(b, "null"...), nil
		}
		return elem(b, v.Elem())
	}
}

func listEncoder(t reflect.Type) encoder {
	elem := encoderOf(t.Elem())
	return func(b []byte, v reflect.Value) (_ []byte, err error) {
		if v.Kind() == reflect.Slice && v.IsNil() {
			return append(b, "null"...), nil
		}
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = elem(b, v.Index(i)); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	}
}

func mapEncoder(t reflect.Type) encoder {
	elem := encoderOf(t.Elem())
	return func(b []byte, v reflect.Value) (_ []byte, err error) {
		if v.IsNil() {
			return append(b, "null"...), nil
		}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(x, y reflect.Value) int { return compareUnits(x.String(), y.String()) })
		b = append(b, '{')
		for i, k := range keys {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, k.String()), ':')
			if b, err = elem(b, v.MapIndex(k)); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
}

// compareUnits compares strings by their UTF-16 code units.
func compareUnits(a, b string) int {
	if plain([]byte(a)) && plain([]byte(b)) {
		return strings.Compare(a, b)
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

// field is a struct's field as JSON has it.
type field struct {
	key    string // with its quotes and the colon
	index  int
	leave  func(reflect.Value) bool // nil: never left out
	encode encoder
}

// fieldsOf returns a struct's fields in the order of their keys; false where
// the tags ask for more than is understood here.
func fieldsOf(t reflect.Type) ([]field, bool) {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if !f.IsExported() || tag == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		if f.Anonymous || !plain([]byte(name)) || strings.ContainsAny(name, `<>&"`) {
			return nil, false
		}
		out := field{key: strconv.Quote(name) + ":", index: i, encode: encoderOf(f.Type)}
		switch options {
		case "":
		case "omitempty":
			out.leave = isEmpty
		case "omitzero":
			out.leave = zeroOf(f.Type)
		default:
			return nil, false
		}
		fields = append(fields, out)
	}
	slices.SortFunc(fields, func(x, y field) int { return strings.Compare(x.key, y.key) })
	return fields, true
}

func structEncoder(fields []field) encoder {
	return func(b []byte, v reflect.Value) (_ []byte, err error) {
		b = append(b, '{')
		first := true
		for i := range fields {
			f := &fields[i]
			value := v.Field(f.index)
			if f.leave != nil && f.leave(value) {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			if b, err = f.encode(append(b, f.key...), value); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
}

// isEmpty reports what omitempty leaves out.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

// zeroOf returns what omitzero leaves out of a type.
func zeroOf(t reflect.Type) func(reflect.Value) bool {
	if t.Implements(reflect.TypeFor[interface{ IsZero() bool }]()) && t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		return func(v reflect.Value) bool { return v.Interface().(interface{ IsZero() bool }).IsZero() }
	}
	return reflect.Value.IsZero
}

// appendCanonical appends the canonical form of JSON.
func appendCanonical(b, raw []byte) ([]byte, error) {
	if !json.Valid(raw) {
		return nil, fmt.Errorf("not JSON: %.40q", raw)
	}
	c := canon{src: raw}
	return c.value(b)
}
