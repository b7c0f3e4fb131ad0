package zarr_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/internal/peers"
)

// writeV2 writes arrays and a group of version 2 as zarr-python and xarray do.
const writeV2 = `
import sys
from pathlib import Path
import numcodecs, numpy as np, xarray as xr, zarr

root = sys.argv[1]
rng = np.random.default_rng(1)
compressors = {
    "none": None, "zlib": numcodecs.Zlib(1), "gzip": numcodecs.GZip(5), "lz4": numcodecs.LZ4(), "zstd": numcodecs.Zstd(3),
    "checked": numcodecs.Zstd(3, checksum=True), "blosc": numcodecs.Blosc(), "bits": numcodecs.Blosc("zstd", 3, numcodecs.Blosc.BITSHUFFLE), "auto": numcodecs.Blosc("lz4hc", 3, numcodecs.Blosc.AUTOSHUFFLE),
}
for dtype in ["|b1", "|i1", "|u1", "<i2", ">i4", "<i8", ">u2", "<u4", "<u8", "<f2", ">f4", "<f4", "<f8", "<c8", ">c16", "|V3"]:
    for order in "CF":
        for name, compressor in compressors.items():
            a = zarr.create_array(f"{root}/{dtype[1:]}-{dtype[0] == '>'}-{order}-{name}", shape=(11, 7, 5), chunks=(4, 7, 3), dtype=dtype, order=order, compressors=compressor, zarr_format=2)
            values = rng.integers(0, 2 if dtype == "|b1" else 256, (11, 7, 5 * np.dtype(dtype).itemsize), dtype="u1").view(dtype)
            a[...] = values
            Path(f"{root}/{dtype[1:]}-{dtype[0] == '>'}-{order}-{name}.bin").write_bytes(values.astype(np.dtype(dtype).newbyteorder("<")).tobytes())
ds = xr.Dataset({"v": (("y", "x"), np.arange(12.0).reshape(3, 4), {"units": "m"})}, coords={"x": [1, 2, 3, 4]})
ds.to_zarr(root + "/group", zarr_format=2)
`

func TestArraysOfVersion2AreRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	peers.Run(t, "import warnings; warnings.simplefilter('ignore')\n"+writeV2, dir)
	store := openDir(t, dir)
	paths := documents(t, dir, ".zarray")
	if len(paths) < 16*2*9 {
		t.Fatalf("only %d arrays", len(paths))
	}
	for _, path := range paths {
		if strings.HasPrefix(path, "group/") {
			continue
		}
		_, got, err := readWhole(t, store, path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if want := readFile(t, filepath.Join(dir, path+".bin")); !bytes.Equal(got, want) {
			t.Errorf("%s: values differ", path)
		}
	}
}

func TestGroupsOfVersion2AreReadAndNotChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	peers.Run(t, "import warnings; warnings.simplefilter('ignore')\n"+strings.Replace(writeV2, `"|b1", "|i1", "|u1", "<i2", ">i4", "<i8", ">u2", "<u4", "<u8", "<f2", ">f4", "<f4", "<f8", "<c8", ">c16", "|V3"`, "", 1), dir)
	g, err := zarr.OpenGroup(t.Context(), openDir(t, dir), "group")
	if err != nil {
		t.Fatal(err)
	}
	names, err := g.Arrays(t.Context())
	if diff := cmp.Diff([]string{"v", "x"}, names); diff != "" || err != nil {
		t.Fatalf("arrays: %v%s", err, diff)
	}
	a, err := g.Array(t.Context(), "v")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"y", "x"}, a.Meta().DimensionNames); diff != "" || a.Meta().Attributes["units"] != "m" {
		t.Errorf("dimensions: %s, attributes: %v", diff, a.Meta().Attributes)
	}
	got := make([]float64, 12)
	if err := a.ReadRegion(t.Context(), []int{0, 0}, []int{3, 4}, zarr.Bytes(got)); err != nil || got[11] != 11 {
		t.Errorf("values: %v, %v", got, err)
	}
	if err := g.SetAttributes(t.Context(), nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("change: %v, want ErrUnsupported", err)
	}
}

const goodV2 = `{"zarr_format":2,"shape":[4,6],"chunks":[2,3],"dtype":">f4","compressor":{"id":"zlib","level":1},"fill_value":"NaN","order":"F","filters":null,"dimension_separator":"/"}`

func TestMetadataOfVersion2IsReadAsThatOfVersion3(t *testing.T) {
	t.Parallel()
	m, err := zarr.ParseArrayV2([]byte(goodV2), []byte(`{"_ARRAY_DIMENSIONS":["y","x"],"units":"m"}`))
	if err != nil {
		t.Fatal(err)
	}
	if m.ChunkKey(1, 0) != "1/0" || m.DataType != zarr.Float32 || len(m.Codecs) != 3 || !bytes.Equal(m.Fill, []byte{0, 0, 0xc0, 0x7f}) {
		t.Errorf("metadata: %+v", m)
	}
	if diff := cmp.Diff(zarr.Attributes{"units": "m"}, m.Attributes); diff != "" {
		t.Error(diff)
	}
	for _, fill := range []string{`null`, `0`, `0.0`} {
		doc := strings.Replace(strings.Replace(goodV2, `"NaN"`, fill, 1), ">f4", "<i4", 1)
		if m, err := zarr.ParseArrayV2([]byte(doc), nil); err != nil || !bytes.Equal(append(m.Fill, 0, 0, 0, 0)[:4], make([]byte, 4)) {
			t.Errorf("fill %s: %v", fill, err)
		}
	}
}

func TestMetadataOfVersion2ThatIsNotUnderstoodIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		old, new string
		want     error
	}{
		{`:2,`, `:1,`, zarr.ErrUnsupported},
		{`[2,3]`, `[2]`, zarr.ErrCorrupt},
		{`[2,3]`, `[0,3]`, zarr.ErrCorrupt},
		{`[4,6]`, `[4,-6]`, zarr.ErrCorrupt},
		{`">f4"`, `"f4"`, zarr.ErrUnsupported},
		{`">f4"`, `"!f4"`, zarr.ErrCorrupt},
		{`">f4"`, `">f3"`, zarr.ErrUnsupported},
		{`">f4"`, `">f-4"`, zarr.ErrUnsupported},
		{`">f4"`, `"<U4"`, zarr.ErrUnsupported},
		{`">f4"`, `"<M8[ns]"`, zarr.ErrUnsupported},
		{`">f4"`, `[["a","<f4"]]`, zarr.ErrUnsupported},
		{`">f4"`, `"|V99999999"`, zarr.ErrUnsupported},
		{`"zlib"`, `"lzma"`, zarr.ErrUnsupported},
		{`"level":1`, `"level":99`, zarr.ErrCorrupt},
		{`"F"`, `"Z"`, zarr.ErrCorrupt},
		{`"filters":null`, `"filters":[{"id":"delta"}]`, zarr.ErrUnsupported},
		{`"/"`, `"x"`, zarr.ErrCorrupt},
		{`"NaN"`, `"x"`, zarr.ErrCorrupt},
		{`{"id":"zlib","level":1}`, `{"id":"blosc","cname":"lz4","clevel":5,"shuffle":7}`, zarr.ErrCorrupt},
	} {
		doc := strings.Replace(goodV2, c.old, c.new, 1)
		if doc == goodV2 {
			t.Fatalf("nothing replaced: %s", c.old)
		}
		if _, err := zarr.ParseArrayV2([]byte(doc), nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.new, err, c.want)
		}
	}
	if _, err := zarr.ParseArrayV2([]byte(goodV2), []byte(`[1]`)); !errors.Is(err, zarr.ErrCorrupt) {
		t.Errorf("attributes of no object: %v", err)
	}
}

func FuzzParseV2(f *testing.F) {
	f.Add([]byte(goodV2), []byte(`{"_ARRAY_DIMENSIONS":["y","x"],"a":NaN}`))
	f.Fuzz(func(t *testing.T, zarray, zattrs []byte) {
		if m, err := zarr.ParseArrayV2(zarray, zattrs); err == nil {
			if _, err := zarr.ParseArray([]byte(encoded(t, m))); err != nil {
				t.Fatalf("the same metadata in version 3 does not parse: %v", err)
			}
		}
	})
}
