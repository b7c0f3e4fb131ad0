// Package geotiff writes GeoTIFF files: tiled, deflated, with a predictor, the
// reference system by its EPSG code, and the nodata value and the units where
// GDAL looks for them. A file that may pass 4 GiB is a BigTIFF. Bands are
// stored one after the other.
package geotiff

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"image/color"
	"io"
	"runtime"
	"strconv"

	"github.com/klauspost/compress/zlib"
	"golang.org/x/sync/errgroup"
)

// TileSize is the number of rows and columns of a tile.
const TileSize = 256

// Image is what a file holds but for its values.
type Image struct {
	Columns, Rows int64
	Bands         int64
	DType         string // uint8 … uint64, int8 … int64, float32 or float64
	Nodata        string // as text; "" where all values are data

	EPSG       int // 0: unknown
	Geographic bool
	Transform  [6]float64 // GDAL's order, north up

	Colors []color.RGBA // of the values of one uint8 band, by value
	Items  []Item
}

// Item is a piece of GDAL's metadata: of one band, or of the whole file where
// Band is negative. A Role of "unittype" is the band's units and of
// "description" its name.
type Item struct {
	Band  int
	Name  string
	Role  string
	Value string
}

// ErrFormat says that an image is none that a GeoTIFF can hold.
var ErrFormat = errors.New("not a GeoTIFF's")

// Tile is a window of the image: rows and columns, within its bounds.
type Tile struct{ Row, Column, Rows, Columns int64 }

// Read returns the values of a window of all bands: little-endian, band by
// band, each in C order. The slice may be used again at the next call.
type Read func(t Tile) ([]byte, error)

// Write writes an image; read is called for one tile after the other.
func Write(w io.WriteSeeker, m *Image, read Read) error {
	e, err := newEncoder(w, m)
	if err != nil {
		return err
	}
	return e.finish(w, read)
}

// finish writes all of the file.
func (e *encoder) finish(w io.WriteSeeker, read Read) error {
	if err := e.write(e.start()); err != nil {
		return err
	}
	if err := e.tiles(read); err != nil {
		return err
	}
	if err := e.pad(); err != nil {
		return err
	}
	directory := e.at
	if err := e.directory(); err != nil {
		return err
	}
	// The file's start says where the directory is.
	where, pointer := int64(4), binary.LittleEndian.AppendUint32(nil, uint32(directory))
	if e.big {
		where, pointer = 8, binary.LittleEndian.AppendUint64(nil, uint64(directory))
	}
	if _, err := w.Seek(where, io.SeekStart); err != nil {
		return err
	}
	_, err := w.Write(pointer)
	return err
}

// encoder is a file in the making.
type encoder struct {
	*Image
	w         io.Writer
	big       bool
	size      int // bytes of a value
	at        int64
	across    int64 // tiles
	down      int64
	predictor uint16
	offsets   []int64
	counts    []int64
}

// maxTiles bounds the tables of tiles, which are held in memory.
const maxTiles = 1 << 26

func newEncoder(w io.Writer, m *Image) (*encoder, error) {
	size, ok := sizes[m.DType]
	if !ok || m.Columns < 1 || m.Rows < 1 || m.Bands < 1 || m.Bands > 65535 || m.Columns > 1<<31-1 || m.Rows > 1<<31-1 {
		return nil, fmt.Errorf("%d × %d × %d of %s: %w", m.Bands, m.Rows, m.Columns, m.DType, ErrFormat)
	}
	if len(m.Colors) > 0 && (m.DType != "uint8" || m.Bands != 1 || len(m.Colors) != 256) {
		return nil, fmt.Errorf("colours of %s: %w", m.DType, ErrFormat)
	}
	e := &encoder{Image: m, w: w, size: size, across: (m.Columns + TileSize - 1) / TileSize, down: (m.Rows + TileSize - 1) / TileSize}
	n := e.across * e.down
	if n > maxTiles/m.Bands {
		return nil, fmt.Errorf("%d tiles: %w", n, ErrFormat)
	}
	n *= m.Bands
	e.offsets, e.counts = make([]int64, n), make([]int64, n)
	e.big = n*(TileSize*TileSize*int64(size)+TileSize) > 4_000_000_000 // deflate adds a little at worst
	switch {
	case m.DType == "float32" || m.DType == "float64":
		e.predictor = 3
	case size <= 4 && len(m.Colors) == 0:
		e.predictor = 2
	default:
		e.predictor = 1
	}
	return e, nil
}

var sizes = map[string]int{"uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "uint64": 8, "int64": 8, "float32": 4, "float64": 8}

// start is the file's first bytes; the directory's place is filled in later.
func (e *encoder) start() []byte {
	if e.big {
		return append([]byte("II\x2b\x00\x08\x00\x00\x00"), make([]byte, 8)...)
	}
	return append([]byte("II\x2a\x00"), make([]byte, 4)...)
}

func (e *encoder) write(b []byte) error {
	n, err := e.w.Write(b)
	e.at += int64(n)
	return err
}

func (e *encoder) pad() error { return e.write(make([]byte, -e.at&7)) }

// tiles writes all tiles, some rows of them in parallel.
func (e *encoder) tiles(read Read) error {
	var group []packed
	flush := func() error {
		err := e.compress(group)
		group = group[:0]
		return err
	}
	for row := range e.down {
		for column := range e.across {
			t := Tile{Row: row * TileSize, Column: column * TileSize}
			t.Rows, t.Columns = min(TileSize, e.Rows-t.Row), min(TileSize, e.Columns-t.Column)
			values, err := read(t)
			if err != nil {
				return err
			}
			plane := t.Rows * t.Columns * int64(e.size)
			if int64(len(values)) != plane*e.Bands {
				return fmt.Errorf("tile at row %d, column %d: %d bytes, want %d", t.Row, t.Column, len(values), plane*e.Bands)
			}
			for band := range e.Bands {
				i := (band*e.down+row)*e.across + column
				group = append(group, packed{index: i, raw: e.whole(t, values[band*plane:][:plane])})
				if len(group) >= 4*runtime.GOMAXPROCS(0) {
					if err := flush(); err != nil {
						return err
					}
				}
			}
		}
	}
	return flush()
}

// packed is a tile on its way to the file.
type packed struct {
	index int64
	raw   []byte
}

// whole is a tile at its full size, which what lies beyond the image fills with
// zeros.
func (e *encoder) whole(t Tile, values []byte) []byte {
	out := make([]byte, TileSize*TileSize*e.size)
	line := int(t.Columns) * e.size
	for y := range int(t.Rows) {
		copy(out[y*TileSize*e.size:], values[y*line:][:line])
	}
	return out
}

// compress compresses tiles at once and writes them in order.
func (e *encoder) compress(group []packed) error {
	out := make([]bytes.Buffer, len(group))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range group {
		g.Go(func() error {
			e.predict(group[i].raw)
			z := zlib.NewWriter(&out[i])
			_, err := z.Write(group[i].raw)
			return errors.Join(err, z.Close())
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, p := range group {
		e.offsets[p.index], e.counts[p.index] = e.at, int64(out[i].Len())
		if err := e.write(out[i].Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// predict replaces values by what they differ from their neighbours by, which
// compresses better.
func (e *encoder) predict(tile []byte) {
	line := TileSize * e.size
	for ; len(tile) >= line; tile = tile[line:] {
		switch e.predictor {
		case 2:
			differences(tile[:line], e.size)
		case 3:
			floats(tile[:line], e.size)
		}
	}
}

// differences is predictor 2: each integer less the one before it.
func differences(row []byte, size int) {
	le := binary.LittleEndian
	for i := len(row) - size; i >= size; i -= size {
		switch a, b := row[i:], row[i-size:]; size {
		case 1:
			a[0] -= b[0]
		case 2:
			le.PutUint16(a, le.Uint16(a)-le.Uint16(b))
		case 4:
			le.PutUint32(a, le.Uint32(a)-le.Uint32(b))
		}
	}
}

// floats is predictor 3: all highest bytes first, then the next ones, each less
// the byte before it.
func floats(row []byte, size int) {
	n := len(row) / size
	apart := make([]byte, len(row))
	for i := range n {
		for b := range size {
			apart[b*n+i] = row[i*size+size-1-b]
		}
	}
	for i := len(apart) - 1; i > 0; i-- {
		apart[i] -= apart[i-1]
	}
	copy(row, apart)
}

// Types of a directory's fields.
const (
	ascii    = 2
	short    = 3
	long     = 4
	double   = 12
	long8    = 16
	keyCount = 4 // shorts of a geo key
)

// field is an entry of the directory.
type field struct {
	tag, kind uint16
	count     int64
	data      []byte
}

func shorts(tag uint16, v ...uint16) field {
	f := field{tag: tag, kind: short, count: int64(len(v))}
	for _, n := range v {
		f.data = binary.LittleEndian.AppendUint16(f.data, n)
	}
	return f
}

func longs(tag uint16, v ...uint32) field {
	f := field{tag: tag, kind: long, count: int64(len(v))}
	for _, n := range v {
		f.data = binary.LittleEndian.AppendUint32(f.data, n)
	}
	return f
}

func doubles(tag uint16, v ...float64) field {
	f := field{tag: tag, kind: double, count: int64(len(v))}
	f.data, _ = binary.Append(nil, binary.LittleEndian, v) // of numbers of a fixed size
	return f
}

func text(tag uint16, s string) field {
	return field{tag: tag, kind: ascii, count: int64(len(s)) + 1, data: append([]byte(s), 0)}
}

// places is a field of file offsets.
func (e *encoder) places(tag uint16, v []int64) field {
	f := field{tag: tag, kind: long, count: int64(len(v))}
	if e.big {
		f.kind = long8
	}
	for _, n := range v {
		if e.big {
			f.data = binary.LittleEndian.AppendUint64(f.data, uint64(n))
		} else {
			f.data = binary.LittleEndian.AppendUint32(f.data, uint32(n))
		}
	}
	return f
}

// fields are the directory's entries, in order of their tags.
func (e *encoder) fields() []field {
	bands := int(e.Bands)
	photometric := uint16(1) // black is zero
	if len(e.Colors) > 0 {
		photometric = 3
	}
	all := []field{
		longs(256, uint32(e.Columns)), longs(257, uint32(e.Rows)),
		shorts(258, repeat(uint16(8*e.size), bands)...),
		shorts(259, 8), // deflate
		shorts(262, photometric),
		shorts(277, uint16(bands)),
		shorts(284, planar(bands)),
		shorts(317, e.predictor),
	}
	if len(e.Colors) > 0 {
		all = append(all, shorts(320, palette(e.Colors)...))
	}
	all = append(all, longs(322, TileSize), longs(323, TileSize), e.places(324, e.offsets), e.places(325, e.counts))
	if bands > 1 {
		all = append(all, shorts(338, repeat(0, bands-1)...))
	}
	all = append(all, shorts(339, repeat(sampleFormat(e.DType), bands)...))
	t := e.Transform
	all = append(all, doubles(33550, t[1], -t[5], 0), doubles(33922, 0, 0, 0, t[0], t[3], 0), shorts(34735, e.geoKeys()...))
	if meta := e.metadata(); meta != "" {
		all = append(all, text(42112, meta))
	}
	if e.Nodata != "" {
		all = append(all, text(42113, e.Nodata))
	}
	return all
}

func repeat(v uint16, n int) []uint16 {
	out := make([]uint16, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// planar says whether bands are stored apart.
func planar(bands int) uint16 {
	if bands > 1 {
		return 2
	}
	return 1
}

func sampleFormat(dtype string) uint16 {
	switch dtype[0] {
	case 'u':
		return 1
	case 'i':
		return 2
	}
	return 3
}

// palette is all reds, then all greens, then all blues.
func palette(colors []color.RGBA) []uint16 {
	out := make([]uint16, 0, 3*len(colors))
	for _, part := range []func(color.RGBA) uint8{
		func(c color.RGBA) uint8 { return c.R }, func(c color.RGBA) uint8 { return c.G }, func(c color.RGBA) uint8 { return c.B },
	} {
		for _, c := range colors {
			out = append(out, uint16(part(c))*257)
		}
	}
	return out
}

// geoKeys are the reference system: pixels are areas, and the code says the
// rest.
func (e *encoder) geoKeys() []uint16 {
	keys := [][keyCount]uint16{}
	switch {
	case e.EPSG == 0:
		keys = append(keys, [4]uint16{1025, 0, 1, 1})
	case e.Geographic:
		keys = append(keys, [4]uint16{1024, 0, 1, 2}, [4]uint16{1025, 0, 1, 1}, [4]uint16{2048, 0, 1, uint16(e.EPSG)}, [4]uint16{2054, 0, 1, 9102})
	default:
		keys = append(keys, [4]uint16{1024, 0, 1, 1}, [4]uint16{1025, 0, 1, 1}, [4]uint16{3072, 0, 1, uint16(e.EPSG)}, [4]uint16{3076, 0, 1, 9001})
	}
	out := []uint16{1, 1, 0, uint16(len(keys))}
	for _, k := range keys {
		out = append(out, k[:]...)
	}
	return out
}

// metadata is GDAL's XML.
func (e *encoder) metadata() string {
	if len(e.Items) == 0 {
		return ""
	}
	var b bytes.Buffer
	b.WriteString("<GDALMetadata>\n")
	for _, item := range e.Items {
		b.WriteString(`  <Item name="`)
		_ = xml.EscapeText(&b, []byte(item.Name)) // to memory
		b.WriteByte('"')
		if item.Band >= 0 {
			b.WriteString(` sample="` + strconv.Itoa(item.Band) + `"`)
		}
		if item.Role != "" {
			b.WriteString(` role="` + item.Role + `"`)
		}
		b.WriteByte('>')
		// GDAL takes values for escaped twice.
		var once bytes.Buffer
		_ = xml.EscapeText(&once, []byte(item.Value))
		_ = xml.EscapeText(&b, once.Bytes())
		b.WriteString("</Item>\n")
	}
	b.WriteString("</GDALMetadata>\n")
	return b.String()
}

// directory writes the directory and, behind it, what does not fit into its
// entries.
func (e *encoder) directory() error {
	all := e.fields()
	entry, inline := int64(12), 4
	var b []byte
	if e.big {
		entry, inline = 20, 8
		b = binary.LittleEndian.AppendUint64(b, uint64(len(all)))
	} else {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(all)))
	}
	behind := e.at + int64(len(b)) + entry*int64(len(all)) + int64(inline)
	behind += -behind & 7
	var rest []byte
	for _, f := range all {
		b = binary.LittleEndian.AppendUint16(b, f.tag)
		b = binary.LittleEndian.AppendUint16(b, f.kind)
		b = e.word(b, f.count)
		if len(f.data) <= inline {
			b = append(append(b, f.data...), make([]byte, inline-len(f.data))...)
			continue
		}
		b = e.word(b, behind+int64(len(rest)))
		rest = append(rest, f.data...)
		rest = append(rest, make([]byte, -len(rest)&7)...)
	}
	b = e.word(b, 0) // there is no further directory
	if err := e.write(b); err != nil {
		return err
	}
	if err := e.pad(); err != nil {
		return err
	}
	return e.write(rest)
}

// word is a number that is as long as an offset.
func (e *encoder) word(b []byte, n int64) []byte {
	if e.big {
		return binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return binary.LittleEndian.AppendUint32(b, uint32(n))
}
