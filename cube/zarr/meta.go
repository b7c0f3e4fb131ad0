package zarr

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/cubebuild/cube/cube/zarr/codec"
)

// maxDims bounds the number of an array's dimensions.
const maxDims = 32

// Attributes are a node's own metadata: what encoding/json can write. Numbers
// that were read are json.Number, with the digits that stood there.
type Attributes map[string]any

// ArrayMeta is what the zarr.json of an array says.
type ArrayMeta struct {
	Shape      []int
	DataType   DType
	ChunkShape []int // one for each dimension, at least 1
	// Keys says how chunks are named; the zero value is the default encoding.
	Keys KeyEncoding
	// Fill is the fill value, the bytes of one element; nil is zero.
	Fill []byte
	// Codecs is the chain from a chunk to its encoded bytes; nil stands for
	// DefaultCodecs of the data type.
	Codecs     []codec.Spec
	Attributes Attributes
	// DimensionNames has one name for each dimension, "" for one without; nil
	// where the array has none at all. A scalar with an empty, non-nil list
	// says so in its metadata, which some readers insist on.
	DimensionNames []string
}

// DefaultCodecs is the chain for elements of type d that compresses gridded
// fields well and fast: little-endian bytes, then blosc with byte shuffle and
// zstd.
func DefaultCodecs(d DType) []codec.Spec {
	return []codec.Spec{codec.Little(), codec.Blosc("zstd", 1, d.Unit())}
}

// KeyEncoding says how chunk indices become keys.
type KeyEncoding struct {
	Name      string // "default" (c/0/1) or "v2" (0.1); "" is "default"
	Separator string // "/" or "."; "" is the encoding's own default
}

// normal fills in defaults.
func (k KeyEncoding) normal() (KeyEncoding, error) {
	if k.Name == "" {
		k.Name = "default"
	}
	if k.Separator == "" {
		k.Separator = map[string]string{"default": "/", "v2": "."}[k.Name]
	}
	if k.Name != "default" && k.Name != "v2" {
		return k, fmt.Errorf("chunk key encoding %.50q: %w", k.Name, ErrUnsupported)
	}
	if k.Separator != "/" && k.Separator != "." {
		return k, fmt.Errorf("chunk key separator %.20q: %w", k.Separator, ErrCorrupt)
	}
	return k, nil
}

// Append appends the key, below the array's path, of the chunk with the given
// index.
func (k KeyEncoding) Append(dst []byte, index []int) []byte {
	k, _ = k.normal()
	if k.Name == "default" {
		dst = append(dst, 'c')
	} else if len(index) == 0 {
		return append(dst, '0')
	}
	for i, x := range index {
		if i > 0 || k.Name == "default" {
			dst = append(dst, k.Separator...)
		}
		dst = strconv.AppendInt(dst, int64(x), 10)
	}
	return dst
}

// extension is a named object of metadata.
type extension struct {
	Name          string          `json:"name"`
	Configuration json.RawMessage `json:"configuration,omitempty"`
}

// UnmarshalJSON also takes the short form, a name alone.
func (e *extension) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, &e.Name)
	}
	f, err := parseFields(raw)
	if err != nil {
		return err
	}
	if err := f.need("name", &e.Name); err != nil {
		return err
	}
	if _, err := f.take("configuration", &e.Configuration); err != nil {
		return err
	}
	var must bool // whatever it says, what is used here has to be understood
	if _, err := f.take("must_understand", &must); err != nil {
		return err
	}
	return f.rest()
}

// ParseArray reads the zarr.json document of an array. Fields that it does not
// know are ErrUnsupported, unless they say that they need not be understood;
// what breaks the format is ErrCorrupt.
func ParseArray(doc []byte) (*ArrayMeta, error) {
	m, err := parseArray(doc)
	if err != nil {
		return nil, fmt.Errorf("array metadata: %w", err)
	}
	return m, nil
}

func parseArray(doc []byte) (*ArrayMeta, error) {
	f, err := parseFields(doc)
	if err != nil {
		return nil, err
	}
	if err := f.header("array"); err != nil {
		return nil, err
	}
	m := new(ArrayMeta)
	for _, parse := range []func(fields) error{m.parseType, m.parseGrid, m.parseKeys, m.parseCodecs, m.parseOwn} {
		if err := parse(f); err != nil {
			return nil, err
		}
	}
	if err := f.rest(); err != nil {
		return nil, err
	}
	return m, m.Check()
}

// parseType reads data_type and fill_value.
func (m *ArrayMeta) parseType(f fields) error {
	var name extension
	if err := f.need("data_type", &name); err != nil {
		return err
	}
	if len(name.Configuration) > 0 {
		return fmt.Errorf("data type %.100q with a configuration: %w", name.Name, ErrUnsupported)
	}
	var err error
	if m.DataType, err = ParseDType(name.Name); err != nil {
		return err
	}
	var fill json.RawMessage
	if err := f.need("fill_value", &fill); err != nil {
		return err
	}
	m.Fill, err = m.DataType.ParseFill(fill)
	return err
}

// parseGrid reads shape and chunk_grid.
func (m *ArrayMeta) parseGrid(f fields) error {
	if err := f.need("shape", &m.Shape); err != nil {
		return err
	}
	var grid extension
	if err := f.need("chunk_grid", &grid); err != nil {
		return err
	}
	if grid.Name != "regular" {
		return fmt.Errorf("chunk grid %.50q: %w", grid.Name, ErrUnsupported)
	}
	g, err := parseFields(grid.Configuration)
	if err != nil {
		return fmt.Errorf("chunk_grid: %w", err)
	}
	if err := g.need("chunk_shape", &m.ChunkShape); err != nil {
		return fmt.Errorf("chunk_grid: %w", err)
	}
	return g.rest()
}

// parseKeys reads chunk_key_encoding.
func (m *ArrayMeta) parseKeys(f fields) error {
	var e extension
	if err := f.need("chunk_key_encoding", &e); err != nil {
		return err
	}
	m.Keys.Name = e.Name
	if len(e.Configuration) > 0 {
		c, err := parseFields(e.Configuration)
		if err != nil {
			return fmt.Errorf("chunk_key_encoding: %w", err)
		}
		if _, err := c.take("separator", &m.Keys.Separator); err != nil {
			return err
		}
		if err := c.rest(); err != nil {
			return err
		}
	}
	var err error
	m.Keys, err = m.Keys.normal()
	return err
}

// parseCodecs reads codecs and storage_transformers.
func (m *ArrayMeta) parseCodecs(f fields) error {
	var specs []extension
	if err := f.need("codecs", &specs); err != nil {
		return err
	}
	m.Codecs = make([]codec.Spec, len(specs))
	for i, s := range specs {
		m.Codecs[i] = codec.Spec(s)
	}
	var transformers []json.RawMessage
	if _, err := f.take("storage_transformers", &transformers); err != nil {
		return err
	}
	if len(transformers) > 0 {
		return fmt.Errorf("storage transformers: %w", ErrUnsupported)
	}
	return nil
}

// parseOwn reads attributes and dimension_names.
func (m *ArrayMeta) parseOwn(f fields) error {
	if _, err := f.take("attributes", &m.Attributes); err != nil {
		return err
	}
	var names []*string
	ok, err := f.take("dimension_names", &names)
	if err != nil || !ok || names == nil {
		return err
	}
	m.DimensionNames = make([]string, len(names))
	for i, name := range names {
		if name != nil {
			m.DimensionNames[i] = *name
		}
	}
	return nil
}

// Check reports what is wrong with m, codecs included.
func (m *ArrayMeta) Check() error {
	_, err := m.Pipeline()
	return err
}

// Pipeline checks m and makes the pipeline for its chunks.
func (m *ArrayMeta) Pipeline() (*codec.Pipeline, error) {
	if m.DataType.Size() == 0 {
		return nil, fmt.Errorf("data type %.100q: %w", m.DataType, ErrUnsupported)
	}
	nd := len(m.Shape)
	switch {
	case nd > maxDims:
		return nil, fmt.Errorf("%d dimensions, more than %d: %w", nd, maxDims, ErrUnsupported)
	case len(m.ChunkShape) != nd:
		return nil, fmt.Errorf("chunk shape %v for shape %v: %w", m.ChunkShape, m.Shape, ErrCorrupt)
	case m.DimensionNames != nil && len(m.DimensionNames) != nd:
		return nil, fmt.Errorf("dimension names %.200q for shape %v: %w", m.DimensionNames, m.Shape, ErrCorrupt)
	case m.Fill != nil && len(m.Fill) != m.DataType.Size():
		return nil, fmt.Errorf("fill value of %d bytes for %s: %w", len(m.Fill), m.DataType, ErrCorrupt)
	}
	for i, n := range m.Shape {
		if n < 0 || m.ChunkShape[i] < 1 || n > math.MaxInt-m.ChunkShape[i] {
			return nil, fmt.Errorf("shape %v in chunks of %v: %w", m.Shape, m.ChunkShape, ErrCorrupt)
		}
	}
	if _, err := m.Keys.normal(); err != nil {
		return nil, err
	}
	return codec.New(m.codecs(), codec.Chunk{Shape: m.ChunkShape, Size: m.DataType.Size(), Unit: m.DataType.Unit()})
}

func (m *ArrayMeta) codecs() []codec.Spec {
	if m.Codecs == nil {
		return DefaultCodecs(m.DataType)
	}
	return m.Codecs
}

// fill is one element of the fill value.
func (m *ArrayMeta) fill() []byte {
	if m.Fill == nil {
		return make([]byte, m.DataType.Size())
	}
	return m.Fill
}

// Grid is the number of chunks along each dimension.
func (m *ArrayMeta) Grid() []int {
	grid := make([]int, len(m.Shape))
	for i, n := range m.Shape {
		grid[i] = (n + m.ChunkShape[i] - 1) / m.ChunkShape[i]
	}
	return grid
}

// ChunkKey is the key, below the array's path, of the chunk with that index.
func (m *ArrayMeta) ChunkKey(index ...int) string { return string(m.Keys.Append(nil, index)) }

// Clone is a copy of m whose slices and top-level attributes may be changed.
func (m *ArrayMeta) Clone() *ArrayMeta {
	c := *m
	c.Shape, c.ChunkShape = slices.Clone(m.Shape), slices.Clone(m.ChunkShape)
	c.Fill, c.Codecs = slices.Clone(m.Fill), slices.Clone(m.Codecs)
	c.DimensionNames = slices.Clone(m.DimensionNames)
	c.Attributes = m.Attributes.clone()
	return &c
}

func (a Attributes) clone() Attributes {
	if a == nil {
		return nil
	}
	c := make(Attributes, len(a))
	for k, v := range a {
		c[k] = v
	}
	return c
}

// arrayDocument is zarr.json of an array, in the order in which it is written.
type arrayDocument struct {
	Format         int             `json:"zarr_format"`
	NodeType       string          `json:"node_type"`
	Shape          []int           `json:"shape"`
	DataType       DType           `json:"data_type"`
	Grid           extension       `json:"chunk_grid"`
	Keys           extension       `json:"chunk_key_encoding"`
	Fill           json.RawMessage `json:"fill_value"`
	Codecs         []codec.Spec    `json:"codecs"`
	Attributes     Attributes      `json:"attributes"`
	DimensionNames *[]*string      `json:"dimension_names,omitempty"`
}

// Encode is the zarr.json document of m. Equal metadata gives equal bytes.
func (m *ArrayMeta) Encode() ([]byte, error) {
	if err := m.Check(); err != nil {
		return nil, fmt.Errorf("array metadata: %w", err)
	}
	doc, err := m.document()
	if err != nil {
		return nil, fmt.Errorf("array metadata: %w", err)
	}
	out, err := encode(doc)
	if err != nil {
		return nil, fmt.Errorf("array metadata: %w", err)
	}
	return out, nil
}

func (m *ArrayMeta) document() (*arrayDocument, error) {
	fill, err := m.DataType.FormatFill(m.Fill)
	if err != nil {
		return nil, err
	}
	keys, err := m.Keys.normal()
	if err != nil {
		return nil, err
	}
	grid, err := json.Marshal(map[string][]int{"chunk_shape": orEmpty(m.ChunkShape)})
	if err != nil {
		return nil, err
	}
	separator, err := json.Marshal(map[string]string{"separator": keys.Separator})
	if err != nil {
		return nil, err
	}
	doc := &arrayDocument{
		Format:     3,
		NodeType:   "array",
		Shape:      orEmpty(m.Shape),
		DataType:   m.DataType,
		Grid:       extension{Name: "regular", Configuration: grid},
		Keys:       extension{Name: keys.Name, Configuration: separator},
		Fill:       fill,
		Codecs:     m.codecs(),
		Attributes: m.Attributes,
	}
	if doc.Attributes == nil {
		doc.Attributes = Attributes{}
	}
	if m.DimensionNames != nil {
		names := make([]*string, len(m.DimensionNames))
		for i, name := range m.DimensionNames {
			if name != "" {
				names[i] = &name
			}
		}
		doc.DimensionNames = &names
	}
	return doc, nil
}

func orEmpty(v []int) []int {
	if v == nil {
		return []int{}
	}
	return v
}

// GroupMeta is what the zarr.json of a group says.
type GroupMeta struct {
	Attributes Attributes
	// Members holds the documents of the nodes below the group, by their path
	// relative to it: the consolidated metadata. It is nil where there is none.
	Members map[string]json.RawMessage
}

// consolidated is the member consolidated_metadata of a group's document.
type consolidated struct {
	Kind           string                     `json:"kind"`
	MustUnderstand bool                       `json:"must_understand"`
	Metadata       map[string]json.RawMessage `json:"metadata"`
}

// groupDocument is zarr.json of a group, in the order in which it is written.
type groupDocument struct {
	Format       int           `json:"zarr_format"`
	NodeType     string        `json:"node_type"`
	Attributes   Attributes    `json:"attributes"`
	Consolidated *consolidated `json:"consolidated_metadata,omitempty"`
}

// ParseGroup reads the zarr.json document of a group. Its errors are those of
// ParseArray.
func ParseGroup(doc []byte) (*GroupMeta, error) {
	m, err := parseGroup(doc)
	if err != nil {
		return nil, fmt.Errorf("group metadata: %w", err)
	}
	return m, nil
}

func parseGroup(doc []byte) (*GroupMeta, error) {
	f, err := parseFields(doc)
	if err != nil {
		return nil, err
	}
	if err := f.header("group"); err != nil {
		return nil, err
	}
	m := new(GroupMeta)
	if _, err := f.take("attributes", &m.Attributes); err != nil {
		return nil, err
	}
	var c *consolidated
	if _, err := f.take("consolidated_metadata", &c); err != nil {
		return nil, err
	}
	if c != nil && c.Kind == "inline" && c.Metadata != nil {
		for path := range c.Metadata {
			if err := checkKey(path); err != nil {
				return nil, fmt.Errorf("consolidated metadata: %w: %w", ErrCorrupt, err)
			}
		}
		m.Members = c.Metadata
	}
	return m, f.rest()
}

// Encode is the zarr.json document of m. Equal metadata gives equal bytes.
func (m *GroupMeta) Encode() ([]byte, error) {
	doc := groupDocument{Format: 3, NodeType: "group", Attributes: m.Attributes}
	if doc.Attributes == nil {
		doc.Attributes = Attributes{}
	}
	if m.Members != nil {
		doc.Consolidated = &consolidated{Kind: "inline", Metadata: m.Members}
	}
	out, err := encode(doc)
	if err != nil {
		return nil, fmt.Errorf("group metadata: %w", err)
	}
	return out, nil
}
