package images

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Recipe says how a producer directory becomes an image. It is the `image:`
// section of producer.yaml.
type Recipe struct {
	// Base is what the image stands on: "scratch", or "debian" for a tree of
	// Debian packages. Empty is "debian" where Debs or Wheels name something
	// and "scratch" elsewhere.
	Base string `yaml:"base,omitempty" json:"base,omitempty"`
	// Go compiles a Go program out of the producer directory.
	Go *GoBuild `yaml:"go,omitempty" json:"go,omitempty"`
	// Debs names Debian packages. They and what they depend on are pinned in
	// image.lock.
	Debs []string `yaml:"debs,omitempty" json:"debs,omitempty"`
	// Wheels are Python requirements, such as "rasterio==1.4.4". They and what
	// they depend on are pinned in image.lock. They need a Python among Debs,
	// such as python3.11-minimal. What they call entry points is not made into
	// programs: run "python3 -m" with the module.
	Wheels []string `yaml:"wheels,omitempty" json:"wheels,omitempty"`
	// Serve puts the module cube_serve where the image's Python finds it: it
	// serves the tiles of a batch, each in a process forked from one that has
	// imported what takes long, or all in one.
	Serve bool `yaml:"serve,omitempty" json:"serve,omitempty"`
	// Files are copied out of the producer directory.
	Files []FileRule `yaml:"files,omitempty" json:"files,omitempty"`
	// Env is set for the command, beside a PATH.
	Env map[string]string `yaml:"env,omitempty" json:"env,omitempty"`
	// Command is what the container runs. Empty is the Go program.
	Command []string `yaml:"command,omitempty" json:"command,omitempty"`
	// WorkDir is where the command starts; empty is /cube/scratch.
	WorkDir string `yaml:"workdir,omitempty" json:"workdir,omitempty"`
	// User is the numeric "uid:gid" of the command; empty is 65534:65534.
	User string `yaml:"user,omitempty" json:"user,omitempty"`
}

// GoBuild is a Go program that is compiled into the image. The producer
// directory, or the folder of Package, holds its go.mod, whose toolchain line
// (or else go line) names the exact compiler.
type GoBuild struct {
	// Package is the main package, as a path from the producer directory;
	// empty is ".".
	Package string `yaml:"package,omitempty" json:"package,omitempty"`
	// Output is the program's path in the image; empty is "/producer".
	Output string `yaml:"output,omitempty" json:"output,omitempty"`
}

// FileRule copies files of the producer directory into the image.
type FileRule struct {
	// From is a file, a folder, or a pattern as path.Match has it.
	From string `yaml:"from" json:"from"`
	// To is the absolute path in the image. With a slash at its end it is the
	// folder that the files are put in; a folder is copied whole, as To.
	To string `yaml:"to" json:"to"`
	// Exec makes the files executable. Those with an executable bit in the
	// producer directory are, too.
	Exec bool `yaml:"exec,omitempty" json:"exec,omitempty"`
}

// LockFile is the name of the lock beside the recipe.
const LockFile = "image.lock"

// Source is a producer to build.
type Source struct {
	// Name is the name that the image gets in the store.
	Name string
	// FS holds the producer directory.
	FS fs.FS
	// Dir is the producer directory on disk, or empty where FS is embedded.
	Dir string
	// Recipe is how to build it.
	Recipe Recipe
	// Label is the producer's contract as canonical JSON. It becomes the
	// config label dev.cubebuild.producer.
	Label []byte
}

// Dir is the Source of a producer directory on disk.
func Dir(dir, name string, recipe Recipe, label []byte) Source {
	return Source{Name: name, FS: os.DirFS(dir), Dir: dir, Recipe: recipe, Label: label}
}

// base returns what the image stands on, defaults applied.
func (r *Recipe) base() string {
	switch {
	case r.Base != "":
		return r.Base
	case len(r.Debs) > 0 || len(r.Wheels) > 0:
		return "debian"
	}
	return "scratch"
}

// Validate says what is wrong with a recipe, as a [*RecipeError].
func (r *Recipe) Validate() error {
	for _, check := range []func() error{r.checkBase, r.checkGo, r.checkServe, r.checkFiles, r.checkRun} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

var (
	debName   = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	wheelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9,._ -]*\])?\s*([=<>!~;][^\n\r]*)?$`)
	envName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	userID    = regexp.MustCompile(`^[0-9]{1,9}(:[0-9]{1,9})?$`)
)

func (r *Recipe) checkBase() error {
	base := r.base()
	if base != "scratch" && base != "debian" {
		return recipeErrorf("base", "%q: it is scratch or debian", r.Base)
	}
	if base == "scratch" && (len(r.Debs) > 0 || len(r.Wheels) > 0) {
		return recipeErrorf("base", "scratch holds no debs and no wheels")
	}
	for _, d := range r.Debs {
		if !debName.MatchString(d) {
			return recipeErrorf("debs", "%q is not the name of a Debian package (its version belongs into %s)", d, LockFile)
		}
	}
	for _, w := range r.Wheels {
		if !wheelName.MatchString(w) || strings.Contains(w, "@") {
			return recipeErrorf("wheels", "%q is not a requirement such as numpy==2.4.6", w)
		}
	}
	if len(r.Wheels) > 0 && !slices.ContainsFunc(r.Debs, isPython) {
		return recipeErrorf("wheels", "they need a Python among debs, such as python3.11-minimal and libpython3.11-stdlib")
	}
	return nil
}

func isPython(deb string) bool { return strings.HasPrefix(deb, "python3") }

func (r *Recipe) checkGo() error {
	if r.Go == nil {
		return nil
	}
	if p := r.Go.pkg(); !fs.ValidPath(p) {
		return recipeErrorf("go.package", "%q is not a path within the producer directory", r.Go.Package)
	}
	if out := r.Go.output(); !cleanAbs(out) || out == "/" {
		return recipeErrorf("go.output", "%q is not a clean absolute path", r.Go.Output)
	}
	return nil
}

// pkg is Package as a slash path of fs.FS: "." or "cmd/slope".
func (g *GoBuild) pkg() string {
	if g.Package == "" {
		return "."
	}
	return path.Clean(strings.TrimPrefix(g.Package, "./"))
}

func (g *GoBuild) output() string {
	if g.Output == "" {
		return "/producer"
	}
	return g.Output
}

func (r *Recipe) checkFiles() error {
	for i, f := range r.Files {
		from := strings.TrimSuffix(f.From, "/")
		if !fs.ValidPath(from) {
			return recipeErrorf(fileField(i, "from"), "%q is not a path within the producer directory", f.From)
		}
		if _, err := path.Match(from, ""); err != nil {
			return recipeErrorf(fileField(i, "from"), "%q is not a pattern: %v", f.From, err)
		}
		if to := strings.TrimSuffix(f.To, "/"); f.To != "/" && !cleanAbs(to) {
			return recipeErrorf(fileField(i, "to"), "%q is not a clean absolute path", f.To)
		}
	}
	return nil
}

// fileField names a field of one of a recipe's file rules.
func fileField(i int, name string) string { return fmt.Sprintf("files.%d.%s", i, name) }

func (r *Recipe) checkRun() error {
	for k, v := range r.Env {
		if !envName.MatchString(k) || strings.ContainsRune(v, 0) {
			return recipeErrorf("env", "%q is not the name of an environment variable", k)
		}
	}
	if r.User != "" && !userID.MatchString(r.User) {
		return recipeErrorf("user", "%q is not a numeric uid:gid", r.User)
	}
	if r.WorkDir != "" && !cleanAbs(r.WorkDir) {
		return recipeErrorf("workdir", "%q is not a clean absolute path", r.WorkDir)
	}
	if len(r.command()) == 0 {
		return recipeErrorf("command", "it is missing: what does the container run?")
	}
	return nil
}

// command is what the container runs, defaults applied.
func (r *Recipe) command() []string {
	if len(r.Command) == 0 && r.Go != nil {
		return []string{r.Go.output()}
	}
	return r.Command
}

// env is the environment as the image config has it: sorted, with a PATH.
func (r *Recipe) env() []string {
	const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	env := make([]string, 0, len(r.Env)+1)
	for k, v := range r.Env {
		env = append(env, k+"="+v)
	}
	if _, ok := r.Env["PATH"]; !ok {
		env = append(env, "PATH="+defaultPath)
	}
	slices.Sort(env)
	return env
}

func cleanAbs(p string) bool {
	return strings.HasPrefix(p, "/") && path.Clean(p) == p && !strings.ContainsRune(p, 0)
}

// builtin begins the names of producers that are embedded in the program.
const builtin = "builtin:"

// where names the source in errors: its directory, or its name.
func (s *Source) where() string {
	if s.Dir != "" {
		return filepath.Clean(s.Dir)
	}
	return builtin + s.Name
}

func (s *Source) validate() error {
	if s.FS == nil {
		return fmt.Errorf("image %s: no files given", s.Name)
	}
	if err := s.Recipe.Validate(); err != nil {
		return fmt.Errorf("image %s: %w", s.where(), err)
	}
	return nil
}
