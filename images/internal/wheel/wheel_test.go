package wheel

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/images/internal/layer"
)

type entry struct {
	name, body string
	mode       fs.FileMode
}

func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		if e.mode == 0 {
			e.mode = 0o644
		}
		h.SetMode(e.mode)
		w, err := zw.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, e.body)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var meta = entry{name: "toy-1.0.dist-info/WHEEL", body: "Wheel-Version: 1.0\n"}

var layout = Layout{Site: "site", Prefix: "usr/local", Interpreter: "/usr/bin/python3.11"}

func unpack(t testing.TB, dir string, b []byte) error {
	t.Helper()
	tree, err := layer.OpenTree(dir, layer.Limits{Bytes: 1 << 20, Entries: 100})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	return Unpack(bytes.NewReader(b), int64(len(b)), tree, layout)
}

func TestUnpackPutsEachPartWhereItBelongs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	err := unpack(t, dir, zipOf(t, meta,
		entry{name: "toy/__init__.py", body: "x = 1\n"},
		entry{name: "toy/native.so", body: "elf", mode: 0o755},
		entry{name: "toy-1.0.data/purelib/pure.py", body: "p"},
		entry{name: "toy-1.0.data/platlib/plat.py", body: "q"},
		entry{name: "toy-1.0.data/scripts/toy", body: "#!python\nprint()\n"},
		entry{name: "toy-1.0.data/scripts/sh", body: "#!/bin/sh\n"},
		entry{name: "toy-1.0.data/data/share/toy.txt", body: "d"},
		entry{name: "toy-1.0.data/headers/toy.h", body: "h"},
	))
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, _ := os.ReadFile(p)
			st, _ := d.Info()
			rel, _ := filepath.Rel(dir, p)
			got[rel] = st.Mode().String() + " " + string(b)
		}
		return err
	})
	want := map[string]string{
		"site/toy-1.0.dist-info/WHEEL": "-rw-r--r-- Wheel-Version: 1.0\n",
		"site/toy/__init__.py":         "-rw-r--r-- x = 1\n",
		"site/toy/native.so":           "-rwxr-xr-x elf",
		"site/pure.py":                 "-rw-r--r-- p",
		"site/plat.py":                 "-rw-r--r-- q",
		"usr/local/bin/toy":            "-rwxr-xr-x #!/usr/bin/python3.11\nprint()\n",
		"usr/local/bin/sh":             "-rwxr-xr-x #!/bin/sh\n",
		"usr/local/share/toy.txt":      "-rw-r--r-- d",
		"usr/local/include/toy.h":      "-rw-r--r-- h",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	good := zipOf(t, meta, entry{name: "a.py", body: strings.Repeat("random enough ", 50)})
	for name, test := range map[string]struct {
		b    []byte
		want error
	}{
		"dot-dot":               {zipOf(t, meta, entry{name: "../evil", body: "x"}), layer.ErrUnsafe},
		"dot-dot by data":       {zipOf(t, meta, entry{name: "toy-1.0.data/data/../../../../evil", body: "x"}), layer.ErrUnsafe},
		"an absolute name":      {zipOf(t, meta, entry{name: "/evil", body: "x"}), layer.ErrUnsafe},
		"a backslash":           {zipOf(t, meta, entry{name: `..\evil`, body: "x"}), layer.ErrUnsafe},
		"a symlink":             {zipOf(t, meta, entry{name: "l", body: "/etc", mode: 0o777 | fs.ModeSymlink}), layer.ErrUnsafe},
		"a device":              {zipOf(t, meta, entry{name: "d", mode: fs.ModeDevice | 0o666}), layer.ErrUnsafe},
		"one file twice":        {zipOf(t, meta, entry{name: "a"}, entry{name: "./a"}), layer.ErrUnsafe},
		"too many bytes":        {zipOf(t, meta, entry{name: "a", body: strings.Repeat("0", 2<<20)}), layer.ErrUnsafe},
		"no metadata":           {zipOf(t, entry{name: "a.py"}), ErrFormat},
		"no zip at all":         {[]byte("not a zip"), ErrFormat},
		"a broken file":         {flip(good, 60), ErrFormat},
		"a zip that is cut off": {good[:len(good)-30], ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir := filepath.Join(top, "in")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := unpack(t, dir, test.b); err == nil || test.want == layer.ErrUnsafe && !errors.Is(err, layer.ErrUnsafe) {
				t.Errorf("Unpack = %v, want %v", err, test.want)
			}
			if names, _ := os.ReadDir(top); len(names) != 1 {
				t.Errorf("something was written outside: %v", names)
			}
		})
	}
}

// flip changes the bytes of the first file's content.
func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	for i := at; i < at+8; i++ {
		b[i] ^= 0xff
	}
	return b
}

func TestParseName(t *testing.T) {
	t.Parallel()
	for file, want := range map[string][2]string{
		"numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl": {"numpy", "2.4.6"},
		"click_plugins-1.1.1.2-py2.py3-none-any.whl":                              {"click-plugins", "1.1.1.2"},
		"ruamel.yaml-0.18-1-py3-none-any.whl":                                     {"ruamel-yaml", "0.18"},
		"numpy-2.4.6.tar.gz":                                                      {},
		"numpy.whl":                                                               {},
	} {
		name, version, err := ParseName(file)
		if (err != nil) != (want[0] == "") || name != want[0] || version != want[1] {
			t.Errorf("ParseName(%s) = %q, %q, %v", file, name, version, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(zipOf(f, meta, entry{name: "toy/__init__.py", body: "x"}, entry{name: "toy-1.0.data/scripts/toy", body: "#!python\n"}))
	f.Add(zipOf(f, meta, entry{name: "../evil", body: "x"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		top := t.TempDir()
		dir := filepath.Join(top, "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		unpack(t, dir, b)
		if names, _ := os.ReadDir(top); len(names) != 1 {
			t.Fatalf("something was written outside: %v", names)
		}
	})
}
