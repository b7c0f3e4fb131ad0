package images

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rasterRecipe is a Python producer with GDAL, through rasterio.
func rasterRecipe() Recipe {
	return Recipe{
		Debs:    []string{"python3.11-minimal", "libpython3.11-stdlib", "libstdc++6", "zlib1g", "libexpat1"},
		Wheels:  []string{"numpy", "rasterio==1.4.4"},
		Files:   []FileRule{{From: "*.py", To: "/app/"}},
		Command: []string{"python3", "/app/main.py"},
	}
}

// raster returns the producer of testdata/raster, for machines that can build
// it.
func raster(t *testing.T) Source {
	t.Helper()
	if testing.Short() {
		t.Skip("fetches packages")
	}
	if _, err := exec.LookPath("apt-get"); err != nil || runtime.GOARCH != "amd64" {
		t.Skip("testdata/raster/image.lock is for Debian on amd64")
	}
	return Dir("testdata/raster", "raster", rasterRecipe(), []byte(`{"name":"raster"}`))
}

// sharedStore is kept from one run of the tests to the next, so that packages
// are fetched once.
func sharedStore(t *testing.T) *Store {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	s, err := OpenStore(filepath.Join(cache, "cube-test", "images"), Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func logEvents(t *testing.T) BuildOptions {
	return BuildOptions{Progress: func(e Event) { t.Log(e.Kind, e.Text, e.Took) }}
}

func TestAPythonProducerRunsOnItsOwnRuntime(t *testing.T) {
	t.Parallel()
	src, s := raster(t), sharedStore(t)
	img, err := s.BuildCached(t.Context(), src, logEvents(t))
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := s.Unpack(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) != 3 {
		t.Fatalf("%d layers, want packages, wheels and code", len(dirs))
	}
	py := python{version: "3.11", machine: HostPlatform().machine()}
	cmd := py.command(t.Context(), dirs[0], filepath.Join(dirs[2], "app/main.py"))
	cmd.Env = append(cmd.Env, "PYTHONPATH="+filepath.Join(dirs[1], py.layout().Site))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Sum                     float64
		EPSG                    int
		About, Rasterio, Python string
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if said.Sum != 66 || said.EPSG != 32613 || said.About != "shared" || said.Rasterio != "1.4.4" || !strings.HasPrefix(said.Python, "3.11.") {
		t.Errorf("the producer said %s", out)
	}
	checkPackages(t, s, img)
}

// checkPackages compares what is found in the image with what the lock says.
func checkPackages(t *testing.T, s *Store, img *Image) {
	t.Helper()
	b := img.Lock
	if b == nil {
		var err error
		if b, err = os.ReadFile("testdata/raster/image.lock"); err != nil {
			t.Fatal(err)
		}
	}
	l, err := parseLock(b)
	if err != nil {
		t.Fatal(err)
	}
	var want []Package
	for _, p := range l.Platforms[img.Platform].Debs {
		want = append(want, Package{"deb", p.Name, p.Version})
	}
	for _, p := range l.Platforms[img.Platform].Wheels {
		want = append(want, Package{"python", p.Name, p.Version})
	}
	got, err := s.Packages(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages in the image are not those of the lock:\n%s", diff)
	}
	for _, p := range got {
		if slices.Contains([]string{"dpkg", "tar", "libreadline8"}, p.Name) {
			t.Errorf("%s is in the image", p.Name)
		}
	}
}

func TestAPythonProducerBuiltTwiceIsOneImage(t *testing.T) {
	t.Parallel()
	src, shared := raster(t), sharedStore(t)
	first, err := shared.BuildCached(t.Context(), src, logEvents(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Drifted) > 0 {
		t.Skipf("the mirrors have moved on: %v", first.Drifted)
	}
	// Another folder and nothing made before; only the downloads are shared.
	s := newStore(t)
	if err := s.init(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.path("downloads")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(shared.path("downloads"), s.path("downloads")); err != nil {
		t.Fatal(err)
	}
	second, err := s.Build(t.Context(), src, BuildOptions{Locked: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("not the same image:\n%s", diff)
	}
	code := src
	code.FS = os.DirFS(copyOf(t, src.Dir, map[string]string{"shared.py": "def about():\n    return 'changed'\n"}))
	code.Dir = ""
	steps := 0
	third, err := s.Build(t.Context(), code, BuildOptions{Locked: true, Progress: func(e Event) { steps++ }})
	if err != nil {
		t.Fatal(err)
	}
	if third.DiffIDs[0] != first.DiffIDs[0] || third.DiffIDs[1] != first.DiffIDs[1] || third.DiffIDs[2] == first.DiffIDs[2] {
		t.Errorf("a changed line of code makes the layers %v out of %v", third.DiffIDs, first.DiffIDs)
	}
	if steps != 0 {
		t.Errorf("a changed line of code took %d steps of fetching and unpacking", steps)
	}
}

// copyOf copies a folder, with some files replaced.
func copyOf(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	write(t, to, files)
	return to
}

func TestAPinThatIsGoneFailsALockedBuildAndIsReplacedElsewhere(t *testing.T) {
	t.Parallel()
	src, shared := raster(t), sharedStore(t)
	src.Recipe.Wheels = []string{"affine", "cligj"}
	src.Dir = copyOf(t, src.Dir, nil)
	b, err := shared.Lock(t.Context(), Dir(src.Dir, src.Name, src.Recipe, nil), BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := parseLock(b)
	if err != nil {
		t.Fatal(err)
	}
	pl := l.Platforms["linux/amd64"]
	for _, pins := range [][]pin{pl.Debs, pl.Wheels} {
		i := slices.IndexFunc(pins, func(p pin) bool { return p.Name == "zlib1g" || p.Name == "affine" })
		pins[i].Version += "~gone1"
		pins[i].SHA256 = strings.Repeat("0", 64)
	}
	dir := copyOf(t, src.Dir, map[string]string{LockFile: string(l.encode())})
	src = Dir(dir, "raster-drifted", src.Recipe, src.Label)

	_, err = shared.Build(t.Context(), src, BuildOptions{Locked: true})
	var drift *DriftError
	if !errors.As(err, &drift) || !strings.Contains(err.Error(), "cube image lock "+dir) || !strings.Contains(err.Error(), "zlib1g") {
		t.Fatalf("locked: %v, want a DriftError that says what to run", err)
	}

	var notices []string
	opt := BuildOptions{Progress: func(e Event) {
		if e.Kind == EventNotice {
			notices = append(notices, e.Text)
		}
	}}
	img, err := shared.Build(t.Context(), src, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"zlib1g", "affine"} {
		if !slices.ContainsFunc(img.Drifted, func(d Drift) bool { return d.Name == name && strings.HasSuffix(d.Pinned, "~gone1") && d.Found != "" }) {
			t.Errorf("%s is not among what drifted: %v", name, img.Drifted)
		}
		if !strings.Contains(strings.Join(notices, "\n"), name) {
			t.Errorf("no notice of %s: %q", name, notices)
		}
	}
	// The lock that comes with the image builds it again, locked.
	write(t, dir, map[string]string{LockFile: string(img.Lock)})
	again, err := shared.Build(t.Context(), src, BuildOptions{Locked: true})
	if err != nil {
		t.Fatal(err)
	}
	if again.Config != img.Config || len(again.Drifted) != 0 {
		t.Errorf("the mended lock builds %s, not %s", again.Config, img.Config)
	}
}

func TestLockPinsWhatTheRecipeNeeds(t *testing.T) {
	t.Parallel()
	src, s := raster(t), sharedStore(t)
	src.FS, src.Dir = os.DirFS(copyOf(t, src.Dir, nil)), ""
	b, err := s.Lock(t.Context(), src, logEvents(t))
	if err != nil {
		t.Fatal(err)
	}
	l, err := parseLock(b)
	if err != nil {
		t.Fatal(err)
	}
	pl := l.Platforms[HostPlatform().String()]
	if !pl.For.equal(src.Recipe.wanted()) {
		t.Errorf("the lock is for %v", pl.For)
	}
	for _, want := range []string{"python3.11-minimal", "libc6", "libstdc++6"} {
		if !slices.ContainsFunc(pl.Debs, func(p pin) bool { return p.Name == want }) {
			t.Errorf("%s is not pinned", want)
		}
	}
	for _, want := range []string{"numpy", "rasterio", "affine"} {
		if !slices.ContainsFunc(pl.Wheels, func(p pin) bool { return p.Name == want }) {
			t.Errorf("%s is not pinned", want)
		}
	}
}

func TestWheelsAreResolvedWithoutAPythonOnThisMachine(t *testing.T) {
	src, shared := raster(t), sharedStore(t)
	// A PATH that has apt and no Python.
	bin := t.TempDir()
	for _, tool := range []string{"apt-get", "apt-cache"} {
		at, err := exec.LookPath(tool)
		if err != nil {
			t.Skip(err)
		}
		if err := os.Symlink(at, filepath.Join(bin, tool)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	s, err := OpenStore(shared.Dir(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	src.Recipe.Wheels = []string{"affine"}
	b, err := s.Lock(t.Context(), src, logEvents(t))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "affine-") {
		t.Errorf("lock: %s", b)
	}
}
