package zarr

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/cubebuild/cube/cube/zarr/codec"
)

// Names of the metadata of version 2 below a node's path.
const (
	arrayV2 = ".zarray"
	groupV2 = ".zgroup"
	attrsV2 = ".zattrs"
)

// dimensionsV2 is the attribute by which xarray names dimensions in version 2.
const dimensionsV2 = "_ARRAY_DIMENSIONS"

// arrayDocumentV2 is what .zarray says.
type arrayDocumentV2 struct {
	Format     int               `json:"zarr_format"`
	Shape      []int             `json:"shape"`
	Chunks     []int             `json:"chunks"`
	DType      json.RawMessage   `json:"dtype"`
	Compressor *compressorV2     `json:"compressor"`
	Fill       json.RawMessage   `json:"fill_value"`
	Order      string            `json:"order"`
	Filters    []json.RawMessage `json:"filters"`
	Separator  string            `json:"dimension_separator"`
}

// compressorV2 holds the options of all compressors that are known.
type compressorV2 struct {
	ID        string `json:"id"`
	Level     int    `json:"level"`
	Checksum  bool   `json:"checksum"`
	CName     string `json:"cname"`
	CLevel    int    `json:"clevel"`
	Shuffle   int    `json:"shuffle"`
	BlockSize int    `json:"blocksize"`
}

// ParseArrayV2 reads the .zarray document of an array of version 2, and its
// .zattrs if there is one, into the metadata of the same array in version 3:
// dimension names come from the attribute _ARRAY_DIMENSIONS.
func ParseArrayV2(zarray, zattrs []byte) (*ArrayMeta, error) {
	m, err := parseArrayV2(zarray, zattrs)
	if err != nil {
		return nil, fmt.Errorf("array metadata of version 2: %w", err)
	}
	return m, nil
}

func parseArrayV2(zarray, zattrs []byte) (*ArrayMeta, error) {
	var doc arrayDocumentV2
	if err := parseDocument(zarray, &doc); err != nil {
		return nil, err
	}
	if doc.Format != 2 {
		return nil, fmt.Errorf("zarr_format %d: %w", doc.Format, ErrUnsupported)
	}
	if len(doc.Filters) > 0 {
		return nil, fmt.Errorf("filters: %w", ErrUnsupported)
	}
	m := &ArrayMeta{Shape: doc.Shape, ChunkShape: doc.Chunks, Keys: KeyEncoding{Name: "v2", Separator: doc.Separator}}
	big, err := m.typeV2(doc.DType)
	if err != nil {
		return nil, err
	}
	if m.Fill, err = m.DataType.parseFillV2(doc.Fill); err != nil {
		return nil, fmt.Errorf("fill value %.100s of %s: %w", doc.Fill, m.DataType, err)
	}
	if m.Codecs, err = doc.codecs(big, m.DataType); err != nil {
		return nil, err
	}
	if err := m.attributesV2(zattrs); err != nil {
		return nil, err
	}
	if m.Keys, err = m.Keys.normal(); err != nil {
		return nil, err
	}
	return m, m.Check()
}

// typeV2 reads a type as NumPy writes it, such as "<f4".
func (m *ArrayMeta) typeV2(raw json.RawMessage) (big bool, err error) {
	var name string
	if err := json.Unmarshal(raw, &name); err != nil || len(name) < 3 {
		return false, fmt.Errorf("data type %.100s: %w", bytes.Join(bytes.Fields(raw), nil), ErrUnsupported)
	}
	order, kind := name[0], name[1]
	size, err := strconv.Atoi(name[2:])
	if err != nil || size < 1 || size > maxRaw {
		return false, fmt.Errorf("data type %.100q: %w", name, ErrUnsupported)
	}
	prefix, ok := map[byte]string{'i': "int", 'u': "uint", 'f': "float", 'c': "complex", 'V': "r"}[kind]
	switch {
	case kind == 'b' && size == 1:
		m.DataType = Bool
	case ok:
		m.DataType = DType(prefix + strconv.Itoa(8*size))
	}
	if m.DataType.Size() != size {
		return false, fmt.Errorf("data type %.100q: %w", name, ErrUnsupported)
	}
	switch order {
	case '<', '>', '|':
		return order == '>', nil
	}
	return false, fmt.Errorf("byte order of data type %.100q: %w", name, ErrCorrupt)
}

// parseFillV2 is parseFill with the liberties of version 2: null is zero, and a
// whole number may be written with a point.
func (d DType) parseFillV2(raw json.RawMessage) ([]byte, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	fill, err := d.parseFill(raw)
	if err == nil {
		return fill, nil
	}
	var v float64
	if json.Unmarshal(raw, &v) != nil || v != math.Trunc(v) || math.Abs(v) > 1<<53 {
		return nil, err
	}
	if d == Bool && (v == 0 || v == 1) {
		return []byte{byte(v)}, nil
	}
	return d.parseFill(strconv.AppendFloat(nil, v, 'f', -1, 64))
}

// codecs is the chain that order, byte order and compressor amount to.
func (doc *arrayDocumentV2) codecs(big bool, d DType) ([]codec.Spec, error) {
	var specs []codec.Spec
	switch doc.Order {
	case "C":
	case "F":
		reversed := make([]int, len(doc.Shape))
		for i := range reversed {
			reversed[i] = len(reversed) - 1 - i
		}
		if len(reversed) > 1 {
			specs = append(specs, codec.Transpose(reversed...))
		}
	default:
		return nil, fmt.Errorf("order %.20q: %w", doc.Order, ErrCorrupt)
	}
	if big {
		specs = append(specs, codec.Big())
	} else {
		specs = append(specs, codec.Little())
	}
	if doc.Compressor == nil {
		return specs, nil
	}
	compress, err := doc.Compressor.spec(d)
	return append(specs, compress), err
}

// spec is the codec that a compressor is in version 3.
func (c *compressorV2) spec(d DType) (codec.Spec, error) {
	config := map[string]any{"level": c.Level}
	s := codec.Spec{Name: c.ID}
	switch c.ID {
	case "gzip":
	case "zlib":
		s.Name = "numcodecs.zlib"
	case "lz4":
		s.Name, config = "numcodecs.lz4", map[string]any{}
	case "zstd":
		config["checksum"] = c.Checksum
	case "blosc":
		shuffle := map[int]string{0: "noshuffle", 1: "shuffle", 2: "bitshuffle"}[c.Shuffle]
		if c.Shuffle == -1 {
			if shuffle = "shuffle"; d.Size() == 1 {
				shuffle = "bitshuffle"
			}
		}
		config = map[string]any{"cname": c.CName, "clevel": c.CLevel, "shuffle": shuffle, "typesize": d.Size(), "blocksize": c.BlockSize}
	default:
		return s, fmt.Errorf("compressor %.50q: %w", c.ID, ErrUnsupported)
	}
	var err error
	s.Configuration, err = json.Marshal(config)
	return s, err
}

// attributesV2 takes over attributes, and the names of dimensions among them.
func (m *ArrayMeta) attributesV2(zattrs []byte) error {
	if zattrs == nil {
		return nil
	}
	if err := parseDocument(zattrs, &m.Attributes); err != nil {
		return fmt.Errorf("attributes: %w", err)
	}
	names, ok := m.Attributes[dimensionsV2].([]any)
	if !ok || len(names) != len(m.Shape) {
		return nil
	}
	m.DimensionNames = make([]string, len(names))
	for i, name := range names {
		m.DimensionNames[i], _ = name.(string)
	}
	delete(m.Attributes, dimensionsV2)
	return nil
}

// readArray reads the metadata of the array at path, of version 3 or else 2.
func readArray(ctx context.Context, store Reader, path string) (*ArrayMeta, error) {
	doc, err := store.Get(ctx, join(path, document), nil)
	if err == nil {
		return ParseArray(doc)
	}
	if !errors.Is(err, ErrNotExist) {
		return nil, err
	}
	zarray, errV2 := store.Get(ctx, join(path, arrayV2), nil)
	if errors.Is(errV2, ErrNotExist) {
		return nil, err
	}
	if errV2 != nil {
		return nil, errV2
	}
	zattrs, err := optional(store.Get(ctx, join(path, attrsV2), nil))
	if err != nil {
		return nil, err
	}
	return ParseArrayV2(zarray, zattrs)
}

// readGroup reads the metadata of the group at path, of version 3 or else 2.
func readGroup(ctx context.Context, store Reader, path string) (meta *GroupMeta, version int, err error) {
	doc, err := store.Get(ctx, join(path, document), nil)
	if err == nil {
		meta, err = ParseGroup(doc)
		return meta, 3, err
	}
	if !errors.Is(err, ErrNotExist) {
		return nil, 0, err
	}
	zgroup, errV2 := store.Get(ctx, join(path, groupV2), nil)
	if errors.Is(errV2, ErrNotExist) {
		return nil, 0, err
	}
	if errV2 != nil {
		return nil, 0, errV2
	}
	zattrs, err := optional(store.Get(ctx, join(path, attrsV2), nil))
	if err != nil {
		return nil, 0, err
	}
	meta, err = parseGroupV2(zgroup, zattrs)
	return meta, 2, err
}

// optional takes a missing value for nil.
func optional(value []byte, err error) ([]byte, error) {
	if errors.Is(err, ErrNotExist) {
		return nil, nil
	}
	return value, err
}

func parseGroupV2(zgroup, zattrs []byte) (*GroupMeta, error) {
	var doc struct {
		Format int `json:"zarr_format"`
	}
	m := new(GroupMeta)
	err := parseDocument(zgroup, &doc)
	if err == nil && doc.Format != 2 {
		err = fmt.Errorf("zarr_format %d: %w", doc.Format, ErrUnsupported)
	}
	if err == nil && zattrs != nil {
		err = parseDocument(zattrs, &m.Attributes)
	}
	if err != nil {
		return nil, fmt.Errorf("group metadata of version 2: %w", err)
	}
	return m, nil
}
