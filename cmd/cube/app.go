package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/internal/live"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/proxy"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
	"github.com/spf13/cobra"
)

// app is what all commands share: the streams, the global flags, and the
// project, which is opened by the commands that need one.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) string

	dir   string
	json  bool
	quiet bool

	resumes bool // what is interrupted goes on from there when it is called again

	project *project.Project
	runner  *native.Runner
}

// projectFlags are what the commands that prepare a plan have in common.
type projectFlags struct {
	sets    []string
	locked  bool
	offline bool
	dryRun  bool // by commands that only look
	update  bool
	known   bool // and that make nothing ready for it
}

func (f *projectFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.sets, "set", nil, "override a value of cube.yaml, as `key=value` (repeatable)")
	c.Flags().BoolVar(&f.locked, "locked", false, "take nothing that is not as cube.lock pins it")
	c.Flags().BoolVar(&f.offline, "offline", false, "fetch nothing")
}

// open opens the project that the working directory lies in.
func (a *app) open(f projectFlags, step func(string)) (*project.Project, error) {
	if a.project != nil {
		return a.project, nil
	}
	cache, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	p, err := project.Open(project.Config{Dir: a.dir, Cache: cache, Sets: f.sets, Folders: filepath.SplitList(a.env("CUBE_SOURCES")),
		Locked: f.locked, Offline: f.offline, DryRun: f.dryRun, Known: f.known, Update: f.update, S3: a.s3(), Env: a.env, Runner: a.sandbox, Notice: a.notice, Step: step, Upstream: a.upstream()})
	a.project = p
	return p, err
}

// upstream is how hosts are reached that producers fetch from: none at an address
// of this machine or of a private network, unless its owner says so.
func (a *app) upstream() proxy.Upstream {
	private := strings.FieldsFunc(a.env("CUBE_PRIVATE_HOSTS"), func(r rune) bool { return r == ',' || r == ' ' })
	return proxy.Upstream{Dial: proxy.Dialer(private), Proxy: http.ProxyFromEnvironment}
}

// cacheDir is where images and sources are kept for all workspaces.
func (a *app) cacheDir() (string, error) {
	if d := a.env("XDG_CACHE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "cube"), nil
	}
	home := a.env("HOME")
	if home == "" {
		return "", errors.New("neither XDG_CACHE_HOME nor HOME says where images and sources are to be kept")
	}
	return filepath.Join(home, ".cache", "cube"), nil
}

// sandbox makes the native sandbox, once.
func (a *app) sandbox(context.Context) (containers.Runner, error) {
	if a.runner != nil {
		return a.runner, nil
	}
	cache, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	a.runner, err = native.New(native.Config{StateDir: filepath.Join(cache, "sandbox"), Worker: a.env("CUBE_WORKER")})
	if err != nil {
		a.runner = nil
		return nil, err
	}
	return a.runner, nil
}

// sweep removes what killed builds left behind in the cube and in the machine.
func (a *app) sweep(ctx context.Context, c *cube.Cube) error {
	if _, err := c.Sweep(ctx); err != nil {
		return err
	}
	runs := lineage.Open(c.Path("runs"))
	if err := live.Sweep(c.Path("live"), runs.Tidy); err != nil {
		return err
	}
	cache, err := a.cacheDir()
	if err != nil {
		return err
	}
	return native.Sweep(filepath.Join(cache, "sandbox"))
}

// close closes what was opened.
func (a *app) close() error {
	var errs []error
	if a.project != nil { // first: its executor has containers of the runner's
		errs = append(errs, a.project.Close())
	}
	if a.runner != nil {
		errs = append(errs, a.runner.Close())
	}
	return errors.Join(errs...)
}

// notice tells the user something that is no error.
func (a *app) notice(text string) {
	if !a.quiet && !a.json {
		fmt.Fprintf(a.stderr, "note: %s\n", strings.TrimSpace(text))
	}
}

// workers is how many actions run at once.
func workers(flag, configured int) int {
	switch {
	case flag > 0:
		return flag
	case configured > 0:
		return configured
	}
	return max(1, numCPU())
}

// display is how a build is shown.
func (a *app) display() ui.Display {
	terminal := ui.IsTerminal(a.stderr) && a.env("TERM") != "dumb"
	switch {
	case a.json:
		return &ui.JSON{Out: a.stdout}
	case !terminal || a.quiet:
		return &ui.Plain{Out: a.stdout, Err: a.stderr, Quiet: a.quiet}
	}
	return ui.NewTerminal(ui.TerminalConfig{Out: a.stdout, Err: a.stderr, Style: a.style(a.stderr), Summary: a.style(a.stdout),
		Size: func() (int, int) { return ui.Size(a.stderr) }})
}

// style is how words are coloured on a stream.
func (a *app) style(stream io.Writer) ui.Style {
	return ui.Style{Color: ui.UseColor(ui.IsTerminal(stream), a.env)}
}
