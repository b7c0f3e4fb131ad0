//go:build linux

package containers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/npy"
)

// builtVariable says where the tests of another user find what was built.
const builtVariable = "CUBE_TEST_BUILT"

// built is what the tests run: cube-worker, and a layer that holds /payload.
var built struct {
	once           sync.Once
	dir            string
	worker, layer  string
	err            error
	runner         *native.Runner
	runnerStateDir string
}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.runner != nil {
		if err := built.runner.Close(); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	if built.dir != "" && os.Getenv(builtVariable) == "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func build(t testing.TB) {
	t.Helper()
	built.once.Do(func() { built.err = buildAll() })
	if built.err != nil {
		t.Fatal(built.err)
	}
}

func buildAll() (err error) {
	if built.dir = os.Getenv(builtVariable); built.dir == "" {
		if built.dir, err = makeAll(); err != nil {
			return err
		}
	}
	built.worker, built.layer = filepath.Join(built.dir, "cube-worker"), filepath.Join(built.dir, "layer")
	state := filepath.Join(built.dir, fmt.Sprintf("state-%d", os.Getuid()))
	built.runner, err = native.New(native.Config{StateDir: state, Worker: built.worker})
	return err
}

func makeAll() (string, error) {
	dir, err := os.MkdirTemp("", "containers-test-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return "", err
	}
	for out, pkg := range map[string]string{"cube-worker": "../cmd/cube-worker", "layer/payload": "./testdata/payload"} {
		cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(dir, out), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w: %s", pkg, err, output)
		}
	}
	return dir, nil
}

// step is one thing that the payload does; see testdata/payload.
type step struct {
	Do   string
	Path string `json:",omitempty"`
	To   string `json:",omitempty"`
	Data []byte `json:",omitempty"`
	N    int64  `json:",omitempty"`
}

// bench is an executor with a staging directory that must be empty at the end.
type bench struct {
	*containers.Executor
	staging string
	room    *containers.Staging
}

func newBench(t testing.TB, memory int64) *bench {
	t.Helper()
	build(t)
	b := &bench{staging: t.TempDir()}
	b.room = containers.NewStaging(containers.StagingConfig{Memory: memory, Dir: func() (string, error) { return b.staging, nil }})
	b.Executor = containers.NewExecutor(containers.ExecutorConfig{Runner: built.runner, Staging: b.room})
	t.Cleanup(func() {
		left, err := os.ReadDir(b.staging)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
	return b
}

// action is one that takes the steps.
func action(t testing.TB, steps ...step) containers.Action {
	t.Helper()
	build(t)
	script, err := json.Marshal(steps)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, script, 0o644); err != nil {
		t.Fatal(err)
	}
	return containers.Action{Name: t.Name(), Layers: []string{built.layer}, Image: graph.Image{Command: []string{"/payload"}},
		Request: []byte("{}"), Sources: []containers.SourceFile{{Path: path, Target: "/cube/sources/script/data.json"}},
		Outputs: map[string]graph.RequestOutput{}, CPUs: 1, Limits: graph.Resources{}.WithDefaults()}
}

// grids asks for an output of the given dtype and shape, in (y, x).
func grids(dtype graph.DType, shape ...int64) graph.RequestOutput {
	return graph.RequestOutput{Kind: graph.Static, DType: dtype, Shape: shape, Dims: []string{"y", "x"}[2-len(shape):], Format: graph.NPY}
}

// array is an .npy file.
func array(t testing.TB, dtype string, values []byte, shape ...int64) []byte {
	t.Helper()
	head, err := npy.AppendHeader(nil, npy.Header{DType: dtype, Shape: shape})
	if err != nil {
		t.Fatal(err)
	}
	return append(head, values...)
}

// run runs an action that must succeed, and returns what it printed.
func (b *bench) run(t testing.TB, a containers.Action) (*containers.Result, string) {
	t.Helper()
	var log bytes.Buffer
	a.Log = &log
	r, err := b.Run(t.Context(), a)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r, log.String()
}

// fail runs an action that must fail by its producer's fault.
func (b *bench) fail(t testing.TB, a containers.Action) *containers.Failure {
	t.Helper()
	var log bytes.Buffer
	a.Log = &log
	r, err := b.Run(t.Context(), a)
	var f *containers.Failure
	if !errors.As(err, &f) {
		if err == nil {
			r.Close()
		}
		t.Fatalf("got %v, want a failure\n%s", err, &log)
	}
	if f.Usage.Wall == 0 && f.Kind != containers.FailedDisk {
		t.Errorf("%v: no usage", f)
	}
	return f
}

// TestEverythingHoldsWithoutRoot runs all the tests again as an ordinary user.
func TestEverythingHoldsWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this is not root")
	}
	build(t)
	const user = 1000
	home, err := os.MkdirTemp("", "containers-user-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	if err := os.Chown(home, user, user); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(built.dir, "tests")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.short")
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "TMPDIR=" + home, "USER=someone", builtVariable + "=" + built.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := bytes.Count(out, []byte("\n--- PASS")); n < 10 {
		t.Errorf("only %d tests passed:\n%s", n, out)
	}
}
