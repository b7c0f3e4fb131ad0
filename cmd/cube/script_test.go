package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers/native/worker"
	"github.com/cubebuild/cube/tests/program"
	"github.com/rogpeppe/go-internal/testscript"
)

// The stories of testdata/script run this test binary as the command cube,
// each with a home and a cube of its own; built images are shared. Beside the
// commands of testscript there are:
//
//	workspace FOLDER        copies a folder of the repository, such as examples/rockies, and goes into the copy
//	replace FILE OLD NEW    replaces a piece of text that must be there
//	exits CODE COMMAND...   runs a command that must end with this code
//	damage PATTERN          changes the last byte of the first file that matches
//	wait-for PATTERN        waits for a file that a background command makes
//
// the variables LF, a line feed, WWW, the address of a server of the folder www,
// and HOST, its host and port; and the conditions [root] and [sample] (sample data, which CUBE_SOURCES names).
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cube": main})
}

func TestStories(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setupStory,
		Condition:           storyCondition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"workspace": workspaceCommand, "replace": replaceCommand, "wait-for": waitForCommand, "exits": exitsCommand, "damage": damageCommand,
		},
	})
}

// cubeWorker builds cube-worker once, for all stories.
var cubeWorker = sync.OnceValues(func() (string, error) {
	b, err := worker.Build(context.Background(), worker.Init)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "cube-test", "worker")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, "new-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "cube-worker")
	if _, err = f.Write(b); err == nil {
		err = f.Chmod(0o755)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return path, err
})

func setupStory(env *testscript.Env) error {
	path, err := cubeWorker()
	if err != nil {
		return err
	}
	home, err := program.Home(env.WorkDir)
	if err != nil {
		return err
	}
	for _, kv := range home {
		name, value, _ := strings.Cut(kv, "=")
		env.Setenv(name, value)
	}
	env.Setenv("CUBE_WORKER", path)
	env.Setenv("NO_COLOR", "1")
	env.Setenv("LF", "\n")
	www := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(env.WorkDir, "www"))))
	env.Defer(www.Close)
	env.Setenv("WWW", www.URL)
	env.Setenv("HOST", www.Listener.Addr().String())
	if data := os.Getenv("CUBE_SAMPLE_DATA"); data != "" {
		env.Setenv("CUBE_SOURCES", filepath.Join(data, "glassfire2020"))
		env.Setenv("CUBE_SAMPLE_DATA", data)
	}
	return keepEnvironment(env)
}

// keepEnvironment hands on how this machine compiles Go and reaches packages.
func keepEnvironment(env *testscript.Env) error {
	for _, kv := range os.Environ() {
		name, value, _ := strings.Cut(kv, "=")
		upper := strings.ToUpper(name)
		if strings.HasPrefix(upper, "PIP_") || strings.HasPrefix(upper, "SSL_CERT_") || strings.HasSuffix(upper, "_PROXY") {
			env.Setenv(name, value)
		}
	}
	names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		return err
	}
	for i, value := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		env.Setenv(names[i], value)
	}
	return nil
}

func storyCondition(name string) (bool, error) {
	switch name {
	case "sample":
		return os.Getenv("CUBE_SAMPLE_DATA") != "", nil
	case "root":
		return os.Getuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %s", name)
}

func workspaceCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: workspace FOLDER")
	}
	to := ts.MkAbs(filepath.Base(args[0]))
	ts.Check(program.CopyTree(args[0], to))
	ts.Check(ts.Chdir(to))
}

func replaceCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	old := ts.ReadFile(args[0])
	text := strings.ReplaceAll(old, args[1], args[2])
	if text == old {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// waitForCommand waits for a file that a background command makes.
func waitForCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-for PATTERN")
	}
	for range 600 {
		if found, _ := filepath.Glob(ts.MkAbs(args[0])); len(found) > 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear", args[0])
}

// exitsCommand runs a command that must end with a certain code.
func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if want := args[0]; fmt.Sprint(code) != want {
		ts.Fatalf("%s exited with %d, want %s", strings.Join(args[1:], " "), code, want)
	}
}

func damageCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage PATTERN")
	}
	found, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(found) == 0 {
		ts.Fatalf("no file matches %s", args[0])
	}
	b, err := os.ReadFile(found[0])
	ts.Check(err)
	b[len(b)-1] ^= 1
	ts.Check(os.Chmod(found[0], 0o644))
	ts.Check(os.WriteFile(found[0], b, 0o444))
}
