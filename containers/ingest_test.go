//go:build linux

package containers_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/zarr"
	"github.com/cubebuild/cube/cube/zarr/codec"
	"github.com/cubebuild/cube/graph"
	"github.com/klauspost/compress/gzip"
)

// zarrSteps writes what a store holds below a directory of /cube/out.
func zarrSteps(t testing.TB, at string, write func(ctx context.Context, s zarr.Store) error) []step {
	t.Helper()
	s := new(zarr.MemStore)
	if err := write(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var steps []step
	var visit func(prefix string)
	visit = func(prefix string) {
		for name, err := range s.List(t.Context(), strings.TrimSuffix(prefix, "/")) {
			switch {
			case err != nil:
				t.Fatal(err)
			case strings.HasSuffix(name, "/"):
				visit(prefix + name)
			default:
				value, err := s.Get(t.Context(), prefix+name, nil)
				if err != nil {
					t.Fatal(err)
				}
				file := path.Join(at, prefix+name)
				steps = append(steps, step{Do: "mkdir", Path: path.Dir(file)}, step{Do: "write", Path: file, Data: value})
			}
		}
	}
	visit("")
	return steps
}

// zarrArray writes an array at the place of a store.
func zarrArray(at string, meta zarr.ArrayMeta, values []byte) func(context.Context, zarr.Store) error {
	return func(ctx context.Context, s zarr.Store) error {
		a, err := zarr.CreateArray(ctx, s, at, &meta)
		if err != nil || values == nil {
			return err
		}
		return a.WriteRegion(ctx, make([]int, len(meta.Shape)), meta.Shape, values)
	}
}

// asks is what the outputs of hostile tests should be: a is an array, f a file.
func asks() map[string]graph.RequestOutput {
	a := grids(graph.Float32, 6, 8)
	a.Units = "m"
	return map[string]graph.RequestOutput{"a": a, "f": {Kind: graph.File}}
}

// good is what satisfies them.
func good(t testing.TB) []step {
	return []step{{Do: "write", Path: "a/data.npy", Data: array(t, "float32", ramp(192), 6, 8)}, {Do: "write", Path: "f/data.txt", Data: []byte("text")}}
}

func TestOutputsAreTakenInAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	text := step{Do: "write", Path: "f/data.txt", Data: []byte("text")}
	meta := zarr.ArrayMeta{Shape: []int{6, 8}, ChunkShape: []int{4, 5}, DataType: zarr.Float32, DimensionNames: []string{"y", "x"}, Attributes: zarr.Attributes{"units": "m"}}
	group := func(ctx context.Context, s zarr.Store) error {
		g, err := zarr.CreateGroup(ctx, s, "", nil)
		if err != nil {
			return err
		}
		a, err := g.CreateArray(ctx, "a", &meta)
		if err != nil {
			return err
		}
		if err := a.WriteRegion(ctx, []int{0, 0}, []int{6, 8}, ramp(192)); err != nil {
			return err
		}
		_, err = g.CreateArray(ctx, "x", &zarr.ArrayMeta{Shape: []int{8}, ChunkShape: []int{8}, DataType: zarr.Float64})
		return err
	}
	wide := meta
	wide.ChunkShape = []int{1024, 1024}
	for name, steps := range map[string][]step{
		"npy":         good(t),
		"a group":     append(zarrSteps(t, "a", group), text),
		"a bare node": append(zarrSteps(t, "a", zarrArray("", meta, ramp(192))), text),
		"wide chunks": append(zarrSteps(t, "a", zarrArray("", wide, ramp(192))), text),
	} {
		for where, inMemory := range map[string]int64{"in memory": 0, "on disk": 1} {
			t.Run(name+" "+where, func(t *testing.T) {
				t.Parallel()
				a := action(t, steps...)
				a.Outputs, a.Limits.Disk = asks(), 8<<20
				r, _ := newBench(t, inMemory).run(t, a)
				if got := r.Outputs["a"].Values; !bytes.Equal(got, ramp(192)) {
					t.Errorf("other values: %v", got)
				}
				if len(r.Outputs) != 2 || r.Outputs["f"].File == nil || r.Outputs["f"].Name != "data.txt" {
					t.Errorf("outputs: %v", r.Outputs)
				}
			})
		}
	}
}

// gzipped is n zero bytes, as gzip has them.
func gzipped(t testing.TB, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for range n >> 20 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hostile are things that producers leave, and what is to be said of them.
func hostile(t testing.TB) map[string]struct {
	steps []step
	says  string
} {
	npy := func(b []byte) []step { return []step{{Do: "write", Path: "a/data.npy", Data: b}} }
	header := func(text string, values []byte) []step {
		b := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
		binary.LittleEndian.PutUint16(b[8:], uint16(len(text)))
		return npy(append(append(b, text...), values...))
	}
	meta := zarr.ArrayMeta{Shape: []int{6, 8}, ChunkShape: []int{6, 8}, DataType: zarr.Float32}
	node := func(change func(*zarr.ArrayMeta), more ...step) []step {
		m := meta
		change(&m)
		return append(zarrSteps(t, "a", zarrArray("", m, nil)), more...)
	}
	edited := func(old, new string) []step {
		steps := node(func(*zarr.ArrayMeta) {})
		last := &steps[len(steps)-1]
		var doc bytes.Buffer
		if err := json.Compact(&doc, last.Data); err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(doc.String(), old, new, 1)
		if text == doc.String() {
			t.Fatalf("no %s in %s", old, text)
		}
		last.Data = []byte(text)
		return steps
	}
	chunk := func(b []byte) []step {
		return []step{{Do: "mkdir", Path: "a/c/0"}, {Do: "write", Path: "a/c/0/0", Data: b}}
	}
	gz := func(m *zarr.ArrayMeta) { m.Codecs = []codec.Spec{codec.Little(), codec.Gzip(1)} }
	blosc := func(m *zarr.ArrayMeta) { m.Codecs = []codec.Spec{codec.Little(), codec.Blosc("lz4", 1, 4)} }
	bomb := make([]byte, 64)
	bomb[0], bomb[1], bomb[2], bomb[3] = 2, 1, 1, 4
	binary.LittleEndian.PutUint32(bomb[4:], math.MaxInt32)
	binary.LittleEndian.PutUint32(bomb[8:], math.MaxInt32)
	binary.LittleEndian.PutUint32(bomb[12:], 64)
	values := ramp(192)
	whole := array(t, "float32", values, 6, 8)
	return map[string]struct {
		steps []step
		says  string
	}{
		"nothing":                  {nil, "output a: the producer wrote nothing to its directory"},
		"undeclared role":          {[]step{{Do: "mkdir", Path: "other"}}, "output other: the producer declares no such output; it declares a, f"},
		"undeclared file":          {[]step{{Do: "write", Path: "core.1"}}, "output core.1: the producer declares no such"},
		"hidden file":              {[]step{{Do: "write", Path: ".x"}}, "output .x: the producer declares no such"},
		"role with escapes":        {[]step{{Do: "mkdir", Path: "x\x1b[2J\n\u202eevil"}}, `output "x\x1b[2J\n\u202eevil": the producer`},
		"role with a bell":         {[]step{{Do: "mkdir", Path: "raw"}, {Do: "rename", Path: "raw", To: "/cube/out/\a"}}, `output "\a"`},
		"file beside the array":    {append(npy(whole), step{Do: "write", Path: "a/data.npy.aux"}), "data.npy.aux lies beside data.npy"},
		"file with escapes":        {append(npy(whole), step{Do: "write", Path: "a/\x1b]0;x\a\n"}), `"\x1b]0;x\a\n" lies beside data.npy`},
		"thousands of files":       {append(npy(whole), step{Do: "many", Path: "a", N: 3000}), "lies beside data.npy"},
		"removed":                  {[]step{{Do: "remove", Path: "a"}}, "output a: the producer removed its directory"},
		"link instead of a role":   {[]step{{Do: "remove", Path: "a"}, {Do: "symlink", Path: "a", To: "f"}}, "output a: is a symbolic link, and should be a directory"},
		"file instead of a role":   {[]step{{Do: "remove", Path: "a"}, {Do: "write", Path: "a"}}, "output a: is a file, and should be a directory"},
		"link out of the tree":     {[]step{{Do: "symlink", Path: "a/data.npy", To: "/etc/passwd"}}, "a/data.npy is a symbolic link"},
		"link up":                  {[]step{{Do: "symlink", Path: "a/data.npy", To: "../../../../../../etc/passwd"}}, "a/data.npy is a symbolic link"},
		"link to another role":     {[]step{{Do: "write", Path: "f/x", Data: whole}, {Do: "symlink", Path: "a/data.npy", To: "../f/x"}}, "a/data.npy is a symbolic link"},
		"hard link":                {[]step{{Do: "write", Path: "f/x", Data: whole}, {Do: "link", Path: "a/data.npy", To: "/cube/out/f/x"}}, "a/data.npy is a hard link"},
		"pipe":                     {[]step{{Do: "fifo", Path: "a/data.npy"}}, "a/data.npy is a pipe"},
		"socket":                   {[]step{{Do: "socket", Path: "a/data.npy"}}, "a/data.npy is a socket"},
		"directory":                {[]step{{Do: "mkdir", Path: "a/data.npy"}}, "data.npy is a directory"},
		"unreadable array":         {append(npy(whole), step{Do: "chmod", Path: "a/data.npy", N: 0}), "a/data.npy cannot be read"},
		"unreadable folder":        {append(node(gz), step{Do: "mkdir", Path: "a/c"}, step{Do: "chmod", Path: "a/c", N: 0}), "a/c cannot be read"},
		"deep":                     {[]step{{Do: "deep", Path: "a", N: 300}}, "directories deep"},
		"sparse and huge":          {[]step{{Do: "sparse", Path: "a/data.npy", Data: whole, N: 1 << 40}}, "larger than the disk limit of 8 MiB"},
		"huge by its header":       {header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }\n", nil), "shape is [1000000 1000000]"},
		"absurd by its header":     {header("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 2), }\n", nil), "too large"},
		"fewer values than said":   {npy(whole[:len(whole)-1]), "191 bytes of values, its header says 192"},
		"more values than said":    {npy(append(slices.Clone(whole), 0)), "193 bytes of values, its header says 192"},
		"no values":                {npy(whole[:128]), "0 bytes of values"},
		"cut header":               {npy(whole[:40]), "cut short"},
		"empty array file":         {npy(nil), "data.npy: not a .npy file"},
		"no array file":            {npy([]byte("GIF89a, perhaps")), "data.npy: not a .npy file"},
		"pickle":                   {header("{'descr': '|O', 'fortran_order': False, 'shape': (6, 8), }\n", values), "unsupported array"},
		"header with escapes":      {header("{'descr': '\x1b[31m', 'fortran_order': False, 'shape': (6, 8), }\n", values), `data type \x1b[31m`},
		"big-endian":               {header("{'descr': '>f4', 'fortran_order': False, 'shape': (6, 8), }\n", values), "big-endian"},
		"Fortran order":            {header("{'descr': '<f4', 'fortran_order': True, 'shape': (6, 8), }\n", values), "Fortran order"},
		"other dtype":              {npy(array(t, "float64", ramp(384), 6, 8)), "its dtype is float64, the producer declares float32"},
		"other shape":              {npy(array(t, "float32", values, 8, 6)), "its shape is [8 6], the tile asks for [6 8] ([y x])"},
		"zarr of other shape":      {node(func(m *zarr.ArrayMeta) { m.Shape = []int{6, 9} }), "its shape is [6 9]"},
		"zarr of absurd shape":     {node(func(m *zarr.ArrayMeta) { m.Shape = []int{1 << 40, 1 << 40} }), "its shape is [1099511627776 1099511627776]"},
		"zarr of other dtype":      {node(func(m *zarr.ArrayMeta) { m.DataType = zarr.Int32 }), "its dtype is int32"},
		"zarr of other dims":       {node(func(m *zarr.ArrayMeta) { m.DimensionNames = []string{"x", "y"} }), `its dimensions are ["x" "y"], the tile asks for ["y" "x"]`},
		"zarr of other units":      {node(func(m *zarr.ArrayMeta) { m.Attributes = zarr.Attributes{"units": "ft\x1b"} }), `its units are "ft\x1b", the producer declares "m"`},
		"zarr of packed values":    {node(func(m *zarr.ArrayMeta) { m.Attributes = zarr.Attributes{"scale_factor": 0.1} }), "its attribute scale_factor is 0.1"},
		"zarr of other nodata":     {node(func(m *zarr.ArrayMeta) { m.Attributes = zarr.Attributes{"_FillValue": -9999} }), "its attribute _FillValue has -9999 mean nodata"},
		"zarr of vast chunks":      {node(func(m *zarr.ArrayMeta) { m.ChunkShape = []int{1 << 13, 1 << 13} }), "far larger than the array"},
		"zarr of impossible chunk": {edited(`"chunk_shape":[6,8]`, `"chunk_shape":[1099511627776,1048576]`), "chunk shape"},
		"zarr chunk of other size": {node(func(m *zarr.ArrayMeta) { m.Codecs = []codec.Spec{codec.Little()} }, chunk(values[:100])...), "chunk [0 0]"},
		"gzip bomb":                {node(gz, chunk(gzipped(t, 256<<20))...), "corrupt"},
		"blosc bomb":               {node(blosc, chunk(bomb)...), "corrupt"},
		"chunk is no gzip":         {node(gz, chunk([]byte("\x1b[31m, not gzip"))...), "corrupt"},
		"chunk is a link":          {node(gz, step{Do: "mkdir", Path: "a/c/0"}, step{Do: "symlink", Path: "a/c/0/0", To: "/etc/passwd"}), "a/c/0/0 is a symbolic link"},
		"chunk is a pipe":          {node(gz, step{Do: "mkdir", Path: "a/c/0"}, step{Do: "fifo", Path: "a/c/0/0"}), "a/c/0/0 is a pipe"},
		"vast metadata":            {[]step{{Do: "sparse", Path: "a/zarr.json", N: 6 << 20}}, "metadata may have"},
		"metadata is no JSON":      {[]step{{Do: "write", Path: "a/zarr.json", Data: []byte("\x1b[2J")}}, "corrupt"},
		"unsupported codec":        {edited(`"blosc"`, `"secret\u001b"`), "unsupported"},
		"unsupported field":        {edited(`"zarr_format"`, `"cipher":{"name":"\u001b"},"zarr_format"`), `"cipher"`},
		"group without the array":  {zarrSteps(t, "a", zarrArray("b", meta, values)), "neither data.npy nor a Zarr array is there"},
		"group of other arrays": {append(zarrSteps(t, "a", zarrArray("b", meta, values)),
			step{Do: "write", Path: "a/zarr.json", Data: []byte(`{"zarr_format":3,"node_type":"group"}`)}), "the Zarr group holds no array named a"},
		"file of any kind":   {[]step{{Do: "write", Path: "a/result.tif", Data: []byte("II*")}}, "neither data.npy nor a Zarr array is there"},
		"two files":          {append(npy(whole), step{Do: "write", Path: "f/1"}, step{Do: "write", Path: "f/2"}), "output f: want one file in its directory, found 1 and 2"},
		"no file":            {npy(whole), "output f: the producer wrote nothing"},
		"file is a link":     {append(npy(whole), step{Do: "symlink", Path: "f/x", To: "../a/data.npy"}), "output f: f/x is a symbolic link"},
		"file is a folder":   {append(npy(whole), step{Do: "mkdir", Path: "f/x"}), "output f: x is a directory, and should be a file"},
		"file is sparse":     {append(npy(whole), step{Do: "sparse", Path: "f/x", N: 1 << 40}), "output f: f/x is 1099511627776 bytes long"},
		"file with a tricky": {append(npy(whole), step{Do: "write", Path: "f/x\n.tif\x1b"}), `output f: its file has the name "x\n.tif\x1b"`},
	}
}

func TestHostileOutputsAreRefusedByName(t *testing.T) {
	t.Parallel()
	for name, c := range hostile(t) {
		for where, inMemory := range map[string]int64{"in memory": 0, "on disk": 1} {
			if testing.Short() && inMemory > 0 {
				continue
			}
			t.Run(name+" "+where, func(t *testing.T) {
				t.Parallel()
				a := action(t, c.steps...)
				a.Outputs, a.Limits.Disk = asks(), 8<<20
				f := newBench(t, inMemory).fail(t, a)
				if f.Kind != containers.FailedOutput || !strings.Contains(f.Error(), c.says) {
					t.Errorf("got %s: %v\nwant %s", f.Kind, f, c.says)
				}
				checkPrintable(t, f.Error())
			})
		}
	}
}

func checkPrintable(t testing.TB, text string) {
	t.Helper()
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || len(text) > 4096 {
		t.Errorf("%q is not fit to print", text)
	}
}

func TestADeviceCannotBeMade(t *testing.T) {
	t.Parallel()
	a := action(t, step{Do: "device", Path: "a/data.npy"})
	a.Outputs = asks()
	if f := newBench(t, 0).fail(t, a); f.Kind != containers.FailedExit {
		t.Errorf("got %s: %v", f.Kind, f)
	}
}

func TestAnOutputLargerThanItsDiskSaysSo(t *testing.T) {
	t.Parallel()
	a := action(t, step{Do: "fill", Path: "a/data.npy", N: 9})
	a.Outputs, a.Limits.Disk = asks(), 8<<20
	f := newBench(t, 0).fail(t, a)
	if f.Kind != containers.FailedDisk || !strings.Contains(f.Error(), "limit is 8 MiB") {
		t.Errorf("got %s: %v", f.Kind, f)
	}
}

// TestNothingIsReadOfAnArrayThatIsNotAskedFor is not parallel: it counts what
// the process allocates.
func TestNothingIsReadOfAnArrayThatIsNotAskedFor(t *testing.T) {
	huge := zarr.ArrayMeta{Shape: []int{1 << 20, 1 << 20}, ChunkShape: []int{1 << 12, 1 << 12}, DataType: zarr.Float32}
	lie := fmt.Appendf(nil, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }\n", 1<<20, 1<<20)
	head := append([]byte("\x93NUMPY\x01\x00"), byte(len(lie)), 0)
	for name, steps := range map[string][]step{
		"zarr": zarrSteps(t, "a", zarrArray("", huge, nil)),
		"npy":  {{Do: "mkdir", Path: "a"}, {Do: "sparse", Path: "a/data.npy", Data: append(head, lie...), N: 1 << 42}},
	} {
		dir := t.TempDir()
		apply(t, dir, steps)
		before := allocated()
		_, err := containers.Ingest(t.Context(), dir, map[string]graph.RequestOutput{"a": grids(graph.Float32, 6, 8)}, 1<<43)
		if err == nil || !strings.Contains(err.Error(), "its shape is [1048576 1048576]") {
			t.Errorf("%s: got %v", name, err)
		}
		if n := allocated() - before; n > 8<<20 {
			t.Errorf("%s: %d MiB were allocated", name, n>>20)
		}
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// FuzzIngest lets a producer leave any tree: whatever it is, it is taken in
// whole, or it is the producer's failure and says so in print.
func FuzzIngest(f *testing.F) {
	for _, c := range hostile(f) {
		if b, err := json.Marshal(c.steps); err == nil && len(b) < 1<<16 {
			f.Add(b)
		}
	}
	if b, err := json.Marshal(good(f)); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var steps []step
		if json.Unmarshal(b, &steps) != nil || len(steps) > 64 {
			return
		}
		dir := t.TempDir()
		apply(t, dir, []step{{Do: "mkdir", Path: "a"}, {Do: "mkdir", Path: "f"}})
		apply(t, dir, steps)
		defer apply(t, dir, []step{{Do: "chmod", Path: "a", N: 0o755}, {Do: "chmod", Path: "f", N: 0o755}})
		outputs, err := containers.Ingest(t.Context(), dir, asks(), 1<<20)
		if err != nil {
			var f *containers.Failure
			if !errors.As(err, &f) || f.Kind != containers.FailedOutput || !strings.HasPrefix(f.Error(), "output ") {
				t.Errorf("got %v, want the producer's failure", err)
			}
			checkPrintable(t, err.Error())
			return
		}
		r := containers.Result{Outputs: outputs}
		defer r.Close()
		if len(outputs) != 2 || len(outputs["a"].Values) != 192 || outputs["f"].File == nil {
			t.Errorf("taken in: %v", outputs)
		}
	})
}
