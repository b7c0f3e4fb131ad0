package main

import (
	"testing"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/config"
	"github.com/google/go-cmp/cmp"
)

func TestValuesAreReadAsTheirSpecSays(t *testing.T) {
	t.Parallel()
	fill := graph.Number("255")
	legend := []graph.Class{{Value: 3, Name: "steep"}, {Value: -1, Name: "water"}}
	for _, test := range []struct {
		spec graph.VarSpec
		b    []byte
		want string
	}{
		{graph.VarSpec{DType: graph.Float32}, []byte{0, 0, 0x20, 0x41}, "10"},
		{graph.VarSpec{DType: graph.Float32}, []byte{0, 0, 0xc0, 0x7f}, "nodata"},
		{graph.VarSpec{DType: graph.Float64}, []byte{0, 0, 0, 0, 0, 0, 0xf0, 0xbf}, "-1"},
		{graph.VarSpec{DType: graph.Bool}, []byte{1}, "true"},
		{graph.VarSpec{DType: graph.Uint8, Fill: &fill}, []byte{255}, "nodata"},
		{graph.VarSpec{DType: graph.Uint8, Fill: &fill}, []byte{254}, "254"},
		{graph.VarSpec{DType: graph.Uint8, Legend: legend}, []byte{3}, "steep"},
		{graph.VarSpec{DType: graph.Int8, Legend: legend}, []byte{0xff}, "water"},
		{graph.VarSpec{DType: graph.Int16}, []byte{0xfe, 0xff}, "-2"},
		{graph.VarSpec{DType: graph.Int64}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "-1"},
		{graph.VarSpec{DType: graph.Uint64}, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, "18446744073709551615"},
	} {
		if got := cellText(test.spec, test.b); got != test.want {
			t.Errorf("%s % x reads %q, want %q", test.spec.DType, test.b, got, test.want)
		}
	}
}

func TestLimitsReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{64 << 20: "64MiB", 3 << 30: "3GiB", 1536 << 20: "1536MiB", 2 << 10: "2KiB", 1000: "1000 bytes"} {
		if got := binary(n); got != want {
			t.Errorf("%d reads %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Minute: "1h30m",
		300 * time.Millisecond: "300ms", time.Hour + time.Second: "1h0m1s", 30 * time.Second: "30s"} {
		if got := duration(d); got != want {
			t.Errorf("%v reads %q, want %q", d, got, want)
		}
	}
}

func TestAGuessSaysWhatItStandsOn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		d    time.Duration
		runs int
		want string
	}{
		{0, 0, ""},
		{700 * time.Minute, 2, "about 11 h 40 min (from 2 earlier runs)"},
		{2500 * time.Millisecond, 1, "about 2.5 s (from 1 earlier run)"},
	} {
		if got := about(test.d, test.runs); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

// wide is a vertex of n tiles.
func wide(n int64) *graph.Vertex {
	return &graph.Vertex{Box: grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Hi: n}}, Tiling: grid.Tiling{Y: 1, X: 1}}
}

func TestWhatWouldRunIsCountedInWords(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		p    solve.VertexPreview
		want string
	}{
		{solve.VertexPreview{Hits: 9}, "none"},
		{solve.VertexPreview{Misses: 12000}, "12 000"},
		{solve.VertexPreview{Open: 4}, "up to 4"},
		{solve.VertexPreview{Misses: 2, Open: 4}, "2, up to 4 more"},
		{solve.VertexPreview{Vertex: wide(60000), Misses: 5000, Open: 55000, Unseen: 55000}, "5000, up to 55 000 more (5000 of 60 000 looked at)"},
		{solve.VertexPreview{Failing: 1, Hits: 8}, "none, and 1 known to fail"},
	} {
		if got := countText(&test.p); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
}

func TestLocksAreComparedByWhatTheyPin(t *testing.T) {
	t.Parallel()
	pin := func(digest string) map[string]config.PlatformPin {
		return map[string]config.PlatformPin{"linux/amd64": {Config: digest}}
	}
	before, after := config.NewLock(), config.NewLock()
	before.Images["./a"] = config.LockedImage{Platforms: pin("sha256:1")}
	after.Images["./a"] = config.LockedImage{Platforms: pin("sha256:2")}
	before.Images["./gone"] = config.LockedImage{Platforms: pin("sha256:3")}
	one, two := graph.Sum([]byte("1")), graph.Sum([]byte("2"))
	before.Sources["dem"] = config.LockedSource{URI: "a", SHA256: one}
	after.Sources["dem"] = config.LockedSource{URI: "b", SHA256: two, Inspection: &graph.Inspection{Width: 1}}
	before.Sources["same"] = config.LockedSource{URI: "a", SHA256: one}
	after.Sources["same"] = config.LockedSource{URI: "a", SHA256: one, Inspection: &graph.Inspection{Width: 3, Height: 2, DType: "uint8", CRS: "EPSG:4326"}}
	want := []pinChange{
		{"pin", "image", "./a", "linux/amd64", "sha256:1", "sha256:2", ""},
		{"pin", "image", "./gone", "linux/amd64", "sha256:3", "", ""},
		{"pin", "source", "dem", "", one.String(), two.String(), ""},
		{"pin", "source", "dem", "", "a", "b", "uri"},
		{"pin", "source", "same", "", "", "2 × 3 cells of uint8 in EPSG:4326", "description"},
	}
	if d := cmp.Diff(want, comparePins(before, after)); d != "" {
		t.Error(d)
	}
	if got := comparePins(after, after); len(got) > 0 {
		t.Errorf("a lock differs from itself: %v", got)
	}
}
