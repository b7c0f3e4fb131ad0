// Package story is what all stories of testscript stand on (see
// github.com/rogpeppe/go-internal/testscript): a home, and the commands
//
//	workspace FOLDER        copies a folder of the repository, such as examples/rockies, and goes into the copy
//	replace FILE OLD NEW    replaces a piece of text that must be there
//	exits CODE COMMAND...   runs a command that must end with this code
//	wait-for PATTERN        waits for a file that a background command makes
//
// the variable LF, a line feed; and the conditions [root] and [sample] (sample
// data, which CUBE_SOURCES names).
package story

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cubebuild/cube/tests/program"
)

// Command is one that stories have.
type Command = func(ts *testscript.TestScript, neg bool, args []string)

// Commands are those that all stories have. Patience is how long wait-for waits.
func Commands(patience time.Duration) map[string]Command {
	return map[string]Command{"workspace": workspace, "replace": replace, "exits": exits, "wait-for": waitFor(patience)}
}

// Setup gives a story its home.
func Setup(env *testscript.Env) error {
	own, err := program.Environment(env.WorkDir)
	if err != nil {
		return err
	}
	for _, kv := range own {
		name, value, _ := strings.Cut(kv, "=")
		env.Setenv(name, value)
	}
	env.Setenv("NO_COLOR", "1")
	env.Setenv("LF", "\n")
	if data := os.Getenv("CUBE_SAMPLE_DATA"); data != "" {
		env.Setenv("CUBE_SOURCES", filepath.Join(data, "glassfire2020"))
	}
	return nil
}

// Condition tells whether a condition of a story holds.
func Condition(name string) (bool, error) {
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
	old := ts.ReadFile(args[0])
	text := strings.ReplaceAll(old, args[1], args[2])
	if text == old {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

func waitFor(patience time.Duration) Command {
	const pause = 50 * time.Millisecond
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: wait-for PATTERN")
		}
		for range patience / pause {
			if found, _ := filepath.Glob(ts.MkAbs(args[0])); len(found) > 0 {
				return
			}
			time.Sleep(pause)
		}
		ts.Fatalf("%s did not appear", args[0])
	}
}

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
