//go:build linux

package native_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
)

// built holds what the tests run: built once, and removed at the end.
var built struct {
	once   sync.Once
	dir    string
	worker string
	image  string // a layer that holds /probe
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// build builds cube-worker, anew, and an image of one static program.
func build(t testing.TB) {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "native-test-"); built.err != nil {
			return
		}
		if built.err = os.Chmod(built.dir, 0o755); built.err != nil {
			return
		}
		built.worker = filepath.Join(built.dir, "cube-worker")
		built.image = filepath.Join(built.dir, "image")
		for out, pkg := range map[string]string{
			built.worker:                        "../../cmd/cube-worker",
			filepath.Join(built.image, "probe"): "./testdata/probe",
		} {
			cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, pkg)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if output, err := cmd.CombinedOutput(); err != nil {
				built.err = err
				os.Stderr.Write(output)
				return
			}
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
}

func newRunner(t testing.TB, config native.Config) *native.Runner {
	t.Helper()
	build(t)
	if config.StateDir == "" {
		config.StateDir = t.TempDir()
	}
	config.Worker = built.worker
	r, err := native.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// probe is a spec that runs the probe with the arguments.
func probe(t testing.TB, args ...string) containers.Spec {
	t.Helper()
	build(t)
	return containers.Spec{
		Name:   t.Name(),
		Layers: []string{built.image},
		Args:   append([]string{"/probe"}, args...),
		Env:    []string{"TZ=UTC"},
	}
}

// run runs the spec and returns what it wrote and how it ended.
func run(t testing.TB, r *native.Runner, spec containers.Spec) (string, *containers.Exit) {
	t.Helper()
	var out bytes.Buffer
	if spec.Stdout == nil {
		spec.Stdout, spec.Stderr = &out, &out
	}
	exit, err := r.Run(t.Context(), spec)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	t.Cleanup(func() { exit.Close() })
	return out.String(), exit
}
