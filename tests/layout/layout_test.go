// Package layout holds the architecture as a test: which rooms there are, what
// each may import, where C may be called, and what no library does. A change
// of shape begins here and in ARCHITECTURE.md.
package layout

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/cubebuild/cube/"

// below are the rooms that every room above cube may use.
var below = []string{"cube", "cube/zarr", "cube/cas", "cube/catalog", "cube/deadletter", "graph", "cube/grid"}

// rooms says for each room which others it may import; a package belongs to
// the room whose path is the longest beginning of its own. Packages of one
// room may import each other.
var rooms = map[string][]string{
	"cube/grid":       {},
	"graph":           {"cube/grid"},
	"cube/zarr":       {}, // useful on its own to any Go program
	"cube/cas":        {"graph", "cube/grid"},
	"cube/catalog":    {"graph", "cube/grid"},
	"cube/deadletter": {"graph", "cube/grid", "internal/wholefile"},
	"cube":            {"cube/zarr", "cube/cas", "cube/catalog", "graph", "cube/grid"},

	"containers":  append([]string{"internal/npy", "internal/secret"}, below...),
	"graph/solve": append([]string{"containers"}, below...),
	"images":      {"graph", "cube/grid", "internal/wholefile"},
	"lineage":     append([]string{"graph/solve", "containers", "internal/credential", "internal/wholefile"}, below...),
	"dagger":      append([]string{"graph/solve", "containers", "images"}, below...),

	"internal/config":     {"images", "graph", "cube/grid", "internal/wholefile", "internal/yamlfile"},
	"internal/source":     {"graph", "internal/wholefile"},
	"internal/project":    append([]string{"containers", "images", "internal/config", "internal/credential", "internal/proxy", "internal/secret", "internal/source", "internal/wholefile", "internal/yamlfile"}, below...),
	"internal/progress":   append([]string{"graph/solve", "containers"}, below...),
	"internal/live":       append([]string{"graph/solve", "containers", "internal/progress"}, below...),
	"internal/ui":         append([]string{"graph/solve", "internal/progress", "containers", "lineage", "images", "internal/config"}, below...),
	"internal/compare":    below,
	"internal/verify":     append([]string{"graph/solve", "containers", "internal/compare"}, below...),
	"internal/exchange":   append([]string{"internal/geotiff", "internal/netcdf"}, below...),
	"internal/geotiff":    {},
	"internal/netcdf":     {},
	"internal/npy":        {},
	"internal/credential": {},
	"internal/proxy":      {"graph", "cube/grid", "internal/credential", "internal/secret", "internal/source"},
	"internal/secret":     {},
	"internal/wholefile":  {},
	"internal/survey":     below,
	"internal/yamlfile":   {"graph", "cube/grid"},
	"internal/peers":      {}, // for tests
	"sdk":                 {},

	"cmd/cube": append([]string{"containers", "graph/solve", "images", "lineage", "dagger", "internal/config",
		"internal/source", "internal/project", "internal/proxy", "internal/ui", "internal/npy", "internal/yamlfile", "internal/survey", "internal/exchange",
		"internal/compare", "internal/verify", "internal/live", "internal/progress"}, below...),
	"cmd/cube-worker": {"containers"},
	"cmd/cube-node":   {"graph/solve"},
	"tests":           append([]string{"containers", "graph/solve", "images", "internal/config", "internal/project", "internal/peers"}, below...),
}

// cRooms may call C; all else builds without it.
var cRooms = []string{"cube/catalog", "cube/zarr"}

// folders are the agreed top-level ones.
var folders = []string{"cmd", "containers", "cube", "dagger", "examples", "graph", "images", "internal", "lineage", "sdk", "tests"}

// vague names say nothing of what a package holds.
var vague = []string{"base", "common", "helper", "helpers", "manager", "managers", "misc", "service", "services", "shared",
	"type", "types", "util", "utils"}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath string
	Name       string
	Dir        string
	Doc        string
	Standard   bool
	GoFiles    []string
	CgoFiles   []string
	Imports    []string
}

func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, module) }

// inRoom reports whether the package is in a folder or below it.
func (p pkg) inRoom(room string) bool { return within(p.path(), room) }

func within(p, room string) bool { return p == room || strings.HasPrefix(p, room+"/") }

// list runs `go list` in the module's root with C on, whatever this process's
// own environment says.
func list(t *testing.T, env string, args ...string) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Name,Dir,Doc,Standard,GoFiles,CgoFiles,Imports"}, args...)...)
	cmd.Dir, cmd.Env, cmd.Stderr = root(t), append(os.Environ(), env), os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(out); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list found no package")
	}
	return pkgs
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// roomOf returns the room of a package's path, "" where it has none.
func roomOf(p string) string {
	for ; p != "."; p = path.Dir(p) {
		if _, ok := rooms[p]; ok {
			return p
		}
	}
	return ""
}

func TestImportsGoOneWay(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "CGO_ENABLED=1", "./...") {
		room := roomOf(p.path())
		if room == "" {
			t.Errorf("%s is in no room: say in this test what it may import", p.path())
			continue
		}
		for _, imported := range p.Imports {
			if !strings.HasPrefix(imported, module) {
				continue
			}
			other := roomOf(strings.TrimPrefix(imported, module))
			if other != room && !slices.Contains(rooms[room], other) {
				t.Errorf("%s imports %s: %s may import %v", p.path(), strings.TrimPrefix(imported, module), room, rooms[room])
			}
		}
	}
}

func TestNoPathOfImportsComesBack(t *testing.T) {
	t.Parallel()
	var visit func(start, room string, seen map[string]bool)
	visit = func(start, room string, seen map[string]bool) {
		for _, next := range rooms[room] {
			if _, ok := rooms[next]; !ok {
				t.Errorf("%s may import %s, which is no room", room, next)
			}
			if next == start {
				t.Errorf("%s may import itself by way of %s", start, room)
			}
			if !seen[next] {
				seen[next] = true
				visit(start, next, seen)
			}
		}
	}
	for room := range rooms {
		visit(room, room, map[string]bool{})
	}
}

func TestOnlyTheCatalogKnowsDuckDB(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "CGO_ENABLED=1", "./...") {
		for _, imported := range p.Imports {
			if strings.Contains(imported, "duckdb") && !p.inRoom("cube/catalog") {
				t.Errorf("%s imports %s", p.path(), imported)
			}
		}
	}
}

func TestCIsCalledOnlyByCatalogAndCodecs(t *testing.T) {
	t.Parallel()
	needC := map[string]bool{}
	for _, p := range list(t, "CGO_ENABLED=1", "-deps", "./...") {
		needC[p.ImportPath] = len(p.CgoFiles) > 0 && !p.Standard
	}
	for _, p := range list(t, "CGO_ENABLED=1", "./...") {
		if slices.ContainsFunc(cRooms, p.inRoom) {
			continue
		}
		if len(p.CgoFiles) > 0 {
			t.Errorf("%s calls C in %v", p.path(), p.CgoFiles)
		}
		for _, imported := range p.Imports {
			if needC[imported] && !strings.HasPrefix(imported, module) {
				t.Errorf("%s imports %s, which calls C", p.path(), imported)
			}
		}
	}
}

func TestTheWorkerBuildsWithoutC(t *testing.T) {
	t.Parallel()
	worker := filepath.Join(t.TempDir(), "cube-worker")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", worker, "./cmd/cube-worker")
	cmd.Dir, cmd.Env = root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, p := range list(t, "CGO_ENABLED=0", "-deps", "./cmd/cube-worker") {
		if len(p.CgoFiles) > 0 {
			t.Errorf("cube-worker needs %s, which calls C", p.ImportPath)
		}
	}
}

func TestNounsDoNoIO(t *testing.T) {
	t.Parallel()
	outside := []string{"os", "os/exec", "os/signal", "net", "net/http", "syscall", "math/rand", "math/rand/v2", "log", "log/slog"}
	for _, p := range list(t, "CGO_ENABLED=1", "./...") {
		if room := roomOf(p.path()); room != "graph" && room != "cube/grid" {
			continue
		}
		for _, imported := range p.Imports {
			if slices.Contains(outside, imported) {
				t.Errorf("%s imports %s", p.path(), imported)
			}
		}
	}
}

func TestTopLevelFoldersAreTheAgreedOnes(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "git", "-C", root(t), "ls-files").Output()
	if err != nil {
		t.Skipf("not a git checkout: %v", err)
	}
	for _, file := range strings.Fields(string(out)) {
		folder, _, nested := strings.Cut(file, "/")
		if nested && !strings.HasPrefix(folder, ".") && !slices.Contains(folders, folder) {
			t.Errorf("%s: %s is no agreed top-level folder", file, folder)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "CGO_ENABLED=1", "./...") {
		if len(p.GoFiles)+len(p.CgoFiles) > 0 && p.Doc == "" {
			t.Errorf("%s has no package doc", p.path())
		}
		for _, word := range strings.Split(p.path(), "/") {
			if slices.Contains(vague, word) {
				t.Errorf("%s: %q says nothing of what is in it", p.path(), word)
			}
		}
	}
}

// forbidden are calls that no library makes: it is given its environment, and
// prints nothing.
var forbidden = []string{"os.Getenv", "os.LookupEnv", "os.Exit", "os.Setenv", "os.Chdir", "fmt.Print", "fmt.Printf", "fmt.Println",
	"log.Print", "log.Printf", "log.Println", "log.Fatal", "log.Fatalf", "slog.Default", "http.Get", "time.Local"}

func TestLibrariesReadNoEnvironmentAndPrintNothing(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "CGO_ENABLED=1", "./...") {
		if p.inRoom("cmd") || p.Name == "main" || p.inRoom("internal/peers") || p.inRoom("tests") {
			continue
		}
		for _, file := range slices.Concat(p.GoFiles, p.CgoFiles) {
			checkFile(t, filepath.Join(p.Dir, file), p)
		}
	}
}

// inSandbox are the packages that run as the sandbox's own first process.
var inSandbox = []string{"containers/native/inside"}

func checkFile(t *testing.T, name string, p pkg) {
	t.Helper()
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if n.Recv == nil && n.Name.Name == "init" {
				t.Errorf("%s: nothing registers itself in an init", files.Position(n.Pos()))
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if ok && slices.Contains(forbidden, x.Name+"."+n.Sel.Name) && !slices.ContainsFunc(inSandbox, p.inRoom) {
				t.Errorf("%s: a library does not use %s.%s", files.Position(n.Pos()), x.Name, n.Sel.Name)
			}
		}
		return true
	})
}
