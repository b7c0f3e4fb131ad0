package config

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/graph"
)

func TestANewWorkspaceIsRight(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "My First_Cube!")
	files, err := Init(dir, "go1.26.0")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"cube.yaml", ".gitignore", "producers/hills/go.mod", "producers/hills/main.go", "producers/hills/producer.yaml",
		"producers/slope/go.mod", "producers/slope/main.go", "producers/slope/producer.yaml"}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	f, err := Load(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "my-first-cube" {
		t.Errorf("name %q", f.Name)
	}
	producers := map[string]ResolvedProducer{}
	for _, p := range f.Producers {
		pf, err := LoadProducer(os.DirFS(filepath.Join(dir, p.Image)), p.Image)
		if err != nil {
			t.Fatal(err)
		}
		producers[p.Name] = ResolvedProducer{Manifest: pf.Manifest}
	}
	ws, err := Workspace(f, nil, producers)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := graph.Resolve(ws, "slope")
	if err != nil || len(plan.Vertices) != 2 {
		t.Errorf("plan: %v", err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "producers/slope/go.mod"))
	if err != nil || !strings.Contains(string(mod), "\ntoolchain go1.26.0\n") {
		t.Errorf("go.mod: %s %v", mod, err)
	}
}

func TestTheProducersOfANewWorkspaceCompile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Init(dir, ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"hills", "slope"} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(t.TempDir(), name), ".")
		cmd.Dir = filepath.Join(dir, "producers", name)
		cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=readonly", "GOWORK=off", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestInitWritesOverNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kept := map[string]string{"producers/slope/main.go": "mine", ".gitignore": "mine, too"}
	for name, text := range kept {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Init(dir, ""); !errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, FileName)); err == nil {
		t.Error("a part was written")
	}
	if err := os.Remove(filepath.Join(dir, "producers/slope/main.go")); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(dir, ""); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, ".gitignore")); string(got) != "mine, too" {
		t.Errorf(".gitignore became %q", got)
	}
}
