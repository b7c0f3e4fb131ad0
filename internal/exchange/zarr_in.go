package exchange

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/graph"
	"golang.org/x/sync/errgroup"
)

// ZarrImport says what is brought in, and overrides what the group says.
type ZarrImport struct {
	Variable string
	Array    string // in the group; "" where there is one only
	CRS      string
	Nodata   string
	Units    string
	LongName string
	Legend   []graph.Class

	// Grid, if not nil, is what the array is brought onto, by Resampling or, where
	// that is empty, as suits its values.
	Grid       *grid.Grid
	Resampling grid.Resampling
	Tiling     grid.Tiling
}

// Imported is a variable that was brought in.
type Imported struct {
	Version *cube.Version
	Layout  cube.Layout
	Native  float64 // ground metres
}

// ImportZarr makes a version of an array of the Zarr group in a folder. What the
// user can mend is an *InputError.
func ImportZarr(ctx context.Context, c *cube.Cube, dir string, o ZarrImport) (*Imported, error) {
	store, err := zarr.OpenDir(dir, zarr.DirConfig{})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	g, err := zarr.OpenGroup(ctx, store, "")
	if errors.Is(err, zarr.ErrNotExist) {
		return nil, &InputError{"the folder is no Zarr group"}
	}
	if err != nil {
		return nil, err
	}
	z := zarrImport{ZarrImport: o, cube: c, store: store, group: g}
	if err := z.open(ctx); err != nil {
		return nil, &InputError{err.Error()}
	}
	return z.read(ctx)
}

// zarrImport is an array that is brought in.
type zarrImport struct {
	ZarrImport
	cube  *cube.Cube
	store zarr.Reader
	group *zarr.Group
	name  string // of the array
	array *zarr.Array
	meta  *zarr.ArrayMeta
	spec  graph.VarSpec
	grid  grid.Grid
	flip  bool     // rows go north
	mask  []byte   // a float that means no data, beside NaN
	times bool     // the first dimension is time
	drop  bool     // and has one step
	names []string // of the dimensions
}

// open finds the array and what it means.
func (z *zarrImport) open(ctx context.Context) (err error) {
	if z.name, err = z.choose(ctx); err != nil {
		return err
	}
	if z.array, err = z.group.Array(ctx, z.name); err != nil {
		return err
	}
	z.meta = z.array.Meta()
	z.names = z.meta.DimensionNames
	for _, key := range []string{"scale_factor", "add_offset"} {
		if _, packed := z.meta.Attributes[key]; packed {
			return fmt.Errorf("%s is packed (%s): unpack it first", z.name, key)
		}
	}
	if err := z.lattice(ctx); err != nil {
		return err
	}
	z.times = z.names[0] == "time"
	if z.times {
		if err := z.timeAxis(ctx); err != nil {
			return err
		}
	}
	return z.meaning(ctx)
}

// choose is the array that is asked for, or the only one with two dimensions
// or more.
func (z *zarrImport) choose(ctx context.Context) (string, error) {
	names, err := z.group.Arrays(ctx)
	if err != nil {
		return "", err
	}
	var fit []string
	for _, name := range names {
		a, err := z.group.Array(ctx, name)
		if err == nil && len(a.Meta().Shape) >= 2 && len(a.Meta().DimensionNames) == len(a.Meta().Shape) {
			fit = append(fit, name)
		}
	}
	switch {
	case z.Array != "" && slices.Contains(fit, z.Array):
		return z.Array, nil
	case z.Array != "":
		return "", fmt.Errorf("the group has no array %s; it holds %s", z.Array, list(fit))
	case len(fit) == 1:
		return fit[0], nil
	case len(fit) == 0:
		return "", errors.New("the group holds no array with named dimensions y and x")
	}
	return "", fmt.Errorf("the group holds %s; name one", list(fit))
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// text is an attribute that is text.
func text(a zarr.Attributes, key string) string {
	s, _ := a[key].(string)
	return s
}

// lattice finds where the array lies.
func (z *zarrImport) lattice(ctx context.Context) error {
	n := len(z.meta.Shape)
	ny, nx := z.meta.Shape[n-2], z.meta.Shape[n-1]
	mapping := zarr.Attributes{}
	if name := text(z.meta.Attributes, "grid_mapping"); name != "" {
		if a, err := z.group.Array(ctx, name); err == nil {
			mapping = a.Meta().Attributes
		}
	}
	crs, err := z.system(mapping)
	if err != nil {
		return err
	}
	transform, ok := geoTransform(text(mapping, "GeoTransform"))
	if !ok {
		if transform, err = z.fromCoordinates(ctx, ny, nx); err != nil {
			return err
		}
	} else if transform[5] > 0 {
		transform[3], transform[5], z.flip = transform[3]+float64(ny)*transform[5], -transform[5], true
	}
	z.grid, err = grid.Like(crs, transform, int64(nx), int64(ny))
	return err
}

// system is the reference system: as the option says, or the grid mapping, the
// group, or the names of the dimensions.
func (z *zarrImport) system(mapping zarr.Attributes) (grid.CRS, error) {
	for _, s := range []string{z.CRS, text(mapping, "crs_wkt"), text(mapping, "spatial_ref"), text(z.group.Attributes(), "proj:code")} {
		if s != "" {
			return grid.ParseCRS(s)
		}
	}
	if y := z.names[len(z.names)-2]; y == "lat" || y == "latitude" {
		return "EPSG:4326", nil
	}
	return "", errors.New("it does not say its reference system; say it, such as EPSG:4326")
}

// geoTransform reads six numbers in GDAL's order.
func geoTransform(s string) (t [6]float64, ok bool) {
	parts := strings.Fields(s)
	if len(parts) != 6 {
		return t, false
	}
	for i, p := range parts {
		var err error
		if t[i], err = strconv.ParseFloat(p, 64); err != nil {
			return t, false
		}
	}
	return t, true
}

// fromCoordinates makes a transform from the centres of rows and columns.
func (z *zarrImport) fromCoordinates(ctx context.Context, ny, nx int) (t [6]float64, err error) {
	n := len(z.names)
	y0, dy, err := z.axis(ctx, z.names[n-2], ny)
	if err != nil {
		return t, err
	}
	x0, dx, err := z.axis(ctx, z.names[n-1], nx)
	if err != nil {
		return t, err
	}
	if dx <= 0 {
		return t, fmt.Errorf("coordinate %s goes west", z.names[n-1])
	}
	if z.flip = dy > 0; z.flip {
		y0, dy = y0+float64(ny-1)*dy, -dy
	}
	return [6]float64{x0 - dx/2, dx, 0, y0 - dy/2, 0, dy}, nil
}

// maxAxis bounds the coordinates that are read.
const maxAxis = 1 << 22

// axis reads an evenly spaced coordinate: its first value and its step.
func (z *zarrImport) axis(ctx context.Context, name string, n int) (first, step float64, err error) {
	values, err := z.coordinate(ctx, name, n)
	if err != nil {
		return 0, 0, err
	}
	if n < 2 {
		return 0, 0, fmt.Errorf("coordinate %s has one value, which does not say how large a cell is", name)
	}
	first, step = values[0], (values[n-1]-values[0])/float64(n-1)
	for i, v := range values {
		if !(math.Abs(v-first-float64(i)*step) <= math.Abs(step)*0.01) {
			return 0, 0, fmt.Errorf("coordinate %s is not evenly spaced (value %d)", name, i)
		}
	}
	return first, step, nil
}

// coordinate reads a coordinate as numbers.
func (z *zarrImport) coordinate(ctx context.Context, name string, n int) ([]float64, error) {
	a, err := z.group.Array(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("coordinate %s: %w", name, err)
	}
	meta := a.Meta()
	if len(meta.Shape) != 1 || meta.Shape[0] != n || n > maxAxis {
		return nil, fmt.Errorf("coordinate %s does not fit its dimension", name)
	}
	b := make([]byte, n*meta.DataType.Size())
	if err := a.ReadRegion(ctx, []int{0}, []int{n}, b); err != nil {
		return nil, err
	}
	out := make([]float64, n)
	for i := range out {
		switch meta.DataType {
		case zarr.Float64:
			out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
		case zarr.Float32:
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
		case zarr.Int64:
			out[i] = float64(int64(binary.LittleEndian.Uint64(b[8*i:])))
		case zarr.Int32:
			out[i] = float64(int32(binary.LittleEndian.Uint32(b[4*i:])))
		default:
			return nil, fmt.Errorf("coordinate %s is %s", name, meta.DataType)
		}
	}
	return out, nil
}

// timeAxis gives the grid its time, unless there is one step alone.
func (z *zarrImport) timeAxis(ctx context.Context) error {
	n := z.meta.Shape[0]
	if z.drop = n == 1; z.drop {
		return nil
	}
	first, step, err := z.axis(ctx, "time", n)
	if err != nil {
		return err
	}
	a, err := z.group.Array(ctx, "time")
	if err != nil {
		return err
	}
	unit, since, ok := strings.Cut(text(a.Meta().Attributes, "units"), " since ")
	per := UnitSeconds(unit)
	if !ok || per == 0 {
		return fmt.Errorf("time has the units %q", text(a.Meta().Attributes, "units"))
	}
	switch c := text(a.Meta().Attributes, "calendar"); c {
	case "", "standard", "gregorian", "proleptic_gregorian":
	default:
		return fmt.Errorf("time is of the calendar %s", c)
	}
	origin, err := cfTime(since)
	if err != nil {
		return err
	}
	start, length := origin+int64(math.Round(first*per)), int64(math.Round(step*per))
	z.grid, err = z.grid.WithTime(start, start+int64(n)*length, length)
	return err
}

// cfTime reads the instant that times are counted from; it is UTC.
func cfTime(s string) (int64, error) {
	s = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSpace(s), " UTC"), "Z")
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02", "2006-1-2 15:04:05", "2006-1-2"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.Unix(), nil
		}
	}
	return 0, fmt.Errorf("time is counted from %q, which is no date", s)
}

// meaning is the spec, from the attributes and the options.
func (z *zarrImport) meaning(ctx context.Context) error {
	attrs := z.meta.Attributes
	s := graph.VarSpec{Name: z.Variable, Kind: graph.Static, DType: graph.DType(z.meta.DataType), Units: text(attrs, "units"),
		LongName: text(attrs, "long_name"), Standard: text(attrs, "standard_name"), Legend: z.Legend}
	if s.DType.Size() == 0 {
		return fmt.Errorf("%s is %s, which no variable can be", z.name, z.meta.DataType)
	}
	if z.times && !z.drop {
		s.Kind = graph.Time
	}
	for i, name := range z.names[:len(z.names)-2] {
		if i > 0 || !z.times {
			s.Dims = append(s.Dims, graph.Dim{Name: name, Size: int64(z.meta.Shape[i])})
		}
	}
	if z.Units != "" {
		s.Units = z.Units
	}
	if z.LongName != "" {
		s.LongName = z.LongName
	}
	if !s.DType.IsFloat() && s.Legend == nil {
		s.Legend = zarrFlags(attrs)
	}
	if len(s.Legend) > 0 {
		s.Units = ""
	}
	if err := z.noData(ctx, &s); err != nil {
		return err
	}
	z.spec = s.WithDefaults()
	return nil
}

// noData finds the value that means no data. xarray writes that of a float of
// any size as the base64 of a float64.
func (z *zarrImport) noData(ctx context.Context, s *graph.VarSpec) error {
	number := cmp.Or(z.Nodata, z.fillOfV2(ctx))
	switch v := z.meta.Attributes["_FillValue"].(type) {
	case json.Number:
		number = cmp.Or(number, v.String())
	case string:
		b, err := base64.StdEncoding.DecodeString(v)
		if number == "" && s.DType.IsFloat() && err == nil && len(b) == 8 {
			number = strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)), 'g', -1, 64)
		}
	}
	if number == "" || s.DType == graph.Bool {
		return nil
	}
	v, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return fmt.Errorf("no data is %q, which is no number", number)
	}
	switch s.DType {
	case graph.Float32:
		z.mask = binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v)))
	case graph.Float64:
		z.mask = binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))
	default:
		n := graph.Number(number)
		s.Fill = &n
	}
	return nil
}

// fillOfV2 is the fill value of an array of version 2, where it means no data;
// "" where the array is of version 3, or has none.
func (z *zarrImport) fillOfV2(ctx context.Context) string {
	b, err := z.store.Get(ctx, z.name+"/.zarray", nil)
	if err != nil {
		return ""
	}
	var doc struct {
		Fill any `json:"fill_value"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber() // so that no digit is lost
	if err := d.Decode(&doc); err != nil || doc.Fill == nil {
		return ""
	}
	return fmt.Sprint(doc.Fill)
}

// zarrFlags is the legend that CF's attributes give.
func zarrFlags(a zarr.Attributes) []graph.Class {
	values, _ := a["flag_values"].([]any)
	var words []string
	for _, v := range values {
		n, ok := v.(json.Number)
		if !ok {
			return nil
		}
		words = append(words, n.String())
	}
	colors := map[string]string{}
	for i, c := range strings.Fields(text(a, "flag_colors")) {
		if i < len(words) {
			colors[words[i]] = c
		}
	}
	return Flags(strings.Join(words, " "), text(a, "flag_meanings"), colors)
}

// read brings the values in, onto the grid that is asked for.
func (z *zarrImport) read(ctx context.Context) (*Imported, error) {
	native := grid.ResolutionMetres(z.grid.Lattice, z.grid.Box)
	l := cube.NewLayout(z.spec, z.grid, z.Tiling)
	v, err := z.fill(ctx, l, func(ctx context.Context, box grid.Box) ([]byte, error) { return z.window(ctx, l, box) })
	if err != nil || z.Grid == nil {
		return &Imported{v, l, native}, err
	}
	target := *z.Grid
	target.Time, target.Box.T = z.grid.Time, z.grid.Box.T
	own := grid.ResolutionMetres(target.Lattice, target.Box)
	method := grid.Default(z.spec.Categorical(), own > 1.5*native)
	if z.Resampling != "" {
		method = z.Resampling
	}
	on := cube.NewLayout(z.spec, target, z.Tiling)
	onto, err := z.fill(ctx, on, func(ctx context.Context, box grid.Box) ([]byte, error) {
		return z.cube.ReadOnto(ctx, v, target, box, method, 0.5)
	})
	return &Imported{onto, on, math.Max(native, own)}, err
}

// maxChunk bounds what is held of a chunk, whatever a document says.
const maxChunk = 256 << 20

// fill makes a version of what f returns for each chunk's box.
func (z *zarrImport) fill(ctx context.Context, l cube.Layout, f func(context.Context, grid.Box) ([]byte, error)) (*cube.Version, error) {
	if err := l.Valid(); err != nil {
		return nil, &InputError{err.Error()}
	}
	size := int64(l.Spec.DType.Size())
	for _, n := range l.ChunkShape() {
		if n > 0 && size > maxChunk/n {
			return nil, &InputError{"its further dimensions are too large: a chunk would hold over 256 MiB"}
		}
		size *= n
	}
	b, err := z.cube.NewBuilder(ctx, l)
	if err != nil {
		return nil, err
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range l.Chunks() {
		if inner.Err() != nil {
			break
		}
		box := l.ChunkBox(l.At(i))
		g.Go(func() error {
			values, err := f(inner, box)
			if err != nil {
				return err
			}
			refs, err := z.cube.PutTile(inner, l, box, values)
			if err != nil {
				return err
			}
			return b.Set(inner, box, refs)
		})
	}
	if err := errors.Join(g.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	return b.Finish(ctx)
}

// window reads a box of the array, north first, NaN where there is no data.
func (z *zarrImport) window(ctx context.Context, l cube.Layout, box grid.Box) ([]byte, error) {
	start, shape := make([]int, len(z.meta.Shape)), slices.Clone(z.meta.Shape)
	n, g := len(shape), z.grid.Box
	if z.times && !z.drop {
		start[0], shape[0] = int(box.T.Lo-g.T.Lo), int(box.T.Len())
	}
	start[n-2], shape[n-2] = int(box.Y.Lo-g.Y.Lo), int(box.Y.Len())
	start[n-1], shape[n-1] = int(box.X.Lo-g.X.Lo), int(box.X.Len())
	if z.flip {
		start[n-2] = z.meta.Shape[n-2] - start[n-2] - shape[n-2]
	}
	values := make([]byte, l.Bytes(box))
	if err := z.array.ReadRegion(ctx, start, shape, values); err != nil {
		return nil, err
	}
	if z.flip {
		turnRows(values, shape[n-2], shape[n-1]*z.meta.DataType.Size())
	}
	if z.mask != nil {
		nan := nanOf(z.spec.DType)
		for at := 0; at < len(values); at += len(z.mask) {
			if bytes.Equal(values[at:at+len(z.mask)], z.mask) {
				copy(values[at:], nan)
			}
		}
	}
	return values, nil
}

// turnRows reverses the order of the rows of each plane.
func turnRows(b []byte, rows, line int) {
	spare := make([]byte, line)
	for ; len(b) >= rows*line && rows > 0; b = b[rows*line:] {
		for i, j := 0, rows-1; i < j; i, j = i+1, j-1 {
			upper, lower := b[i*line:][:line], b[j*line:][:line]
			copy(spare, upper)
			copy(upper, lower)
			copy(lower, spare)
		}
	}
}

func nanOf(d graph.DType) []byte {
	if d == graph.Float32 {
		return binary.LittleEndian.AppendUint32(nil, 0x7fc00000)
	}
	return binary.LittleEndian.AppendUint64(nil, 0x7ff8000000000000)
}
