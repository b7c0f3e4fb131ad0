// Package cli tells the stories of the command line, a testscript file each
// (see github.com/rogpeppe/go-internal/testscript). A story runs the built
// program in a home of its own and fetches nothing but what images are made of.
//
// Beside the commands of testscript there are:
//
//	workspace FOLDER         copies a folder of the repository, such as examples/rockies, and goes into the copy
//	replace FILE OLD NEW     replaces a piece of text that must be there
//	python SCRIPT ARG...     runs a script of testdata/ in the pinned Python
//	wait-for PATTERN         waits for a file that a background command makes
//	exits CODE COMMAND...    runs a command that must end with this code
//
// the variable LF, a line feed, and the condition [sample] is true where there is sample data, which
// $CUBE_SOURCES then names.
package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cubebuild/cube/internal/peers"
	"github.com/cubebuild/cube/tests/program"
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
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return setup(env, cube, python, scripts) },
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"workspace": workspace, "replace": replace, "python": runPython, "wait-for": waitFor, "exits": exits,
		},
	})
}

func setup(env *testscript.Env, cube, python, scripts string) error {
	home, err := program.Home(env.WorkDir)
	if err != nil {
		return err
	}
	for _, kv := range home {
		name, value, _ := strings.Cut(kv, "=")
		env.Setenv(name, value)
	}
	env.Setenv("PATH", filepath.Dir(cube)+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("NO_COLOR", "1")
	env.Setenv("LF", "\n")
	env.Setenv("PYTHON", python)
	env.Setenv("SCRIPTS", scripts)
	if data := os.Getenv("CUBE_SAMPLE_DATA"); data != "" {
		env.Setenv("CUBE_SOURCES", filepath.Join(data, "glassfire2020"))
	}
	return keep(env)
}

// kept are the variables of the tester's own that say how a machine reaches
// packages and modules.
var kept = []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CONFIG_FILE", "PIP_INDEX_URL", "PIP_CERT",
	"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"}

// keep hands on what compiling producers and fetching packages stand on.
func keep(env *testscript.Env) error {
	for _, name := range kept {
		if v := os.Getenv(name); v != "" {
			env.Setenv(name, v)
		}
	}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB"} {
		out, err := exec.Command("go", "env", name).Output()
		if err != nil {
			return err
		}
		env.Setenv(name, strings.TrimSpace(string(out)))
	}
	return nil
}

func condition(name string) (bool, error) {
	switch name {
	case "sample":
		return os.Getenv("CUBE_SAMPLE_DATA") != "", nil
	case "root":
		return os.Getuid() == 0, nil
	}
	return false, fmt.Errorf("unknown condition %s", name)
}

func workspace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: workspace FOLDER")
	}
	to := ts.MkAbs(filepath.Base(args[0]))
	ts.Check(program.CopyTree(args[0], to))
	ts.Check(ts.Chdir(to))
}

func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	name := ts.MkAbs(args[0])
	old := ts.ReadFile(args[0])
	text := strings.ReplaceAll(old, args[1], args[2])
	if text == old {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(name, []byte(text), 0o644))
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

// waitFor waits for a file that a background command makes.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: wait-for PATTERN")
	}
	for range 1200 {
		if found, _ := filepath.Glob(ts.MkAbs(args[0])); len(found) > 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	ts.Fatalf("%s did not appear", args[0])
}

// exits runs a command that must end with a certain code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
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
