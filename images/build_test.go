package images

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := OpenStore(filepath.Join(t.TempDir(), "store"), Config{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// write makes files in a folder.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, body := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// goFiles is a Go producer, for the compiler that runs this test.
func goFiles() map[string]string {
	return map[string]string{
		"go.mod":           "module example.org/tiny\n\ngo 1.24\n\ntoolchain " + strings.Fields(runtime.Version())[0] + "\n",
		"main.go":          "package main\n\nimport (\n\t_ \"embed\"\n\n\t\"example.org/tiny/words\"\n)\n\n//go:embed data/hello.txt\nvar hello string\n\nfunc main() { println(hello, words.All) }\n",
		"words/words.go":   "package words\n\nconst All = \"all\"\n",
		"data/hello.txt":   "hello",
		"unused.md":        "nobody reads this",
		"tables/a.csv":     "1,2\n",
		"tables/sub/b.csv": "3,4\n",
	}
}

var label = []byte(`{"name":"tiny"}`)

func goRecipe() Recipe {
	return Recipe{Go: &GoBuild{}, Files: []FileRule{{From: "tables", To: "/tables"}}, Env: map[string]string{"TABLES": "/tables"}}
}

func goSource(t testing.TB) Source {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, goFiles())
	return Dir(dir, "tiny", goRecipe(), label)
}

func build(t testing.TB, s *Store, src Source) *Image {
	t.Helper()
	img, err := s.Build(t.Context(), src, BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestAGoProducerBuiltInTwoPlacesIsOneImage(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{}
	for name, body := range goFiles() {
		files[name] = &fstest.MapFile{Data: []byte(body), Mode: 0o444}
	}
	first := build(t, newStore(t), goSource(t))
	second := build(t, newStore(t), goSource(t))
	embedded := build(t, newStore(t), Source{Name: "tiny", FS: files, Recipe: goRecipe(), Label: label})
	for _, other := range []*Image{second, embedded} {
		if diff := cmp.Diff(first, other); diff != "" {
			t.Errorf("not the same image:\n%s", diff)
		}
	}
	if string(first.Label) != string(label) || first.User != "65534:65534" || first.WorkDir != "/cube/scratch" {
		t.Errorf("config: %+v", first)
	}
}

func TestAGoProducerIsBuiltForAnotherArchitecture(t *testing.T) {
	t.Parallel()
	s, src := newStore(t), goSource(t)
	for arch, want := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		img, err := s.Build(t.Context(), src, BuildOptions{Platform: Platform{"linux", arch}})
		if err != nil {
			t.Fatal(err)
		}
		dirs, err := s.Unpack(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.Open(filepath.Join(dirs[0], "producer"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if f.Machine != want || img.Platform != "linux/"+arch {
			t.Errorf("built for %s: %v, %s", arch, f.Machine, img.Platform)
		}
	}
	if got, err := s.Get(t.Context(), "tiny"); err != nil || got.Platform != HostPlatform().String() {
		t.Errorf("Get(tiny) = %v, %v; want the one for this machine", got, err)
	}
}

func TestTheStoreIsAnOCILayoutThatOthersRead(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	img := build(t, s, goSource(t))
	ix, err := layout.ImageIndexFromPath(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(ix); err != nil {
		t.Errorf("go-containerregistry finds fault: %v", err)
	}
	m, err := ix.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Manifests) != 1 || m.Manifests[0].Digest.String() != img.Manifest || m.Manifests[0].Annotations[refName] != "tiny" {
		t.Errorf("index: %+v", m.Manifests)
	}
	theirs, err := ix.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := theirs.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Config.Labels[ContractLabel] != string(label) || cfg.Created.Unix() != 0 {
		t.Errorf("config: %+v", cfg)
	}
}

func TestABuiltImageRunsFromItsUnpackedLayers(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	img := build(t, s, goSource(t))
	dirs, err := s.Unpack(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) != 1 {
		t.Fatalf("%d layers", len(dirs))
	}
	if got, err := os.ReadFile(filepath.Join(dirs[0], "tables/sub/b.csv")); err != nil || string(got) != "3,4\n" {
		t.Errorf("tables/sub/b.csv: %q %v", got, err)
	}
	if out := run(t, filepath.Join(dirs[0], "producer")); out != "hello all\n" {
		t.Errorf("the program said %q", out)
	}
	for _, d := range []string{"cube", "proc", "dev", "tmp", "etc/passwd"} {
		if _, err := os.Stat(filepath.Join(dirs[0], d)); err != nil {
			t.Error(err)
		}
	}
}

func TestAnUnpackedLayerThatWasLostComesBackTheSame(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	img := build(t, s, goSource(t))
	dir := s.layerPath(img.DiffIDs[0])
	before := listing(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Unpack(t.Context(), img); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, listing(t, dir)); diff != "" {
		t.Errorf("made and unpacked differ:\n%s", diff)
	}
}

func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := d.Info()
		rel, _ := filepath.Rel(dir, p)
		size := st.Size()
		if d.IsDir() {
			size = 0
		}
		out[rel] = fmt.Sprint(st.Mode(), st.ModTime().Unix(), size)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPackagesReadsTheModulesOfAGoProgram(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	img := build(t, s, goSource(t))
	for range 2 { // the second time from the record
		ps, err := s.Packages(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		want := []Package{{Kind: "go", Name: "stdlib", Version: strings.TrimPrefix(strings.Fields(runtime.Version())[0], "go")}}
		if diff := cmp.Diff(want, ps); diff != "" {
			t.Error(diff)
		}
	}
}

// age makes files older than the grain of the stat cache.
func age(t testing.TB, dir string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chtimes(p, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// built counts the builds that were not answered by the stat cache.
func built(t *testing.T, s *Store, src Source) (*Image, bool) {
	t.Helper()
	steps := 0
	img, err := s.BuildCached(t.Context(), src, BuildOptions{Progress: func(Event) { steps++ }})
	if err != nil {
		t.Fatal(err)
	}
	return img, steps > 0
}

func TestAnUnchangedProducerIsNotBuiltAgain(t *testing.T) {
	t.Parallel()
	s, src := newStore(t), goSource(t)
	first, was := built(t, s, src)
	if !was {
		t.Fatal("the first build did nothing")
	}
	for range 3 {
		again, was := built(t, s, src)
		if was {
			t.Error("built again")
		}
		if diff := cmp.Diff(first, again); diff != "" {
			t.Error(diff)
		}
	}
	age(t, src.Dir) // only the times change
	if again, was := built(t, s, src); was || again.Manifest != first.Manifest {
		t.Error("built again after touch")
	}
	write(t, src.Dir, map[string]string{"unused.md": "something else"})
	if _, was := built(t, s, src); was {
		t.Error("built again for a file that is not part of it")
	}
}

func TestAChangedProducerIsBuiltAgain(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(t *testing.T, src *Source){
		"a source file of the same size": func(t *testing.T, src *Source) {
			write(t, src.Dir, map[string]string{"words/words.go": "package words\n\nconst All = \"ALL\"\n"})
		},
		"a source file with its old time": func(t *testing.T, src *Source) {
			file := filepath.Join(src.Dir, "words/words.go")
			st, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, src.Dir, map[string]string{"words/words.go": "package words\n\nconst All = \"ALL\"\n"})
			if err := os.Chtimes(file, st.ModTime(), st.ModTime()); err != nil {
				t.Fatal(err)
			}
		},
		"a new source file": func(t *testing.T, src *Source) {
			write(t, src.Dir, map[string]string{"more.go": "package main\n\nfunc init() { println(1) }\n"})
		},
		"an embedded file": func(t *testing.T, src *Source) {
			write(t, src.Dir, map[string]string{"data/hello.txt": "goodbye"})
		},
		"a new file in a folder": func(t *testing.T, src *Source) {
			write(t, src.Dir, map[string]string{"tables/sub/c.csv": "5\n"})
		},
		"a file gone": func(t *testing.T, src *Source) {
			if err := os.Remove(filepath.Join(src.Dir, "tables/a.csv")); err != nil {
				t.Fatal(err)
			}
		},
		"an executable bit": func(t *testing.T, src *Source) {
			if err := os.Chmod(filepath.Join(src.Dir, "tables/a.csv"), 0o755); err != nil {
				t.Fatal(err)
			}
		},
		"the recipe":   func(t *testing.T, src *Source) { src.Recipe.Env = map[string]string{"TABLES": "/elsewhere"} },
		"the contract": func(t *testing.T, src *Source) { src.Label = []byte(`{"name":"tiny","needs":[]}`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, src := newStore(t), goSource(t)
			age(t, src.Dir)
			first, _ := built(t, s, src)
			change(t, &src)
			second, was := built(t, s, src)
			if !was || first.Manifest == second.Manifest {
				t.Errorf("built again: %v, %s and then %s", was, first.Manifest, second.Manifest)
			}
		})
	}
}

func TestAnEmbeddedSourceIsKnownByItsContent(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	src := Source{Name: "text", Recipe: Recipe{Files: []FileRule{{From: "*.txt", To: "/"}}, Command: []string{"/a.txt"}}}
	src.FS = fstest.MapFS{"a.txt": {Data: []byte("1")}}
	one, was1 := built(t, s, src)
	_, was2 := built(t, s, src)
	src.FS = fstest.MapFS{"a.txt": {Data: []byte("2")}}
	two, was3 := built(t, s, src)
	if !was1 && one == nil || was2 || one.Manifest == two.Manifest {
		t.Errorf("built %v, %v, %v", was1, was2, was3)
	}
}

func TestManyBuildersAtOnceMakeOneImage(t *testing.T) {
	t.Parallel()
	dir, src := filepath.Join(t.TempDir(), "store"), goSource(t)
	var wg sync.WaitGroup
	digests := make([]string, 6)
	for i := range digests {
		wg.Go(func() {
			s, err := OpenStore(dir, Config{})
			if err != nil {
				t.Error(err)
				return
			}
			img, err := s.BuildCached(t.Context(), src, BuildOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			digests[i] = img.Manifest
		})
	}
	wg.Wait()
	for _, d := range digests {
		if d == "" || d != digests[0] {
			t.Fatalf("digests: %v", digests)
		}
	}
	s, _ := OpenStore(dir, Config{})
	all, err := s.List(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("%d images in the store, %v", len(all), err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMistakesOfAProducerAreToldClearly(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files map[string]string
		drop  string
		recip func(*Recipe)
		want  string
	}{
		"no go.mod":            {drop: "go.mod", want: "go mod init"},
		"no go line":           {files: map[string]string{"go.mod": "module example.org/tiny\n"}, want: "go line"},
		"code with a mistake":  {files: map[string]string{"main.go": "package main\n\nfunc main() { nope() }\n"}, want: "undefined: nope"},
		"a file that is not":   {recip: func(r *Recipe) { r.Files[0].From = "nothing.csv" }, want: `"nothing.csv" is not in the producer directory`},
		"a pattern of nothing": {recip: func(r *Recipe) { r.Files[0].From = "*.nc" }, want: `"*.nc" matches nothing`},
		"two files as one": {recip: func(r *Recipe) {
			r.Files = append(r.Files, FileRule{From: "unused.md", To: "/tables/a.csv"})
		}, want: "two files become /tables/a.csv"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := goSource(t)
			write(t, src.Dir, test.files)
			if test.drop != "" {
				os.Remove(filepath.Join(src.Dir, test.drop))
			}
			if test.recip != nil {
				test.recip(&src.Recipe)
			}
			s := newStore(t)
			_, err := s.Build(t.Context(), src, BuildOptions{})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), src.Dir) {
				t.Errorf("error %v, want %q and the directory", err, test.want)
			}
			if left, _ := os.ReadDir(s.path("tmp")); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestAMissingCompilerIsNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := newStore(t).Build(t.Context(), goSource(t), BuildOptions{})
	if !errors.Is(err, ErrTool) {
		t.Errorf("Build = %v, want ErrTool", err)
	}
}

func TestALockedBuildNeedsALock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{"main.py": "print(1)\n"})
	recipe := Recipe{Debs: []string{"python3.11-minimal"}, Files: []FileRule{{From: "main.py", To: "/"}}, Command: []string{"python3", "/main.py"}}
	src := Dir(dir, "py", recipe, nil)
	for name, lock := range map[string]string{
		"none":             "",
		"a broken one":     "{",
		"another recipe's": `{"version":1,"platforms":{"` + HostPlatform().String() + `":{"for":{"debs":["libc6"]},"debs":[]}}}`,
		"another platform": `{"version":1,"platforms":{}}`,
	} {
		if lock != "" {
			write(t, dir, map[string]string{LockFile: lock})
		}
		_, err := newStore(t).Build(t.Context(), src, BuildOptions{Locked: true})
		var lerr *LockError
		if !errors.As(err, &lerr) || !strings.Contains(err.Error(), "cube image lock "+dir) {
			t.Errorf("%s: %v, want a LockError that says what to run", name, err)
		}
		os.Remove(filepath.Join(dir, LockFile))
	}
}

func TestNamesMoveAndDigestsStay(t *testing.T) {
	t.Parallel()
	s, src := newStore(t), goSource(t)
	one := build(t, s, src)
	write(t, src.Dir, map[string]string{"tables/a.csv": "9\n"})
	two := build(t, s, src)
	for ref, want := range map[string]string{
		"tiny": two.Manifest, one.Manifest: one.Manifest, one.Config: one.Manifest,
		strings.TrimPrefix(two.Config, "sha256:")[:12]: two.Manifest,
	} {
		got, err := s.Get(t.Context(), ref)
		if err != nil || got.Manifest != want {
			t.Errorf("Get(%s) = %v, %v; want %s", ref, got, err, want)
		}
	}
	if _, err := s.Get(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get(nobody) = %v", err)
	}
	if err := s.Remove(t.Context(), "tiny"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), "tiny"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Remove: %v", err)
	}
}

func TestGCKeepsWhatHasANameAndWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	s, src := newStore(t), goSource(t)
	var imgs []*Image
	for i := range 3 {
		write(t, src.Dir, map[string]string{"tables/a.csv": fmt.Sprint(i)})
		imgs = append(imgs, build(t, s, src))
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(s.blobPath(imgs[i].Manifest), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.path("tmp", "left-by-a-crash"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	freed, err := s.GC(t.Context(), GCOptions{Age: time.Minute, Keep: []string{imgs[1].Config}})
	if err != nil {
		t.Fatal(err)
	}
	if freed.Images != 1 || freed.Layers != 1 || freed.Blobs != 3 || freed.Bytes == 0 {
		t.Errorf("freed %+v", freed)
	}
	if _, err := s.Get(t.Context(), imgs[0].Manifest); !errors.Is(err, ErrNotFound) {
		t.Errorf("the first image: %v", err)
	}
	for _, img := range imgs[1:] {
		dirs, err := s.Unpack(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		if out := run(t, filepath.Join(dirs[0], "producer")); out != "hello all\n" {
			t.Errorf("said %q", out)
		}
	}
	if again, was := built(t, s, src); !was || again.Manifest != imgs[2].Manifest {
		t.Errorf("after gc: %v %v", again, was)
	}
}

// What runs must not lose its files: they are its image's, whatever the store
// calls that by now.
func TestGCLeavesAnImageToThoseWhoUseIt(t *testing.T) {
	t.Parallel()
	s, src := newStore(t), goSource(t)
	img := build(t, s, src)
	dirs, release, err := s.Use(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(t.Context(), img.Manifest); err != nil {
		t.Fatal(err)
	}
	other, err := OpenStore(s.Dir(), s.cfg) // as another process does
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		freed, err := other.GC(t.Context(), GCOptions{Age: time.Nanosecond})
		if err != nil {
			t.Fatal(err)
		}
		if freed.Layers != 0 || freed.Blobs != 0 {
			t.Errorf("freed %+v", freed)
		}
		if out := run(t, filepath.Join(dirs[0], "producer")); out != "hello all\n" {
			t.Errorf("said %q", out)
		}
	}
	release()
	freed, err := other.GC(t.Context(), GCOptions{Age: time.Nanosecond})
	if err != nil || freed.Layers != 1 || freed.Blobs != 3 {
		t.Errorf("when nobody uses it: %+v, %v", freed, err)
	}
	if left, err := filepath.Glob(s.path("locks", usePrefix+"*")); len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A record of a build saves work and decides nothing: one that lost a bit is none.
func TestADamagedRecordIsNotBelieved(t *testing.T) {
	t.Parallel()
	s, src := newStore(t), goSource(t)
	want, _ := built(t, s, src)
	records, err := filepath.Glob(s.path("stat", "*"))
	if err != nil || len(records) != 1 {
		t.Fatalf("records: %v, %v", records, err)
	}
	text, err := os.ReadFile(records[0])
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(text, []byte("/producer"))
	if i < 0 {
		t.Fatal("the command is not in the record")
	}
	text[i+1] ^= 1
	if err := os.WriteFile(records[0], text, 0o644); err != nil {
		t.Fatal(err)
	}
	got, _ := built(t, s, src)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

func TestABuildThatIsCancelledLeavesNothing(t *testing.T) {
	t.Parallel()
	s, src := newStore(t), goSource(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Build(ctx, src, BuildOptions{Progress: func(e Event) {
		if e.Kind == EventStep {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Build = %v", err)
	}
	if left, _ := os.ReadDir(s.path("tmp")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAnImageIsPlainJSON(t *testing.T) {
	t.Parallel()
	img := build(t, newStore(t), goSource(t))
	b, err := json.Marshal(img)
	if err != nil {
		t.Fatal(err)
	}
	var back Image
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(img, &back); diff != "" {
		t.Error(diff)
	}
}

func BenchmarkBuildCached(b *testing.B) {
	s, src := newStore(b), goSource(b)
	age(b, src.Dir)
	if _, err := s.BuildCached(b.Context(), src, BuildOptions{}); err != nil {
		b.Fatal(err)
	}
	time.Sleep(grain) // changing the times was a change, too
	for b.Loop() {
		again, err := OpenStore(s.Dir(), Config{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := again.BuildCached(b.Context(), src, BuildOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}
