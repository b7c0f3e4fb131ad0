package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cubebuild/cube/containers/native/worker"
	"github.com/cubebuild/cube/tests/story"
	"github.com/rogpeppe/go-internal/testscript"
)

// The stories of testdata/script run this test binary as the command cube,
// each with a home and a cube of its own; built images are shared. Beside what
// package story gives them there are the command
//
//	damage PATTERN          changes the last byte of the first file that matches
//
// and the variables WWW, the address of a server of the folder www, and HOST, its
// host and port.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cube": main})
}

func TestStories(t *testing.T) {
	t.Parallel()
	commands := story.Commands(30 * time.Second)
	commands["damage"] = damageCommand
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setupStory,
		Condition:           story.Condition,
		Cmds:                commands,
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
	if err := story.Setup(env); err != nil {
		return err
	}
	env.Setenv("CUBE_WORKER", path)
	www := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(env.WorkDir, "www"))))
	env.Defer(www.Close)
	env.Setenv("WWW", www.URL)
	env.Setenv("HOST", www.Listener.Addr().String())
	if data := os.Getenv("CUBE_SAMPLE_DATA"); data != "" {
		env.Setenv("CUBE_SAMPLE_DATA", data)
	}
	return nil
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
