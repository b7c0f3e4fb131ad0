// Package cli tells the stories of the command line, a testscript file each
// (see github.com/rogpeppe/go-internal/testscript). A story runs the built
// program in a home of its own and fetches nothing but what images are made of.
//
// Beside what package story gives them there is the command
//
//	python SCRIPT ARG...     runs a script of testdata/ in the pinned Python
package cli

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cubebuild/cube/internal/peers"
	"github.com/cubebuild/cube/tests/program"
	"github.com/cubebuild/cube/tests/story"
)

func TestStories(t *testing.T) {
	t.Parallel()
	cube, err := program.Path()
	if err != nil {
		t.Fatal(err)
	}
	python := peers.Python(t)
	scripts, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	commands := story.Commands(time.Minute)
	commands["python"] = runPython
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return setup(env, cube, python, scripts) },
		Condition:           story.Condition,
		Cmds:                commands,
	})
}

func setup(env *testscript.Env, cube, python, scripts string) error {
	if err := story.Setup(env); err != nil {
		return err
	}
	env.Setenv("PATH", filepath.Dir(cube)+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("PYTHON", python)
	env.Setenv("SCRIPTS", scripts)
	return nil
}

func runPython(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: python SCRIPT ARG...")
	}
	args[0] = filepath.Join(ts.Getenv("SCRIPTS"), args[0])
	err := ts.Exec(ts.Getenv("PYTHON"), args...)
	if neg == (err == nil) {
		ts.Fatalf("%s: %v", args[0], err)
	}
}
