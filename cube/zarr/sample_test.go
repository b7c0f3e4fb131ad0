package zarr_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/internal/peers"
)

// samples is the folder of stores that other programs wrote.
func samples(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CUBE_SAMPLE_DATA")
	if dir == "" {
		t.Skip("NOT TESTED on stores of other programs: CUBE_SAMPLE_DATA is not set")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// documents finds the folders below dir that hold a file of one of the names,
// relative to it.
func documents(t *testing.T, dir string, names ...string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && slices.Contains(names, d.Name()) {
			rel, err := filepath.Rel(dir, filepath.Dir(path))
			if err != nil {
				return err
			}
			found = append(found, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Compact(found)
}

// readWhole reads an array of a store whole.
func readWhole(t *testing.T, store zarr.Reader, path string) (*zarr.Array, []byte, error) {
	t.Helper()
	a, err := zarr.OpenArray(t.Context(), store, path)
	if err != nil {
		return nil, nil, err
	}
	values := make([]byte, product(a.Meta().Shape)*a.Meta().DataType.Size())
	return a, values, a.ReadRegion(t.Context(), make([]int, len(a.Meta().Shape)), a.Meta().Shape, values)
}

func TestSampleStoresReadAsZarrPythonReadsThem(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(samples(t), "zarr")
	store := openDir(t, dir)
	work := t.TempDir()
	var cases []*peerCase
	groups, unsupported := 0, 0
	for _, path := range documents(t, dir, "zarr.json", ".zarray") {
		if _, err := zarr.OpenGroup(t.Context(), store, path); err == nil {
			groups++
			continue
		}
		a, values, err := readWhole(t, store, path)
		switch {
		case errors.Is(err, zarr.ErrUnsupported):
			unsupported++
			t.Logf("%s: %v", path, err)
			continue
		case strings.HasPrefix(path, "gdal_zarr/byte_cf1.zr3/"), strings.HasPrefix(path, "gdal_zarr/v3/test_deprecated_no_codecs.zr3/"):
			// Drafts of the format had no codecs; the format itself requires them.
			if !errors.Is(err, zarr.ErrCorrupt) || !strings.Contains(err.Error(), "codecs") {
				t.Errorf("%s: error %v, want one about codecs", path, err)
			}
			continue
		case path == "gdal_zarr/array_attrs.zarr": // its metadata is no JSON
			if !errors.Is(err, zarr.ErrCorrupt) {
				t.Errorf("%s: error %v, want ErrCorrupt", path, err)
			}
			continue
		case err != nil:
			t.Errorf("%s: %v", path, err)
			continue
		}
		name := strings.ReplaceAll(path, "/", "-")
		format := 3
		if _, err := os.Stat(filepath.Join(dir, path, "zarr.json")); err != nil {
			format = 2
		}
		if err := os.Symlink(filepath.Join(dir, path), filepath.Join(work, name)); err != nil {
			t.Fatal(err)
		}
		cases = append(cases, &peerCase{Name: name, DType: a.Meta().DataType.String(), Shape: append([]int{}, a.Meta().Shape...), Skip: []string{}, Format: format, Meta: json.RawMessage("{}"), values: values})
	}
	t.Logf("%d arrays, %d groups, %d unsupported", len(cases), groups, unsupported)
	if len(cases) < 20 {
		t.Errorf("only %d arrays were read", len(cases))
	}
	writeCases(t, work, cases)
	peers.Run(t, script(t, "check.py"), "zarr", work)
}

func TestSampleGroupsGiveTheSameThroughConsolidatedMetadata(t *testing.T) {
	t.Parallel()
	store := openDir(t, filepath.Join(samples(t), "zarr", "derived"))
	for _, name := range []string{"recipe_dem.zarr", "recipe_t2m.zarr"} {
		g, err := zarr.OpenGroup(t.Context(), store, name)
		if err != nil {
			t.Fatal(err)
		}
		arrays, err := g.Arrays(t.Context())
		if err != nil || len(arrays) < 4 || !g.Consolidated() {
			t.Fatalf("%s: arrays %q, error %v", name, arrays, err)
		}
		for _, member := range arrays {
			a, err := g.Array(t.Context(), member)
			if err != nil {
				t.Fatal(err)
			}
			b, err := zarr.OpenArray(t.Context(), store, name+"/"+member)
			if err != nil {
				t.Fatal(err)
			}
			inline, own := encoded(t, a.Meta()), encoded(t, b.Meta())
			if inline != own {
				t.Errorf("%s/%s: inline metadata differs from the array's own", name, member)
			}
		}
	}
}

func encoded(t *testing.T, m *zarr.ArrayMeta) string {
	t.Helper()
	doc, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

func TestAdversarialStoresGiveClearErrors(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(samples(t), "adversarial")
	store := openDir(t, dir)
	for _, path := range documents(t, dir, "zarr.json", ".zarray") {
		if _, err := zarr.OpenGroup(t.Context(), store, path); err == nil {
			continue
		}
		_, _, err := readWhole(t, store, path)
		if !errors.Is(err, zarr.ErrCorrupt) && !errors.Is(err, zarr.ErrUnsupported) {
			t.Errorf("%s: error %v, want one of the format", path, err)
		}
	}
}
