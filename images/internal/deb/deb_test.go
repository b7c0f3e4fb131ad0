package deb

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/cubebuild/cube/images/internal/layer"
)

type arMember struct {
	name string
	body []byte
}

// ar writes an archive as dpkg-deb does.
func ar(members ...arMember) []byte {
	b := bytes.NewBufferString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.body))
		b.Write(m.body)
		if len(m.body)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

func tarOf(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		io.WriteString(tw, files[name])
	}
	tw.Close()
	return b.Bytes()
}

func compressed(t testing.TB, ext string, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch ext {
	case "":
		return b
	case ".gz":
		w = gzip.NewWriter(&out)
	case ".xz":
		w, err = xz.NewWriter(&out)
	case ".zst":
		w, err = zstd.NewWriter(&out)
	}
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const control = "Package: toy\nVersion: 1:2.0-3\nArchitecture: all\nDescription: a toy\n with two lines\n"

func toy(t testing.TB, ext string) []byte {
	postinst := "#!/bin/sh\nupdate-alternatives --install /usr/lib/libtoy.so.3 \\\n   libtoy.so.3 /usr/lib/toy/libtoy.so.3 10 \\\n --slave /usr/lib/libtoy.so libtoy.so /usr/lib/toy/libtoy.so\n"
	return ar(
		arMember{"debian-binary", []byte("2.0\n")},
		arMember{"control.tar" + ext, compressed(t, ext, tarOf(t, map[string]string{"./control": control, "./postinst": postinst}))},
		arMember{"data.tar" + ext, compressed(t, ext, tarOf(t, map[string]string{"./usr/lib/toy/libtoy.so.3": "code", "./usr/share/doc/toy/copyright": "free"}))},
	)
}

func TestReadTakesEveryCompression(t *testing.T) {
	t.Parallel()
	for _, ext := range []string{"", ".gz", ".xz", ".zst"} {
		files := make(map[string]string)
		pkg, err := Read(bytes.NewReader(toy(t, ext)), layer.DefaultLimits(), func(h *tar.Header, r io.Reader) error {
			b, err := io.ReadAll(r)
			files[h.Name] = string(b)
			return err
		})
		if err != nil {
			t.Fatalf("%q: %v", ext, err)
		}
		want := map[string]string{"./usr/lib/toy/libtoy.so.3": "code", "./usr/share/doc/toy/copyright": "free"}
		if diff := cmp.Diff(want, files); diff != "" {
			t.Errorf("%q: files:\n%s", ext, diff)
		}
		if pkg.Control["Version"] != "1:2.0-3" || pkg.Raw != control {
			t.Errorf("%q: control %v", ext, pkg.Control)
		}
		wantAlts := []Alternative{
			{"/usr/lib/libtoy.so.3", "/usr/lib/toy/libtoy.so.3", 10},
			{"/usr/lib/libtoy.so", "/usr/lib/toy/libtoy.so", 10},
		}
		if diff := cmp.Diff(wantAlts, pkg.Alternatives()); diff != "" {
			t.Errorf("%q: alternatives:\n%s", ext, diff)
		}
	}
}

func TestReadRefusesWhatIsNoPackage(t *testing.T) {
	t.Parallel()
	good := toy(t, ".gz")
	data := compressed(t, ".gz", tarOf(t, map[string]string{"./a": "b"}))
	ctl := func(text string) []byte {
		return compressed(t, ".gz", tarOf(t, map[string]string{"./control": text}))
	}
	for name, b := range map[string][]byte{
		"nothing":                 {},
		"another file":            []byte("PK\x03\x04 a zip, rather"),
		"an archive cut short":    good[:len(good)-40],
		"a header cut short":      good[:20],
		"data before control":     ar(arMember{"data.tar.gz", data}),
		"no data":                 ar(arMember{"control.tar.gz", ctl(control)}),
		"a control with no name":  ar(arMember{"control.tar.gz", ctl("Version: 1\n")}, arMember{"data.tar.gz", data}),
		"a control of two":        ar(arMember{"control.tar.gz", ctl(control + "\n" + control)}, arMember{"data.tar.gz", data}),
		"an empty control":        ar(arMember{"control.tar.gz", ctl("")}, arMember{"data.tar.gz", data}),
		"a strange compression":   ar(arMember{"control.tar.gz", ctl(control)}, arMember{"data.tar.lz", data}),
		"data that is not gzip":   ar(arMember{"control.tar.gz", ctl(control)}, arMember{"data.tar.gz", []byte("nope")}),
		"a negative size":         append([]byte("!<arch>\n"), []byte(fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n", "x", 0, 0, 0, "1", -5))...),
		"a control line of noise": ar(arMember{"control.tar.gz", ctl("noise\n")}, arMember{"data.tar.gz", data}),
	} {
		_, err := Read(bytes.NewReader(b), layer.DefaultLimits(), func(*tar.Header, io.Reader) error { return nil })
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, want ErrFormat", name, err)
		}
	}
}

func TestAnXZWindowIsBounded(t *testing.T) {
	t.Parallel()
	b := compressed(t, ".xz", []byte("small"))
	if got := xzWindow(b); got != 8<<20 {
		t.Errorf("window of an xz file = %d, want 8 MiB", got)
	}
	at := bytes.Index(b[12:], []byte{0x21, 1}) + 14
	b[at] = 40 // 4 GiB
	if _, _, err := decompress("data.tar.xz", bytes.NewReader(b)); !errors.Is(err, ErrFormat) {
		t.Errorf("a window of 4 GiB: %v, want ErrFormat", err)
	}
}

func TestReadStopsABomb(t *testing.T) {
	t.Parallel()
	zeros := compressed(t, ".gz", tarOf(t, map[string]string{"./zeros": strings.Repeat("\x00", 8<<20)}))
	b := ar(arMember{"control.tar.gz", compressed(t, ".gz", tarOf(t, map[string]string{"./control": control}))}, arMember{"data.tar.gz", zeros})
	limits := layer.Limits{Bytes: 1 << 30, Entries: 10, Ratio: 50, RatioAfter: 1 << 20}
	_, err := Read(bytes.NewReader(b), limits, func(_ *tar.Header, r io.Reader) error {
		_, err := io.Copy(io.Discard, r)
		return err
	})
	if !errors.Is(err, layer.ErrUnsafe) {
		t.Errorf("Read = %v, want ErrUnsafe", err)
	}
}

func TestReachLeavesOutWhatOnlyTheUnwantedNeed(t *testing.T) {
	t.Parallel()
	all := map[string]Stanza{
		"python":  {"Pre-Depends": "libc6 (>= 2.34)", "Depends": "libz | libz-ng, readline, mime-support"},
		"libc6":   {"Depends": "libgcc"},
		"libgcc":  {"Depends": "libc6"},
		"libz":    {"Depends": "dpkg (>= 1.15.4)"},
		"dpkg":    {"Pre-Depends": "libacl:any, libc6"},
		"libacl":  {},
		"media":   {"Provides": "mime-support (= 1)"},
		"unasked": {},
		"readline": {
			"Depends": "readline-common"},
		"readline-common": {},
	}
	without := map[string]bool{"dpkg": true, "readline": true}
	for _, test := range []struct {
		roots []string
		want  string
	}{
		{[]string{"python"}, "libc6 libgcc libz media python"},
		{[]string{"python", "dpkg"}, "dpkg libacl libc6 libgcc libz media python"},
		{[]string{"libacl"}, "libacl"},
		{nil, ""},
	} {
		got := slices.Sorted(maps.Keys(Reach(all, test.roots, without)))
		if diff := cmp.Diff(test.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("Reach(%v):\n%s", test.roots, diff)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, ext := range []string{"", ".gz", ".xz", ".zst"} {
		f.Add(toy(f, ext))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := layer.Limits{Bytes: 1 << 20, Entries: 100, Ratio: 100, RatioAfter: 1 << 16}
		pkg, err := Read(bytes.NewReader(b), limits, func(_ *tar.Header, r io.Reader) error {
			_, err := io.Copy(io.Discard, io.LimitReader(r, 1<<20))
			return err
		})
		if err == nil && (pkg.Control["Package"] == "" || pkg.Control["Version"] == "") {
			t.Error("a package without a name or version")
		}
		if pkg != nil {
			pkg.Alternatives()
		}
	})
}

func FuzzParseStanzas(f *testing.F) {
	f.Add(control + "\n\n" + control)
	f.Add("A: b\n .\n c\n\t d\n")
	f.Fuzz(func(t *testing.T, s string) {
		stanzas, err := ParseStanzas(strings.NewReader(s))
		if err != nil {
			return
		}
		for _, st := range stanzas {
			names(st["Depends"])
			for k := range st {
				if strings.ContainsAny(k, ":\n") {
					t.Errorf("field name %q", k)
				}
			}
		}
	})
}
