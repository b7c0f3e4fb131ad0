package images

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"crypto/sha256"

	"github.com/cubebuild/cube/images/internal/layer"
)

// codeFile is one file of the producer's own layer.
type codeFile struct {
	Path string // in the image, without the leading slash
	Sum  string
	Exec bool
	open func() (fs.File, error)
	size int64
}

// addCode makes the last layer: the Go program and the files.
func (b *builder) addCode(ctx context.Context) (Layer, error) {
	files, err := b.files()
	if err != nil {
		return Layer{}, err
	}
	if g := b.src.Recipe.Go; g != nil {
		f, err := b.goProgram(ctx)
		if err != nil {
			return Layer{}, err
		}
		files = append(files, f)
	}
	if b.src.Recipe.Serve {
		f, err := b.serveFile()
		if err != nil {
			return Layer{}, err
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b codeFile) int { return strings.Compare(a.Path, b.Path) })
	for i := 1; i < len(files); i++ {
		if files[i].Path == files[i-1].Path {
			return Layer{}, recipeErrorf("files", "two files become /%s", files[i].Path)
		}
	}
	return b.codeLayer(ctx, files)
}

func (b *builder) codeLayer(ctx context.Context, files []codeFile) (Layer, error) {
	compiles := b.python.version != "" && slices.ContainsFunc(files, func(f codeFile) bool { return strings.HasSuffix(f.Path, ".py") })
	runtime := ""
	if compiles {
		runtime = b.debsLayer.DiffID
	}
	key := makeKey("code", []any{b.src.Recipe.base(), runtime, files})
	return b.store.makeLayer(ctx, key, func(ctx context.Context, dir string) error {
		if err := b.writeCode(dir, files); err != nil {
			return err
		}
		if !compiles {
			return nil
		}
		return b.python.compile(ctx, b.store.layerPath(b.debsLayer.DiffID), dir, []string{"."})
	})
}

func (b *builder) writeCode(dir string, files []codeFile) error {
	t, err := layer.OpenTree(dir, b.store.cfg.Limits.layer())
	if err != nil {
		return err
	}
	defer t.Close()
	if b.src.Recipe.base() == "scratch" {
		if err := writeSkeleton(t, false); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := f.write(t); err != nil {
			return err
		}
	}
	return nil
}

// write puts the file into the layer. What is no longer what the layer's key
// says is an error: it must not be kept under that key.
func (f *codeFile) write(t *layer.Tree) error {
	r, err := f.open()
	if err != nil {
		return err
	}
	defer r.Close()
	h := sha256.New()
	err = t.File(f.Path, io.TeeReader(r, h), f.size, f.Exec, true)
	if errors.Is(err, io.ErrUnexpectedEOF) || err == nil && hex.EncodeToString(h.Sum(nil)) != f.Sum {
		return fmt.Errorf("/%s changed while its image was made; try again", f.Path)
	}
	if more, _ := r.Read(make([]byte, 1)); err == nil && more > 0 {
		return fmt.Errorf("/%s grew while its image was made; try again", f.Path)
	}
	return err
}

// files finds what the recipe's file rules copy.
func (b *builder) files() ([]codeFile, error) {
	var out []codeFile
	for i, rule := range b.src.Recipe.Files {
		found, err := b.match(rule, fileField(i, "from"))
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// match finds the files of one rule. Mistakes are in the field.
func (b *builder) match(rule FileRule, field string) ([]codeFile, error) {
	from := strings.TrimSuffix(rule.From, "/")
	pattern := strings.ContainsAny(from, `*?[\`)
	matches := []string{from}
	if pattern {
		var err error
		if matches, err = fs.Glob(b.src.FS, from); err != nil {
			return nil, recipeErrorf(field, "%q: %v", rule.From, err)
		}
		b.watchPattern(from)
	}
	var out []codeFile
	for _, m := range matches {
		st, err := fs.Stat(b.src.FS, m)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, recipeErrorf(field, "%q is not in the producer directory", rule.From)
		}
		if err != nil {
			return nil, err
		}
		to := rule.To
		if strings.HasSuffix(to, "/") || pattern {
			to = path.Join(to, path.Base(m))
		}
		if st.IsDir() {
			err = b.folder(m, to, rule.Exec, &out)
		} else {
			err = b.file(m, to, rule.Exec, &out)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, recipeErrorf(field, "%q matches nothing in the producer directory", rule.From)
	}
	return out, nil
}

// watchPattern notes the folders in which a pattern may match something new.
func (b *builder) watchPattern(pattern string) {
	dir := path.Dir(pattern)
	if !strings.ContainsAny(dir, `*?[\`) {
		b.inputs.add(dir)
		return
	}
	b.watchPattern(dir)
	dirs, _ := fs.Glob(b.src.FS, dir)
	for _, d := range dirs {
		b.inputs.add(d)
	}
}

// folder takes a folder whole, but for what tools leave in it.
func (b *builder) folder(from, to string, exec bool, out *[]codeFile) error {
	return fs.WalkDir(b.src.FS, from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == "__pycache__" || n == ".git" {
				return fs.SkipDir
			}
			b.inputs.add(p)
			return nil
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(p, from), "/")
		return b.file(p, path.Join(to, rel), exec, out)
	})
}

func (b *builder) file(from, to string, exec bool, out *[]codeFile) error {
	b.inputs.add(from)
	st, err := fs.Stat(b.src.FS, from)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return recipeErrorf("files.from", "%q is neither a file nor a folder", from)
	}
	body, err := fs.ReadFile(b.src.FS, from)
	if err != nil {
		return err
	}
	*out = append(*out, codeFile{
		Path: b.imagePath(to), Sum: sumOf(body), Exec: exec || st.Mode()&0o111 != 0, size: int64(len(body)),
		open: func() (fs.File, error) { return b.src.FS.Open(from) },
	})
	return nil
}

// imagePath is a path of the image as layers have it: without the leading
// slash and, on Debian, not through the links of the merged /usr, which a
// layer above them must not turn into folders.
func (b *builder) imagePath(p string) string {
	p = strings.TrimPrefix(p, "/")
	first, _, _ := strings.Cut(p, "/")
	if b.src.Recipe.base() == "debian" && slices.Contains([]string{"bin", "sbin", "lib", "lib64"}, first) {
		return "usr/" + p
	}
	return p
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// goProgram compiles the recipe's Go program.
func (b *builder) goProgram(ctx context.Context) (codeFile, error) {
	tmp, err := os.MkdirTemp(b.store.path("tmp"), "go-")
	if err != nil {
		return codeFile{}, err
	}
	b.closers = append(b.closers, func() { removeAll(tmp) })
	out, err := b.compileGo(ctx, tmp)
	if err != nil {
		return codeFile{}, err
	}
	sum, size, err := hashFile(out)
	if err != nil {
		return codeFile{}, err
	}
	return codeFile{
		Path: b.imagePath(b.src.Recipe.Go.output()), Sum: sum, Exec: true, size: size,
		open: func() (fs.File, error) { return os.Open(out) },
	}, nil
}

// materialize returns the producer directory on disk.
func (b *builder) materialize(tmp string) (string, error) {
	if b.src.Dir != "" {
		return b.src.Dir, nil
	}
	dir := path.Join(tmp, "src")
	if err := os.CopyFS(dir, b.src.FS); err != nil {
		return "", fmt.Errorf("write embedded source: %w", err)
	}
	return dir, nil
}
