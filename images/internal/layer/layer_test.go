package layer

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// archive writes a tar of headers, each followed by as many bytes as it says.
func archive(t testing.TB, hs ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, h := range hs {
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			tw.Write(bytes.Repeat([]byte("x"), int(h.Size)))
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name string, size int64) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size}
}

func link(typ byte, name, target string) tar.Header {
	return tar.Header{Typeflag: typ, Name: name, Linkname: target}
}

func small() Limits { return Limits{Bytes: 1 << 20, Entries: 100, Ratio: 100, RatioAfter: 1 << 16} }

func TestUnpackRefusesWhatLeavesItsRoot(t *testing.T) {
	t.Parallel()
	for name, hs := range map[string][]tar.Header{
		"dot-dot":                      {file("../evil", 1)},
		"dot-dot in the middle":        {file("a/../../evil", 1)},
		"dot-dot that stays inside":    {file("a/../b", 1)},
		"an absolute name":             {file("/evil", 1)},
		"through an absolute link":     {link(tar.TypeSymlink, "a", "/tmp"), file("a/evil", 1)},
		"through a relative link":      {link(tar.TypeSymlink, "a", "../.."), file("a/evil", 1)},
		"through a chain of links":     {link(tar.TypeSymlink, "a", "."), link(tar.TypeSymlink, "a/b", "../outside"), file("b/evil", 1)},
		"over a link":                  {link(tar.TypeSymlink, "a", "../outside"), file("a", 1)},
		"a hard link out":              {link(tar.TypeLink, "a", "../outside/secret")},
		"an absolute hard link":        {link(tar.TypeLink, "a", "/etc/passwd")},
		"a hard link through a link":   {link(tar.TypeSymlink, "d", "../outside"), link(tar.TypeLink, "a", "d/secret")},
		"a hard link to nothing":       {link(tar.TypeLink, "a", "b")},
		"a hard link to a folder":      {{Typeflag: tar.TypeDir, Name: "d/"}, link(tar.TypeLink, "a", "d")},
		"a character device":           {{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}},
		"a block device":               {{Typeflag: tar.TypeBlock, Name: "sda", Devmajor: 8}},
		"a fifo":                       {{Typeflag: tar.TypeFifo, Name: "pipe"}},
		"a file twice":                 {file("a", 1), file("a", 2)},
		"a file twice, spelt anew":     {file("a", 1), file("./a", 2)},
		"a file and a link":            {file("a", 1), link(tar.TypeSymlink, "a", "b")},
		"a file as a folder":           {file("a", 1), file("a/b", 1)},
		"a folder as a file":           {{Typeflag: tar.TypeDir, Name: "a/"}, file("a", 1)},
		"too many bytes":               {file("a", 1<<19), file("b", 1<<19), file("c", 1)},
		"an empty link target":         {link(tar.TypeSymlink, "a", "")},
		"a whiteout with content":      {file(".wh.a", 3)},
		"a whiteout of the folder":     {file(".wh..", 0)},
		"a whiteout of the one above":  {file("a/.wh...", 0)},
		"a whiteout through a link":    {link(tar.TypeSymlink, "a", "../outside"), file("a/.wh.secret", 0)},
		"an opaque folder outside":     {link(tar.TypeSymlink, "a", "../outside"), file("a/.wh..wh..opq", 0)},
		"a name that is too long":      {file(strings.Repeat("n", 300), 1)},
		"a whiteout given as a folder": {{Typeflag: tar.TypeDir, Name: ".wh.a/"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			top := t.TempDir()
			dir, outside := filepath.Join(top, "in"), filepath.Join(top, "outside")
			for _, d := range []string{dir, outside} {
				if err := os.Mkdir(d, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := Unpack(t.Context(), bytes.NewReader(archive(t, hs...)), dir, small())
			if !errors.Is(err, ErrUnsafe) {
				t.Errorf("Unpack = %v, want ErrUnsafe", err)
			}
			assertUntouched(t, top)
		})
	}
}

// assertUntouched checks that nothing but in/ and outside/secret is there.
func assertUntouched(t *testing.T, top string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(top, "*"))
	if err != nil {
		t.Fatal(err)
	}
	outside, err := os.ReadDir(filepath.Join(top, "outside"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 2 || len(outside) != 1 {
		t.Errorf("something was written outside: %v %v", names, outside)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(top, "outside/secret"), &st); err != nil || st.Nlink != 1 || st.Size != 1 {
		t.Errorf("the secret was linked or changed: %+v %v", st, err)
	}
}

func TestUnpackRefusesTooManyEntries(t *testing.T) {
	t.Parallel()
	var hs []tar.Header
	for i := range 101 {
		hs = append(hs, file(string(rune('a'+i%26))+strings.Repeat("z", i), 0))
	}
	if err := Unpack(t.Context(), bytes.NewReader(archive(t, hs...)), t.TempDir(), small()); !errors.Is(err, ErrUnsafe) {
		t.Errorf("Unpack = %v, want ErrUnsafe", err)
	}
}

func TestUnpackSaysThatATruncatedLayerIsBroken(t *testing.T) {
	t.Parallel()
	b := archive(t, file("a", 3000))
	for _, n := range []int{100, 600, 2000} {
		if err := Unpack(t.Context(), bytes.NewReader(b[:n]), t.TempDir(), small()); err == nil {
			t.Errorf("cut to %d bytes: no error", n)
		}
	}
}

func TestUnpackDropsSetIDBitsAndKeepsTimes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	when := time.Unix(1234567890, 0)
	b := archive(t,
		tar.Header{Typeflag: tar.TypeReg, Name: "su", Mode: 0o6711, Size: 1, ModTime: when},
		tar.Header{Typeflag: tar.TypeReg, Name: "secret", Mode: 0o600, Size: 1, ModTime: when},
		tar.Header{Typeflag: tar.TypeDir, Name: "d/", Mode: 0o2700, ModTime: when},
		tar.Header{Typeflag: tar.TypeReg, Name: "d/e/f", Mode: 0o400, ModTime: when},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "d/l", Linkname: "/anywhere", ModTime: when},
		tar.Header{Typeflag: tar.TypeReg, Name: "old", ModTime: time.Unix(-5, 0)},
	)
	if err := Unpack(t.Context(), bytes.NewReader(b), dir, small()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		mode fs.FileMode
		time int64
	}{
		"su": {0o755, when.Unix()}, "secret": {0o644, when.Unix()}, "d": {fs.ModeDir | 0o755, when.Unix()},
		"d/e": {fs.ModeDir | 0o755, 0}, "d/e/f": {0o644, when.Unix()}, "d/l": {fs.ModeSymlink | 0o777, when.Unix()},
		"old": {0o644, 0},
	} {
		st, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode() != want.mode || st.ModTime().Unix() != want.time {
			t.Errorf("%s: %v %d, want %v %d", name, st.Mode(), st.ModTime().Unix(), want.mode, want.time)
		}
	}
}

func TestWhiteoutsAreWrittenAsOverlayfsReadsThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := archive(t, file("d/.wh.gone", 0), file("e/.wh..wh..opq", 0), file("e/new", 1))
	err := Unpack(t.Context(), bytes.NewReader(b), dir, small())
	if errors.Is(err, unix.EPERM) {
		t.Skip("this kernel lets only root make whiteouts")
	}
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dir, "d/gone"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("d/gone is no whiteout: %+v, %v", st, err)
	}
	attr := make([]byte, 8)
	n, err := unix.Getxattr(filepath.Join(dir, "e"), "user.overlay.opaque", attr)
	if os.Getuid() == 0 {
		n, err = unix.Getxattr(filepath.Join(dir, "e"), "trusted.overlay.opaque", attr)
	}
	if err != nil || string(attr[:n]) != "y" {
		t.Errorf("e is not opaque: %q %v", attr[:n], err)
	}
}

func TestABombIsRefused(t *testing.T) {
	t.Parallel()
	r := LimitRatio(bytes.NewReader(make([]byte, 1000)), small())
	zeros := readerFunc(func(p []byte) (int, error) {
		io.ReadFull(r.Compressed(), make([]byte, 1))
		return len(p), nil
	})
	n, err := io.Copy(io.Discard, r.Unpacked(zeros))
	if !errors.Is(err, ErrUnsafe) || n > 1<<20 {
		t.Errorf("read %d bytes, %v; want ErrUnsafe early", n, err)
	}
}

// randomTree makes a folder with files, links and folders.
func randomTree(t *testing.T, seed uint64) string {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 1))
	dir := t.TempDir()
	folders := []string{"."}
	for i := range 60 {
		in := folders[rnd.IntN(len(folders))]
		name := filepath.Join(dir, in, string(rune('a'+rnd.IntN(26)))+strings.Repeat("-", i))
		var err error
		switch rnd.IntN(4) {
		case 0:
			rel, _ := filepath.Rel(dir, name)
			folders = append(folders, rel)
			err = os.Mkdir(name, 0o700)
		case 1:
			err = os.Symlink("../somewhere", name)
		default:
			err = os.WriteFile(name, bytes.Repeat([]byte{byte(i)}, rnd.IntN(3000)), fs.FileMode(0o600|rnd.IntN(2)*0o100))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestALayerUnpackedAndWrittenAgainIsTheSame(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		var first, second, third bytes.Buffer
		dir := randomTree(t, seed)
		if err := Write(t.Context(), &first, dir); err != nil {
			t.Fatal(err)
		}
		if err := Write(t.Context(), &second, dir); err != nil {
			t.Fatal(err)
		}
		unpacked := t.TempDir()
		if err := Unpack(t.Context(), bytes.NewReader(first.Bytes()), unpacked, small()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(listing(t, dir), listing(t, unpacked)); diff != "" {
			t.Errorf("seed %d: the folder that was written is not what it unpacks to:\n%s", seed, diff)
		}
		if err := Write(t.Context(), &third, unpacked); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) || !bytes.Equal(first.Bytes(), third.Bytes()) {
			t.Errorf("seed %d: not the same bytes", seed)
		}
	}
}

// listing is a folder as ls -l would show it.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		if err != nil {
			return err
		}
		body := ""
		switch {
		case st.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			body = string(b)
		case st.Mode()&fs.ModeSymlink != 0:
			body, _ = os.Readlink(p)
		}
		rel, _ := filepath.Rel(dir, p)
		if rel != "." {
			out[rel] = st.Mode().String() + " " + st.ModTime().UTC().String() + " " + body
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, file("a/b", 10), link(tar.TypeSymlink, "l", "a"), file("l/c", 3), link(tar.TypeLink, "h", "a/b")))
	f.Add(archive(f, file("a/.wh.b", 0), file("d/.wh..wh..opq", 0)))
	f.Add(archive(f, link(tar.TypeSymlink, "x", ".."), file("x/evil", 4)))
	f.Add(archive(f, tar.Header{Typeflag: tar.TypeReg, Name: strings.Repeat("long/", 60) + "name", Size: 9}))
	f.Fuzz(func(t *testing.T, b []byte) {
		top := t.TempDir()
		dir := filepath.Join(top, "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		err := Unpack(t.Context(), bytes.NewReader(b), dir, small())
		if names, _ := os.ReadDir(top); len(names) != 1 {
			t.Fatalf("something was written outside: %v", names)
		}
		if err != nil {
			return
		}
		filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if st, err := d.Info(); err == nil && st.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
				t.Errorf("%s has a set-id bit", p)
			}
			return nil
		})
	})
}
