package zarr

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseFill reads the fill value that metadata holds for the type, and returns
// the bytes of one element.
func (d DType) ParseFill(raw json.RawMessage) ([]byte, error) {
	fill, err := d.parseFill(raw)
	if err != nil {
		return nil, fmt.Errorf("fill value %.100s of %s: %w", raw, d, err)
	}
	return fill, nil
}

func (d DType) parseFill(raw json.RawMessage) ([]byte, error) {
	switch d {
	case Bool:
		return parseBool(raw)
	case Int8, Int16, Int32, Int64:
		v, err := strconv.ParseInt(string(raw), 10, 8*d.Size())
		if err != nil {
			return nil, fmt.Errorf("%w: not an integer of the type", ErrCorrupt)
		}
		return little(uint64(v), d.Size()), nil
	case Uint8, Uint16, Uint32, Uint64:
		v, err := strconv.ParseUint(string(raw), 10, 8*d.Size())
		if err != nil {
			return nil, fmt.Errorf("%w: not an integer of the type", ErrCorrupt)
		}
		return little(v, d.Size()), nil
	case Float16, Float32, Float64:
		return parseFloat(raw, d.Size())
	case Complex64, Complex128:
		return parseComplex(raw, d.Unit())
	}
	return parseRaw(raw, d.Size())
}

// little is the low size bytes of v, the lowest first.
func little(v uint64, size int) []byte {
	return binary.LittleEndian.AppendUint64(nil, v)[:size]
}

func parseBool(raw json.RawMessage) ([]byte, error) {
	switch string(raw) {
	case "true":
		return []byte{1}, nil
	case "false":
		return []byte{0}, nil
	}
	return nil, fmt.Errorf("%w: not true or false", ErrCorrupt)
}

// Canonical NaNs, as "NaN" stands for them.
const (
	nan16 = 0x7e00
	nan32 = 0x7fc00000
	nan64 = 0x7ff8000000000000
)

// nanBits is the canonical NaN of size bytes.
func nanBits(size int) uint64 {
	switch size {
	case 2:
		return nan16
	case 4:
		return nan32
	}
	return nan64
}

// parseFloat reads a number, "NaN", "Infinity", "-Infinity", or the bits as
// hexadecimal digits after "0x".
func parseFloat(raw json.RawMessage, size int) ([]byte, error) {
	var v float64
	if len(raw) == 0 || raw[0] != '"' {
		if err := json.Unmarshal(raw, &v); err != nil || string(raw) == "null" {
			return nil, fmt.Errorf("%w: not a number", ErrCorrupt)
		}
		return little(floatBits(v, size), size), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	}
	switch s {
	case "NaN":
		return little(nanBits(size), size), nil
	case "Infinity":
		return little(floatBits(math.Inf(1), size), size), nil
	case "-Infinity":
		return little(floatBits(math.Inf(-1), size), size), nil
	}
	digits, ok := strings.CutPrefix(s, "0x")
	bits, err := strconv.ParseUint(digits, 16, 8*size)
	if !ok || err != nil || len(digits) != 2*size {
		return nil, fmt.Errorf("%w: not a number of %d bits", ErrCorrupt, 8*size)
	}
	return little(bits, size), nil
}

func parseComplex(raw json.RawMessage, unit int) ([]byte, error) {
	var parts []json.RawMessage
	if err := json.Unmarshal(raw, &parts); err != nil || len(parts) != 2 {
		return nil, fmt.Errorf("%w: not a pair of numbers", ErrCorrupt)
	}
	re, err := parseFloat(parts[0], unit)
	if err != nil {
		return nil, err
	}
	im, err := parseFloat(parts[1], unit)
	return append(re, im...), err
}

// parseRaw reads a list of bytes, or base64 as zarr-python writes it.
func parseRaw(raw json.RawMessage, size int) ([]byte, error) {
	var fill []byte
	if err := json.Unmarshal(raw, &fill); err != nil || len(fill) != size {
		return nil, fmt.Errorf("%w: not a list of %d bytes", ErrCorrupt, size)
	}
	return fill, nil
}

// floatBits is v rounded to size bytes.
func floatBits(v float64, size int) uint64 {
	switch size {
	case 2:
		return uint64(half(v))
	case 4:
		return uint64(math.Float32bits(float32(v)))
	}
	return math.Float64bits(v)
}

// half rounds v to the nearest float16, ties to even.
func half(v float64) uint16 {
	bits := math.Float64bits(v)
	sign := uint16(bits>>48) & 0x8000
	abs := math.Abs(v)
	switch {
	case v != v:
		return sign | nan16
	case abs >= 65520: // halfway between the greatest float16 and 65536
		return sign | 0x7c00
	case abs < 0x1p-14: // subnormal, in steps of 2^-24
		return sign | uint16(math.RoundToEven(abs*0x1p24))
	}
	frac, exp := math.Frexp(abs) // frac in [0.5, 1)
	mantissa := uint16(math.RoundToEven(frac * 2048))
	return sign | (uint16(exp+13)<<10 + mantissa)
}

// halfValue is the value of a float16.
func halfValue(b uint16) float64 {
	exp, frac := int(b>>10&31), float64(b&0x3ff)
	var v float64
	switch exp {
	case 0:
		v = math.Ldexp(frac, -24)
	case 31:
		v = math.Inf(1)
		if frac != 0 {
			v = math.NaN()
		}
	default:
		v = math.Ldexp(1024+frac, exp-25)
	}
	if b>>15 == 1 {
		v = -v
	}
	return v
}

// FormatFill is the fill value of the type as metadata holds it. fill is one
// element; nil is zero.
func (d DType) FormatFill(fill []byte) (json.RawMessage, error) {
	size := d.Size()
	if fill == nil {
		fill = make([]byte, size)
	}
	if size == 0 || len(fill) != size {
		return nil, fmt.Errorf("fill value of %d bytes for %s: %w", len(fill), d, ErrRange)
	}
	switch d {
	case Bool:
		return json.RawMessage(strconv.FormatBool(fill[0] != 0)), nil
	case Int8, Int16, Int32, Int64:
		shift := 64 - 8*size
		return strconv.AppendInt(nil, int64(wide(fill))<<shift>>shift, 10), nil
	case Uint8, Uint16, Uint32, Uint64:
		return strconv.AppendUint(nil, wide(fill), 10), nil
	case Float16, Float32, Float64:
		return formatFloat(fill), nil
	case Complex64, Complex128:
		parts := [][]byte{formatFloat(fill[:size/2]), formatFloat(fill[size/2:])}
		return append(append([]byte("["), bytes.Join(parts, []byte(","))...), ']'), nil
	}
	return formatRaw(fill), nil
}

// wide is the number that up to eight little-endian bytes hold.
func wide(b []byte) uint64 {
	var full [8]byte
	copy(full[:], b)
	return binary.LittleEndian.Uint64(full[:])
}

// formatFloat writes a float exactly: a number, a name, or for a NaN with a
// payload of its own the bits.
func formatFloat(b []byte) json.RawMessage {
	bits := wide(b)
	v := math.Float64frombits(bits)
	switch len(b) {
	case 2:
		v = halfValue(uint16(bits))
	case 4:
		v = float64(math.Float32frombits(uint32(bits)))
	}
	switch {
	case bits == nanBits(len(b)):
		return json.RawMessage(`"NaN"`)
	case v != v:
		return fmt.Appendf(nil, `"0x%0*x"`, 2*len(b), bits)
	case math.IsInf(v, 1):
		return json.RawMessage(`"Infinity"`)
	case math.IsInf(v, -1):
		return json.RawMessage(`"-Infinity"`)
	}
	out := strconv.AppendFloat(nil, v, 'g', -1, 64)
	if !bytes.ContainsAny(out, ".e") {
		out = append(out, ".0"...)
	}
	return out
}

func formatRaw(fill []byte) json.RawMessage {
	out := []byte("[")
	for i, v := range fill {
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendUint(out, uint64(v), 10)
	}
	return append(out, ']')
}
