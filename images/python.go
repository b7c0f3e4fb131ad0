package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/cubebuild/cube/images/internal/layer"
	"github.com/cubebuild/cube/images/internal/wheel"
)

// python is the Python of an image; its version is "" where there is none.
type python struct {
	version string // "3.11"
	glibc   int    // 36
	machine machine
	host    bool // whether this machine can run it
}

var (
	pythonDeb = regexp.MustCompile(`^python(3\.[0-9]{1,2})-minimal$`)
	glibcDeb  = regexp.MustCompile(`^2\.([0-9]{1,2})-`)
)

// pythonOf finds the Python among pinned packages.
func pythonOf(pins []pin, p Platform) (python, error) {
	py := python{machine: p.machine(), host: p == HostPlatform()}
	for _, pin := range pins {
		if m := pythonDeb.FindStringSubmatch(pin.Name); m != nil {
			if py.version != "" {
				return python{}, fmt.Errorf("two Pythons in one image, %s and %s", py.version, m[1])
			}
			py.version = m[1]
		}
		if m := glibcDeb.FindStringSubmatch(pin.Version); m != nil && pin.Name == "libc6" {
			py.glibc, _ = strconv.Atoi(m[1])
		}
	}
	if py.version != "" && !py.host {
		return python{}, fmt.Errorf("a Python image for %s is built on a machine of that kind: its byte code is made by its own Python", p)
	}
	return py, nil
}

func (p python) bin() string { return "/usr/bin/python" + p.version }

func (p python) layout() wheel.Layout {
	return wheel.Layout{
		Site:   "usr/local/lib/python" + p.version + "/dist-packages",
		Prefix: "usr/local", Interpreter: p.bin(),
	}
}

func (p python) target() wheel.Target {
	return wheel.Target{Python: p.version, Glibc: p.glibc, Machine: p.machine.wheel}
}

// command runs the Python that is unpacked at root, by its own dynamic loader
// and libraries: neither root rights nor a sandbox are needed, and nothing of
// this machine's Python takes part.
func (p python) command(ctx context.Context, root string, args ...string) *exec.Cmd {
	lib := filepath.Join(root, "usr/lib", p.machine.triplet)
	loader := filepath.Join(lib, path.Base(p.machine.loader))
	cmd := exec.CommandContext(ctx, loader, slices.Concat(
		[]string{"--library-path", lib, filepath.Join(root, p.bin())}, args)...)
	cmd.Env = []string{"PYTHONHOME=" + filepath.Join(root, "usr"), "PYTHONHASHSEED=0", "LC_ALL=C.UTF-8",
		"PYTHONDONTWRITEBYTECODE=1", "SOURCE_DATE_EPOCH=0"}
	return cmd
}

// compileScript reads lines "file<TAB>path in the image" and writes the byte
// code of each beside it, checked against the source never and dependent on
// its content alone. What does not compile (templates, tests of syntax errors)
// stays without.
const compileScript = `import sys, py_compile
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for line in sys.stdin:
    file, name = line.rstrip("\n").split("\t")
    try:
        py_compile.compile(file, dfile=name, doraise=True, invalidation_mode=mode)
    except (py_compile.PyCompileError, UnicodeDecodeError, ValueError):
        pass
`

// compile makes byte code for the Python files in folders of dir, which is a
// layer over the root, or the root itself. How objects are shared in byte code
// depends on what the process has compiled before, so each folder is one
// process, going through sorted names.
func (p python) compile(ctx context.Context, root, dir string, folders []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, folder := range folders {
		files, err := pythonFiles(dir, folder)
		if err != nil {
			return err
		}
		if len(files) > 0 {
			g.Go(func() error { return p.compileFiles(ctx, root, dir, files) })
		}
	}
	return g.Wait()
}

func (p python) compileFiles(ctx context.Context, root, dir string, files []string) error {
	var in, out bytes.Buffer
	for _, f := range files {
		fmt.Fprintf(&in, "%s\t/%s\n", filepath.Join(dir, f), f)
	}
	cmd := p.command(ctx, root, "-I", "-S", "-c", compileScript)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compile Python files: %w: %s", err, lastLine(out.String()))
	}
	return nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// pythonFiles lists the Python files below a folder, in order, but for tests:
// few ever import them. Names that cannot stand in a line are left out.
func pythonFiles(dir, folder string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(filepath.Join(dir, folder), func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "tests" || d.Name() == "test") {
			return fs.SkipDir
		}
		if d.Type().IsRegular() && strings.HasSuffix(p, ".py") && !strings.ContainsAny(p, "\t\n\r") {
			rel, err := filepath.Rel(dir, p)
			files = append(files, rel)
			return err
		}
		return nil
	})
	return files, err
}

// resolveWheels finds and fetches what the recipe's requirements need, as the
// index has it now.
func (b *builder) resolveWheels(ctx context.Context, debs []pin) ([]pin, error) {
	py, err := b.wheelPython(debs)
	if err != nil {
		return nil, err
	}
	pip, err := b.pip(ctx, debs)
	if err != nil {
		return nil, err
	}
	var pins []pin
	err = b.step(func() error {
		found, err := b.store.downloadAny(func(dir string) error {
			return pip.Download(ctx, dir, b.src.Recipe.wanted().Wheels, py.target())
		})
		if err != nil {
			return err
		}
		for sum, f := range found {
			name, version, err := wheel.ParseName(f.file)
			if err != nil {
				return err
			}
			pins = append(pins, pin{Name: name, Version: version, File: f.file, SHA256: sum, Size: f.size})
		}
		slices.SortFunc(pins, func(a, b pin) int { return strings.Compare(a.Name, b.Name) })
		return nil
	}, "resolve %s", counted(len(b.src.Recipe.Wheels), "Python requirement"))
	return pins, err
}

// resolve resolves all of the recipe.
func (b *builder) resolve(ctx context.Context, force bool) (*platformLock, error) {
	if err := b.store.init(); err != nil {
		return nil, err
	}
	l := &platformLock{For: b.src.Recipe.wanted()}
	var err error
	if len(l.For.Debs) > 0 {
		if l.Debs, err = b.resolveDebs(ctx, force); err != nil {
			return nil, err
		}
	}
	if len(l.For.Wheels) > 0 {
		if l.Wheels, err = b.resolveWheels(ctx, l.Debs); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// wheelPython is the Python that wheels are for.
func (b *builder) wheelPython(debs []pin) (python, error) {
	py, err := pythonOf(debs, b.platform)
	if err == nil && (py.version == "" || py.glibc == 0) {
		err = recipeErrorf("wheels", "the debs bring no python3.N-minimal")
	}
	return py, err
}

// addWheels makes the layer of the wheels, and returns the pins that it is
// made of.
func (b *builder) addWheels(ctx context.Context, debs, pins []pin) (Layer, []pin, error) {
	l, err := b.wheelsLayerOf(ctx, debs, pins)
	var gone *DriftError
	if errors.As(err, &gone) && !b.opt.Locked {
		now, rerr := b.resolveWheels(ctx, debs)
		if rerr != nil {
			return Layer{}, nil, rerr
		}
		b.drift(drifts("wheel", pins, now))
		pins = now
		l, err = b.wheelsLayerOf(ctx, debs, pins)
	}
	return l, pins, err
}

func (b *builder) wheelsLayerOf(ctx context.Context, debs, pins []pin) (Layer, error) {
	if _, err := b.wheelPython(debs); err != nil {
		return Layer{}, err
	}
	key := makeKey("wheels", []any{b.debsLayer.DiffID, contents(pins)})
	return b.store.makeLayer(ctx, key, func(ctx context.Context, dir string) error {
		if err := b.fetchWheels(ctx, debs, pins); err != nil {
			return err
		}
		err := b.step(func() error { return b.unpackWheels(dir, pins) }, "unpack %s", counted(len(pins), "wheel"))
		if err != nil {
			return err
		}
		return b.step(func() error { return b.compileWheels(ctx, dir) }, "compile %s", counted(len(pins), "wheel"))
	})
}

func (b *builder) fetchWheels(ctx context.Context, debs, pins []pin) error {
	missing := b.store.notDownloaded(pins)
	if len(missing) == 0 {
		return nil
	}
	pip, err := b.pip(ctx, debs)
	if err != nil {
		return err
	}
	return b.step(func() error {
		fetch := func(pins []pin) error {
			return b.store.download(pins, func(dir string) error { return pip.Fetch(ctx, dir, pipPins(pins), b.python.target()) })
		}
		err := fetch(missing)
		if !errors.Is(err, wheel.ErrGone) {
			return err
		}
		return b.goneWheels(missing, fetch, err)
	}, "fetch %s", counted(len(missing), "wheel"))
}

// goneWheels asks for the wheels one by one, to tell which are gone.
func (b *builder) goneWheels(pins []pin, fetch func([]pin) error, all error) error {
	gone := &DriftError{Where: b.src.where()}
	for _, p := range pins {
		err := fetch([]pin{p})
		if errors.Is(err, wheel.ErrGone) {
			gone.Gone = append(gone.Gone, Drift{Kind: "wheel", Name: p.Name, Pinned: p.Version})
		} else if err != nil {
			return err
		}
	}
	if len(gone.Gone) == 0 {
		return all
	}
	return gone
}

func (b *builder) unpackWheels(dir string, pins []pin) error {
	t, err := layer.OpenTree(dir, b.store.cfg.Limits.layer())
	if err != nil {
		return err
	}
	defer t.Close()
	for _, p := range pins {
		if err := b.unpackWheel(t, p); err != nil {
			return fmt.Errorf("unpack %s: %w", p.File, err)
		}
	}
	return nil
}

func (b *builder) unpackWheel(t *layer.Tree, p pin) error {
	f, err := os.Open(b.store.path("downloads", p.SHA256))
	if err != nil {
		return err
	}
	defer f.Close()
	return wheel.Unpack(f, p.Size, t, b.python.layout())
}

// compileWheels compiles each top-level package by itself.
func (b *builder) compileWheels(ctx context.Context, dir string) error {
	site := b.python.layout().Site
	entries, err := os.ReadDir(filepath.Join(dir, site))
	if err != nil {
		return err
	}
	var folders []string
	for _, e := range entries {
		folders = append(folders, path.Join(site, e.Name()))
	}
	return b.python.compile(ctx, b.store.layerPath(b.debsLayer.DiffID), dir, folders)
}
