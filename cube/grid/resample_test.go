package grid

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// box makes a static box.
func box(y0, y1, x0, x1 int64) Box { return Box{Y: Range{y0, y1}, X: Range{x0, x1}} }

// floats makes a float32 raster of values.
func floats(l Lattice, b Box, values ...float32) Raster {
	r := Raster{Lattice: l, Box: b, DType: "float32", Data: make([]byte, 0, 4*b.Cells())}
	for _, v := range values {
		r.Data = binary.LittleEndian.AppendUint32(r.Data, math.Float32bits(v))
	}
	if len(values) == 0 {
		r.Data = r.Data[:4*b.Cells()]
	}
	return r
}

func (r Raster) floats() (out []float32) {
	for i := 0; i < len(r.Data); i += 4 {
		out = append(out, math.Float32frombits(binary.LittleEndian.Uint32(r.Data[i:])))
	}
	return out
}

// noise is a raster of a dtype with values and holes that depend on the
// absolute index alone.
func noise(l Lattice, b Box, dtype string, nodata []byte) Raster {
	r := Raster{Lattice: l, Box: b, DType: dtype, Nodata: nodata}
	for y := b.Y.Lo; y < b.Y.Hi; y++ {
		for x := b.X.Lo; x < b.X.Hi; x++ {
			rng := rand.New(rand.NewPCG(uint64(y), uint64(x)))
			v := math.Round(100 + 50*math.Sin(float64(y)/7) + 40*math.Cos(float64(x)/9) + 8*rng.Float64())
			hole := rng.IntN(12) == 0 || y%40 > 34 && x%40 > 30
			r.Data = appendValue(r.Data, dtype, v, hole, nodata)
		}
	}
	return r
}

func appendValue(data []byte, dtype string, v float64, hole bool, nodata []byte) []byte {
	switch {
	case hole && nodata != nil:
		return append(data, nodata...)
	case hole:
		v = math.NaN()
	}
	switch dtype {
	case "uint8":
		return append(data, byte(v))
	case "int16":
		return binary.LittleEndian.AppendUint16(data, uint16(int16(v)))
	case "float32":
		return binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
	}
	return binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
}

// window cuts a box out of a raster.
func (r Raster) window(b Box) Raster {
	size := int64(sizes[r.DType])
	out := r
	out.Box, out.Data = b, nil
	for y := b.Y.Lo; y < b.Y.Hi; y++ {
		from := ((y-r.Box.Y.Lo)*r.Box.X.Len() + b.X.Lo - r.Box.X.Lo) * size
		out.Data = append(out.Data, r.Data[from:from+b.X.Len()*size]...)
	}
	return out
}

// layouts are pairs of a source grid and a destination window.
var layouts = map[string]struct {
	src Grid
	dst Lattice
	box Box
}{
	"coarser by 3.7 in one CRS": {
		Grid{Lattice: Lattice{"EPSG:32610", 30, 30, 500000, 4200000}, Box: box(-20, 180, -10, 190)},
		Lattice{"EPSG:32610", 111, 109, 499990, 4200017}, box(-6, 54, -5, 60)},
	"finer by 3 in one CRS": {
		Grid{Lattice: Lattice{"EPSG:32610", 30, 30, 500000, 4200000}, Box: box(0, 60, 0, 70)},
		Lattice{"EPSG:32610", 10, 10, 500000, 4200000}, box(-5, 190, -5, 200)},
	"degrees to UTM": {
		Grid{Lattice: Lattice{"EPSG:4326", 0.001, 0.001, -123, 38}, Box: box(0, 120, 0, 140)},
		Lattice{"EPSG:32610", 70, 70, 500000, 4206000}, box(-3, 190, -4, 170)},
	"UTM to coarse degrees": {
		Grid{Lattice: Lattice{"EPSG:32610", 30, 30, 530000, 4206000}, Box: box(0, 200, 0, 210)},
		Lattice{"EPSG:4269", 0.00123, 0.0013, -122.68, 38.01}, box(0, 50, 0, 70)},
	"UTM to Albers, turned by some degrees": {
		Grid{Lattice: Lattice{"EPSG:32610", 30, 30, 530000, 4206000}, Box: box(0, 150, 0, 160)},
		Lattice{"EPSG:5070", 41, 39, -2289500, 1986300}, box(0, 140, 0, 130)},
	"whole turns of longitude": {
		Grid{Lattice: Lattice{"EPSG:4326", 0.25, 0.25, 0, 50}, Box: box(0, 80, 900, 1000)},
		Lattice{"EPSG:4326", 0.1, 0.1, -135, 49}, box(0, 100, 10, 200)},
	"degrees to a polar plane": {
		Grid{Lattice: Lattice{"EPSG:4326", 2, 2, -180, 90}, Box: box(0, 30, 0, 180)},
		Lattice{"EPSG:3413", 100000, 100000, -2000000, 2000000}, box(0, 40, 0, 40)},
}

func TestResamplingTileByTileEqualsResamplingTheWhole(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		dtype  string
		nodata []byte
	}{{"float32", nil}, {"int16", []byte{0xf1, 0xd8}}, {"uint8", []byte{255}}}
	for name, l := range layouts {
		for _, k := range kinds {
			for _, method := range Resamplings() {
				t.Run(fmt.Sprintf("%s/%s/%s", name, k.dtype, method), func(t *testing.T) {
					t.Parallel()
					src := noise(l.src.Lattice, l.src.Box, k.dtype, k.nodata)
					opts := ResampleOptions{MinValid: 0.3, Domain: l.src.Box}
					whole := Raster{Lattice: l.dst, Box: l.box, DType: k.dtype, Nodata: k.nodata, Data: make([]byte, l.box.Cells()*int64(sizes[k.dtype]))}
					err := Resample(whole, src, method, opts)
					if method == Conservative && l.dst.CRS != l.src.Lattice.CRS && !l.dst.CRS.IsGeographic() {
						if err == nil {
							t.Error("a conservative mean between CRSs was made")
						}
						return
					}
					if err != nil && !(method == Conservative) {
						t.Fatal(err)
					} else if err != nil {
						return
					}
					if allSame(whole) {
						t.Fatal("every cell has one value: the layout tests nothing")
					}
					for tile := range (Tiling{Y: 17, X: 23}).Tiles(l.box) {
						need, err := method.Cover(l.dst, tile.Box, l.src)
						if err != nil {
							t.Fatal(err)
						}
						part := whole
						part.Box, part.Data = tile.Box, make([]byte, tile.Box.Cells()*int64(sizes[k.dtype]))
						if err := Resample(part, src.window(need), method, opts); err != nil {
							t.Fatalf("tile %s of source %s: %v", tile.Box, need, err)
						}
						if want := whole.window(tile.Box); !bytes.Equal(part.Data, want.Data) {
							t.Fatalf("tile %s differs from the whole", tile.Box)
						}
					}
				})
			}
		}
	}
}

func allSame(r Raster) bool {
	size := sizes[r.DType]
	for i := size; i < len(r.Data); i += size {
		if !bytes.Equal(r.Data[i:i+size], r.Data[:size]) {
			return false
		}
	}
	return true
}

// A raster from 0° to 360° serves a grid in the west, on the raster's own
// lattice too, where cells are copied: a window may lie on one turn of
// longitude or on two.
func TestWholeTurnsOfLongitudeAreOne(t *testing.T) {
	t.Parallel()
	source := Lattice{"EPSG:4326", 0.25, 0.25, 0, 50}
	domain := box(0, 12, 0, 1440)
	for name, from := range map[string]float64{"on its cells": -2, "between its cells": -2.1} {
		for _, kind := range []struct {
			dtype  string
			nodata []byte
		}{{"float32", nil}, {"int16", []byte{0xf1, 0xd8}}} {
			for _, method := range Resamplings() {
				t.Run(fmt.Sprintf("%s/%s/%s", name, kind.dtype, method), func(t *testing.T) {
					t.Parallel()
					src := noise(source, domain, kind.dtype, kind.nodata)
					at := func(turns float64, cols Range) []byte {
						b := Box{Y: Range{2, 10}, X: cols}
						dst := Raster{Lattice: source, Box: b, DType: kind.dtype, Nodata: kind.nodata, Data: make([]byte, b.Cells()*int64(sizes[kind.dtype]))}
						dst.Lattice.X0 = from + turns*360
						if err := Resample(dst, src, method, ResampleOptions{Domain: domain}); err != nil {
							t.Fatal(err)
						}
						if allSame(dst) {
							t.Errorf("%g turns away columns %v have one value", turns, cols)
						}
						return dst.Data
					}
					for _, cols := range []Range{{-20, 6}, {-4, 30}, {9, 20}} {
						here := at(0, cols)
						for _, turns := range []float64{-1, 1, 3} {
							if !bytes.Equal(at(turns, cols), here) {
								t.Errorf("%g turns away columns %v are others", turns, cols)
							}
						}
					}
				})
			}
		}
	}
}

func TestResamplingToItsOwnLatticeCopiesEveryBit(t *testing.T) {
	t.Parallel()
	l := Lattice{"EPSG:4326", 0.0027777777777778, 0.0021, -105.9, 40.6}
	src := noise(l, box(-7, 33, -5, 45), "float32", nil)
	binary.LittleEndian.PutUint32(src.Data[8:], 0xffc12345) // a NaN of its own
	for _, method := range Resamplings() {
		dst := src
		dst.Data = make([]byte, len(src.Data))
		if err := Resample(dst, src, method, ResampleOptions{MinValid: 1}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(dst.Data, src.Data) {
			t.Errorf("%s changes a raster on its own lattice", method)
		}
		moved := dst
		moved.Lattice.X0, moved.Lattice.Y0 = l.X0+3*l.DX, l.Y0-2*l.DY
		moved.Box = box(-9, 31, -8, 42)
		if err := Resample(moved, src, method, ResampleOptions{}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(moved.Data, src.Data) {
			t.Errorf("%s changes a raster whose origin is another whole cell", method)
		}
	}
}

func TestEachMethodMakesTheValueThatItsNameSays(t *testing.T) {
	t.Parallel()
	nan := float32(math.NaN())
	src := Lattice{"EPSG:32610", 10, 10, 0, 0}
	coarse := Lattice{"EPSG:32610", 20, 20, 0, 0}
	half := Lattice{"EPSG:32610", 15, 15, 0, 0}
	fine := Lattice{"EPSG:32610", 5, 5, 0, 0}
	tests := []struct {
		name     string
		method   Resampling
		dst      Lattice
		box      Box
		minValid float64
		in, want []float32
	}{
		{"nearest takes the cell under the centre, the south-eastern one on a corner", Nearest, coarse, box(0, 1, 0, 2), 0,
			[]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, []float32{6, 8}},
		{"average is the mean", Average, coarse, box(0, 1, 0, 2), 0,
			[]float32{1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{3.5, 5.5}},
		{"average leaves nodata out", Average, coarse, box(0, 1, 0, 2), 0,
			[]float32{1, nan, nan, nan, 5, 6, nan, nan, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{4, nan}},
		{"average asks for the share of data that it is told", Average, coarse, box(0, 1, 0, 2), 0.75,
			[]float32{1, nan, 3, nan, 5, 6, nan, 1, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{4, nan}},
		{"average weighs by overlap", Average, half, box(0, 1, 0, 1), 0,
			[]float32{4, 8, 0, 0, 16, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{(4 + 4 + 8 + 8) / 2.25}},
		{"sum shares out by overlap", Sum, half, box(0, 1, 0, 1), 0,
			[]float32{4, 8, 0, 0, 16, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{4 + 4 + 8 + 8}},
		{"sum to finer cells splits", Sum, fine, box(0, 1, 0, 4), 0,
			[]float32{4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{1, 1, 2, 2}},
		{"mode is the commonest, the smallest of several", Mode, coarse, box(0, 1, 0, 2), 0,
			[]float32{7, 3, 9, 2, 3, 1, 2, 9, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{3, 2}},
		{"min is the least", Min, coarse, box(0, 1, 0, 2), 0,
			[]float32{7, 3, 9, nan, -3, 1, 2, 9, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{-3, 2}},
		{"max is the greatest", Max, coarse, box(0, 1, 0, 2), 0,
			[]float32{7, 3, -9, nan, 3, 1, -2, -9, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{7, -2}},
		{"conservative is average where cells are equal", Conservative, coarse, box(0, 1, 0, 2), 0,
			[]float32{1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{3.5, 5.5}},
		{"bilinear interpolates between centres and holds at the edge", Bilinear, fine, box(1, 2, 0, 4), 0,
			[]float32{0, 8, 8, 8, 0, 8, 8, 8, 0, 8, 8, 8, 0, 8, 8, 8}, []float32{0, 2, 6, 8}},
		{"bilinear has no data where the centre has none", Bilinear, fine, box(1, 2, 0, 4), 0,
			[]float32{nan, 8, 8, 8, nan, 8, 8, 8, 0, 8, 8, 8, 0, 8, 8, 8}, []float32{nan, nan, 8, 8}},
		{"cubic is steeper, and bilinear where its kernel leaves the source", Cubic, fine, box(4, 5, 2, 6), 0,
			[]float32{0, 0, 8, 8, 0, 0, 8, 8, 0, 0, 8, 8, 0, 0, 8, 8}, []float32{0, 1.625, 6.375, 8}},
		{"beyond the source there is nothing", Average, coarse, box(0, 1, 1, 3), 0,
			[]float32{1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0}, []float32{5.5, nan}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dst := floats(tt.dst, tt.box)
			if err := Resample(dst, floats(src, box(0, 4, 0, 4), tt.in...), tt.method, ResampleOptions{MinValid: tt.minValid}); err != nil {
				t.Fatal(err)
			}
			if got := dst.floats(); !slices.EqualFunc(got, tt.want, sameFloat) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func sameFloat(a, b float32) bool {
	return a == b || a != a && b != b || math.Abs(float64(a-b)) < 1e-5*math.Abs(float64(b))
}

func TestSumKeepsTheTotalAcrossCRSs(t *testing.T) {
	t.Parallel()
	l := layouts["UTM to Albers, turned by some degrees"]
	src := noise(l.src.Lattice, box(60, 90, 60, 90), "float64", make([]byte, 8))
	whole := Raster{Lattice: l.dst, Box: box(-100, 400, -100, 400), DType: "float64", Data: make([]byte, 500*500*8)}
	if err := Resample(whole, src, Sum, ResampleOptions{}); err != nil {
		t.Fatal(err)
	}
	total := func(r Raster) (s float64) {
		for i := 0; i < len(r.Data); i += 8 {
			if v := math.Float64frombits(binary.LittleEndian.Uint64(r.Data[i:])); v == v {
				s += v
			}
		}
		return s
	}
	if a, b := total(src), total(whole); a == 0 || math.Abs(a-b) > 1e-9*a {
		t.Errorf("the source holds %v, the result %v", a, b)
	}
}

func TestConservativeWeighsDegreesByTheirAreaOnTheGround(t *testing.T) {
	t.Parallel()
	src := floats(Lattice{"EPSG:4326", 10, 10, 0, 80}, box(0, 2, 0, 1), 1, 0)
	dst := floats(Lattice{"EPSG:4326", 10, 20, 0, 80}, box(0, 1, 0, 1))
	if err := Resample(dst, src, Conservative, ResampleOptions{}); err != nil {
		t.Fatal(err)
	}
	sin := func(d float64) float64 { return math.Sin(d * math.Pi / 180) }
	want := (sin(80) - sin(70)) / (sin(80) - sin(60)) // of the sphere
	if got := float64(dst.floats()[0]); math.Abs(got-want) > 0.002 {
		t.Errorf("the northern half weighs %v, want about %v", got, want)
	}
}

func TestIntegersAreRoundedHeldToTheirRangeAndKeptFromNodata(t *testing.T) {
	t.Parallel()
	fine, coarse := Lattice{"EPSG:32610", 10, 10, 0, 0}, Lattice{"EPSG:32610", 20, 20, 0, 0}
	tests := []struct {
		name   string
		method Resampling
		nodata []byte
		in     []byte
		want   byte
	}{
		{"half rounds to even", Average, []byte{255}, []byte{1, 2, 2, 1}, 2},
		{"a sum stops at the greatest value", Sum, nil, []byte{200, 200, 0, 0}, 255},
		{"a mean that is nodata moves by one", Average, []byte{10}, []byte{9, 11, 9, 11}, 11},
		{"no data but nodata", Average, []byte{10}, []byte{10, 10, 10, 10}, 10},
		{"without nodata all are data", Average, nil, []byte{0, 0, 0, 8}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dst := Raster{Lattice: coarse, Box: box(0, 1, 0, 1), DType: "uint8", Nodata: tt.nodata, Data: make([]byte, 1)}
			src := Raster{Lattice: fine, Box: box(0, 2, 0, 2), DType: "uint8", Nodata: tt.nodata, Data: tt.in}
			if err := Resample(dst, src, tt.method, ResampleOptions{}); err != nil {
				t.Fatal(err)
			}
			if dst.Data[0] != tt.want {
				t.Errorf("got %d, want %d", dst.Data[0], tt.want)
			}
		})
	}
}

func TestEveryPlaneIsResampledAlike(t *testing.T) {
	t.Parallel()
	l := layouts["degrees to UTM"]
	src := noise(l.src.Lattice, l.src.Box, "float32", nil)
	for _, method := range []Resampling{Nearest, Cubic, Average, Mode} {
		one := Raster{Lattice: l.dst, Box: l.box, DType: "float32", Data: make([]byte, 4*l.box.Cells())}
		if err := Resample(one, src, method, ResampleOptions{}); err != nil {
			t.Fatal(err)
		}
		flat := bytes.Repeat([]byte{0, 0, 0x80, 0x3f}, len(src.Data)/4)
		three, from := one, src
		three.Data = make([]byte, 3*len(one.Data))
		from.Data = slices.Concat(src.Data, flat, src.Data)
		if err := Resample(three, from, method, ResampleOptions{}); err != nil {
			t.Fatal(err)
		}
		n := len(one.Data)
		if !bytes.Equal(three.Data[:n], one.Data) || !bytes.Equal(three.Data[2*n:], one.Data) {
			t.Errorf("%s: a plane depends on the others", method)
		}
	}
}

func TestAWindowThatLacksWhatTheSourceHasIsRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"coarser by 3.7 in one CRS", "degrees to UTM"} {
		l := layouts[name]
		src := noise(l.src.Lattice, l.src.Box, "float32", nil)
		dst := floats(l.dst, l.box)
		cut := src.Box
		cut.X.Hi -= 40
		for _, method := range []Resampling{Nearest, Bilinear, Average} {
			err := Resample(dst, src.window(cut), method, ResampleOptions{Domain: l.src.Box})
			if !errors.Is(err, ErrWindow) {
				t.Errorf("%s, %s: got %v, want ErrWindow", name, method, err)
			}
		}
	}
}

func TestRastersThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	l := Lattice{"EPSG:32610", 10, 10, 0, 0}
	ok := floats(l, box(0, 2, 0, 2))
	tests := map[string]func(dst, src *Raster, m *Resampling, o *ResampleOptions){
		"unknown method":         func(_, _ *Raster, m *Resampling, _ *ResampleOptions) { *m = "magic" },
		"unknown dtype":          func(d, s *Raster, _ *Resampling, _ *ResampleOptions) { d.DType, s.DType = "complex64", "complex64" },
		"two dtypes":             func(d, _ *Raster, _ *Resampling, _ *ResampleOptions) { d.DType = "int32" },
		"short data":             func(d, _ *Raster, _ *Resampling, _ *ResampleOptions) { d.Data = d.Data[:15] },
		"more planes":            func(d, _ *Raster, _ *Resampling, _ *ResampleOptions) { d.Data = make([]byte, 32) },
		"nodata of a wrong size": func(_, s *Raster, _ *Resampling, _ *ResampleOptions) { s.Nodata = []byte{1} },
		"no CRS":                 func(_, s *Raster, _ *Resampling, _ *ResampleOptions) { s.Lattice.CRS = "" },
		"no cell size":           func(_, s *Raster, _ *Resampling, _ *ResampleOptions) { s.Lattice.DX = 0 },
		"an absurd ratio":        func(d, _ *Raster, _ *Resampling, _ *ResampleOptions) { d.Lattice.DX = 1e12 },
		"an absurd box":          func(d, _ *Raster, _ *Resampling, _ *ResampleOptions) { d.Box = box(0, math.MaxInt64, 0, math.MaxInt64) },
		"an absurd share":        func(_, _ *Raster, _ *Resampling, o *ResampleOptions) { o.MinValid = math.NaN() },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dst, src, m, o := ok, ok, Average, ResampleOptions{}
			spoil(&dst, &src, &m, &o)
			if err := Resample(dst, src, m, o); err == nil {
				t.Error("no error")
			}
		})
	}
}

func BenchmarkResample(b *testing.B) {
	for name, l := range layouts {
		for _, method := range []Resampling{Nearest, Bilinear, Average, Mode} {
			b.Run(name+"/"+string(method), func(b *testing.B) {
				src := noise(l.src.Lattice, l.src.Box, "float32", nil)
				dst := floats(l.dst, l.box)
				b.SetBytes(int64(len(dst.Data)))
				for b.Loop() {
					if err := Resample(dst, src, method, ResampleOptions{Domain: l.src.Box}); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(l.box.Cells()), "ns/cell")
			})
		}
	}
}
