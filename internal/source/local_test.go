//go:build linux

package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cubebuild/cube/graph"
)

// pinVariable makes the test program a process that pins one file:
// cache, file.
const pinVariable = "CUBE_TEST_PIN"

func TestMain(m *testing.M) {
	if args := os.Getenv(pinVariable); args != "" {
		dir, path, _ := strings.Cut(args, "|")
		c := Open(Config{Dir: dir})
		p, err := c.Pin(context.Background(), "", Want{URI: path})
		if err = errors.Join(err, c.Save()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Print(p.SHA256)
		return
	}
	os.Exit(m.Run())
}

func TestWhatIsNoFileIsRefused(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	for _, make := range []error{os.Mkdir(filepath.Join(base, "folder"), 0o755), syscall.Mkfifo(filepath.Join(base, "pipe"), 0o644),
		os.Symlink("nowhere", filepath.Join(base, "dangling")), os.Symlink("loop", filepath.Join(base, "loop"))} {
		if make != nil {
			t.Fatal(make)
		}
	}
	write(t, filepath.Join(base, "file"), "x")
	for uri, says := range map[string]string{
		"folder":               "is no regular file",
		"pipe":                 "is no regular file",
		"/dev/zero":            "is no regular file",
		"dangling":             "no such file",
		"loop":                 "too many levels of symbolic links",
		"absent":               "no such file",
		"file/below":           "not a directory",
		"":                     "is no regular file",
		"file:":                "three slashes",
		"file:dem.tif":         "three slashes",
		"file://data/dem.tif":  "three slashes",
		"ftp://a.example/x":    "scheme ftp",
		"s3://bucket":          "s3://bucket/key",
		"https//a.example/x":   "no such file",
		"http://[::1/dem.tif":  "not a URI",
		strings.Repeat("x", 9): "no such file",
	} {
		c := Open(Config{Dir: t.TempDir()})
		if _, err := c.Pin(t.Context(), base, Want{URI: uri}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", uri, err, says)
		}
		checkEmpty(t, c)
	}
}

// openDir is a directory that anybody may find.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// asNobody runs f on a thread that may read what anybody may.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() { // locked for good: the thread ends with the goroutine
		runtime.LockOSThread()
		if os.Geteuid() == 0 {
			if _, _, e := syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0); e != 0 {
				done <- e
				return
			}
		}
		f()
		done <- nil
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestAFileThatMayNotBeReadIsNamed(t *testing.T) {
	t.Parallel()
	base, dir := openDir(t), openDir(t)
	path := filepath.Join(base, "dem.tif")
	write(t, path, "raster")
	if err := errors.Join(os.Chmod(path, 0), os.Chmod(dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		_, err := Open(Config{Dir: dir}).Pin(t.Context(), base, Want{URI: "dem.tif"})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want that %s may not be read", err, path)
		}
	})
}

func TestACacheThatMayNotBeWrittenIsNamed(t *testing.T) {
	t.Parallel()
	base, dir := openDir(t), openDir(t)
	write(t, filepath.Join(base, "dem.tif"), "raster")
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		c := Open(Config{Dir: dir})
		_, err := c.Pin(t.Context(), base, Want{URI: "dem.tif"})
		if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
			t.Errorf("got %v, want that %s may not be written", err, dir)
		}
		if err := c.Save(); err != nil {
			t.Errorf("nothing was learnt: %v", err)
		}
	})
}

// meddler is a context that does something when it is first asked whether it
// has ended: while a file is read.
type meddler struct {
	context.Context
	once *sync.Once
	do   func()
}

func (m meddler) Err() error { m.once.Do(m.do); return m.Context.Err() }

func TestAFileThatChangesWhileItIsReadIsRefused(t *testing.T) {
	t.Parallel()
	for name, meddle := range map[string]func(path string) error{
		"written to": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		},
		"replaced": func(path string) error {
			if err := os.WriteFile(path+".new", []byte("raster"), 0o644); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
		"removed": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			path := filepath.Join(base, "dem.tif")
			write(t, path, "raster")
			c := Open(Config{Dir: t.TempDir()})
			ctx := meddler{t.Context(), new(sync.Once), func() {
				if err := meddle(path); err != nil {
					t.Error(err)
				}
			}}
			_, err := c.Pin(ctx, base, Want{URI: "dem.tif"})
			if err == nil || !strings.Contains(err.Error(), "changed while it was read") {
				t.Errorf("got %v", err)
			}
			if _, ok := c.stats.files[path]; ok {
				t.Error("its stat was remembered")
			}
			if left, err := os.ReadDir(c.temp()); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func TestManyProcessesMayPinOneFileAtOnce(t *testing.T) {
	t.Parallel()
	base, dir := t.TempDir(), t.TempDir()
	path := filepath.Join(base, "dem.tif")
	text := strings.Repeat("raster ", 1<<17)
	write(t, path, text)
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
			cmd.Env = append(os.Environ(), pinVariable+"="+dir+"|"+path)
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != graph.Sum([]byte(text)).String() {
				t.Errorf("%s: %v", out, err)
			}
		})
	}
	all.Wait()
	c := Open(Config{Dir: dir})
	kept, ok := c.Path(graph.Sum([]byte(text)))
	if b, err := os.ReadFile(kept); !ok || err != nil || string(b) != text {
		t.Errorf("kept %d bytes: %v", len(b), err)
	}
	objects, _ := filepath.Glob(filepath.Join(dir, "objects", "*", "*"))
	left, err := os.ReadDir(c.temp())
	if len(objects) != 1 || len(left) > 0 || err != nil {
		t.Errorf("kept %v, left behind %v %v", objects, left, err)
	}
	info, err := os.Stat(kept)
	if err != nil || info.Mode().Perm() != 0o444 || !info.ModTime().Equal(time.Unix(0, 0)) {
		t.Errorf("kept as %v of %v: %v", info.Mode(), info.ModTime(), err)
	}
}

func TestGoroutinesMaySharePins(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	c := Open(Config{Dir: t.TempDir()})
	var all sync.WaitGroup
	for i := range 16 {
		name := fmt.Sprintf("%d.tif", i%4)
		if i < 4 {
			write(t, filepath.Join(base, name), name)
		}
	}
	for i := range 16 {
		name := fmt.Sprintf("%d.tif", i%4)
		all.Go(func() {
			p, err := c.Pin(t.Context(), base, Want{URI: name, SHA256: graph.Sum([]byte(name))})
			if err != nil || p.Size != 5 {
				t.Errorf("%s: %v %v", name, p, err)
			}
			if err := c.Save(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestAFullDiskSaysSoAndTheNextTryGoesOn(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("this is not root: no small disk can be made")
	}
	base, disk := t.TempDir(), t.TempDir()
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no small disk can be made:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	write(t, filepath.Join(base, "dem.tif"), strings.Repeat("x", 1<<20))
	c := Open(Config{Dir: filepath.Join(disk, "cache")})
	_, err := c.Pin(t.Context(), base, Want{URI: "dem.tif"})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want ENOSPC", err)
	}
	checkEmpty(t, c)
	if err := unix.Mount("", disk, "", unix.MS_REMOUNT, "size=4m"); err != nil {
		t.Fatal(err)
	}
	if p, err := c.Pin(t.Context(), base, Want{URI: "dem.tif"}); err != nil || p.Size != 1<<20 {
		t.Errorf("with room: %v %v", p, err)
	}
}

func TestAFolderOfSourcesIsSearchedAsItIs(t *testing.T) {
	t.Parallel()
	folder, elsewhere := t.TempDir(), t.TempDir()
	write(t, filepath.Join(elsewhere, "big.tif"), "raster")
	for _, err := range []error{os.Symlink(filepath.Join(elsewhere, "big.tif"), filepath.Join(folder, "linked.tif")),
		os.Symlink("nowhere", filepath.Join(folder, "dangling")), os.Symlink(folder, filepath.Join(folder, "loop")),
		syscall.Mkfifo(filepath.Join(folder, "dem.tif"), 0o644), os.Symlink(folder, filepath.Join(elsewhere, "link"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{folder, filepath.Join(elsewhere, "link")} {
		c := Open(Config{Dir: t.TempDir(), Folders: []string{t.TempDir(), f}, Offline: true})
		if p, err := c.Pin(t.Context(), "", Want{URI: "https://data.invalid/a%20b/dem.tif?x=y/z", SHA256: graph.Sum([]byte("raster"))}); err != nil || p.Size != 6 {
			t.Errorf("%s: %v %v", f, p, err)
		}
	}
	c := Open(Config{Dir: t.TempDir(), Folders: []string{filepath.Join(folder, "absent")}, Offline: true})
	if _, err := c.Pin(t.Context(), "", Want{URI: "https://data.invalid/dem.tif", SHA256: graph.Sum([]byte("raster"))}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "folder of sources") {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestOtherPeoplesFilesInAFolderArePassedOver(t *testing.T) {
	t.Parallel()
	folder, dir := openDir(t), openDir(t)
	write(t, filepath.Join(folder, "dem.tif"), "secret")
	write(t, filepath.Join(folder, "z.tif"), "raster")
	for _, err := range []error{os.Chmod(filepath.Join(folder, "dem.tif"), 0), os.Mkdir(filepath.Join(folder, "a"), 0), os.Chmod(dir, 0o777)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	asNobody(t, func() {
		c := Open(Config{Dir: dir, Folders: []string{folder}, Offline: true})
		if p, err := c.Pin(t.Context(), "", Want{URI: "https://data.invalid/dem.tif", SHA256: graph.Sum([]byte("raster"))}); err != nil || p.Size != 6 {
			t.Errorf("%v %v", p, err)
		}
	})
}

func TestTheFileOfTheSameNameIsReadFirst(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, name := range []string{"a.tif", "b b.tif", "c.tif"} {
		write(t, filepath.Join(folder, name), name)
	}
	c := Open(Config{Dir: t.TempDir(), Folders: []string{folder}})
	if _, err := c.Pin(t.Context(), "", Want{URI: "https://data.invalid/b%20b.tif?v=1/2", SHA256: graph.Sum([]byte("b b.tif"))}); err != nil {
		t.Fatal(err)
	}
	if len(c.stats.files) != 1 {
		t.Errorf("%d files were read", len(c.stats.files))
	}
}

func TestStatsOfFilesThatAreGoneAreForgotten(t *testing.T) {
	t.Parallel()
	base, dir := t.TempDir(), t.TempDir()
	write(t, filepath.Join(base, "dem.tif"), "raster")
	c := Open(Config{Dir: dir})
	info, err := os.Stat(filepath.Join(base, "dem.tif"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxStats + 10 {
		c.stats.put(filepath.Join(base, fmt.Sprint(i)), info, time.Now(), Pin{})
	}
	if _, err := c.Pin(t.Context(), base, Want{URI: "dem.tif"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	again := Open(Config{Dir: dir})
	again.stats.load()
	if len(again.stats.files) != 1 {
		t.Errorf("%d files are remembered", len(again.stats.files))
	}
}

func TestDamagedStatsAreForgotten(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", "null", "[]", `{"/x": 1}`, "\x00"} {
		base, dir := t.TempDir(), t.TempDir()
		write(t, filepath.Join(base, "dem.tif"), "raster")
		write(t, filepath.Join(dir, "stats.json"), text)
		c := Open(Config{Dir: dir})
		if p, err := c.Pin(t.Context(), base, Want{URI: "dem.tif"}); err != nil || p.Size != 6 {
			t.Errorf("%q: %v %v", text, p, err)
		}
		if err := c.Save(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestASourceIsLocatedWithoutALookAtIt(t *testing.T) {
	t.Parallel()
	base, dir := t.TempDir(), t.TempDir()
	path := filepath.Join(base, "dem.tif")
	write(t, path, "raster")
	c := Open(Config{Dir: dir})
	here, away, changed := Whereabouts{Here: true}, Whereabouts{}, Whereabouts{Changed: true}
	look := func(what, uri string, p Pin, want Whereabouts) {
		t.Helper()
		if got, err := c.Locate(base, uri, p); err != nil || got != want {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
	}
	raster := Pin{graph.Sum([]byte("raster")), 6}
	look("a file that nobody has read", "dem.tif", raster, here)
	look("of another size", "dem.tif", Pin{raster.SHA256, 7}, changed)
	look("that is not there", "gone.tif", raster, away)
	look("of the network", "https://a.example/dem.tif", raster, away)
	if _, err := c.Pin(t.Context(), base, Want{URI: "dem.tif"}); err != nil {
		t.Fatal(err)
	}
	look("a file that is gone, of which there is a copy", "gone.tif", raster, here)
	look("of the network, where the same bytes are", "https://a.example/dem.tif", raster, here)
	old := time.Now().Add(-time.Hour)
	other := filepath.Join(base, "other.tif")
	write(t, other, "retsar")
	if err := os.Chtimes(other, old, old); err != nil {
		t.Fatal(err)
	}
	c.stats.put(other, stated(t, other), time.Now().Add(time.Minute), Pin{graph.Sum([]byte("retsar")), 6})
	look("of the same size, but known to be another", "other.tif", raster, Whereabouts{Here: true, Changed: true})
	if _, err := c.Locate(base, "ftp://a.example/x", raster); err == nil {
		t.Error("no such scheme is read")
	}
}

func stated(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// FuzzURI pins any URI offline: it is a file below the base, or an error.
func FuzzURI(f *testing.F) {
	for _, seed := range []string{"dem.tif", "file:///etc/hostname", "https://a.example/x", "../x", "a://b", "file:", "%", "http://[", "HTTP://a/b", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		if strings.Contains(uri, "..") || strings.HasPrefix(uri, "/") || strings.Contains(strings.ToLower(uri), "file:") {
			uri = strings.NewReplacer("..", "", "/", "_", ":", "_").Replace(uri)
		}
		base := t.TempDir()
		write(t, filepath.Join(base, "dem.tif"), "raster")
		c := Open(Config{Dir: t.TempDir(), Offline: true})
		p, err := c.Pin(t.Context(), base, Want{URI: uri})
		if err == nil && p.SHA256 != graph.Sum([]byte("raster")) {
			t.Errorf("%q is %v", uri, p)
		}
		if IsRemote(uri) && err == nil {
			t.Errorf("%q was fetched offline", uri)
		}
		_ = Redact(uri)
	})
}
