package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
	"github.com/spf13/cobra"
)

type logOptions struct {
	failed bool
	all    bool
	follow bool
}

func newLogCommand(a *app) *cobra.Command {
	var o logOptions
	c := &cobra.Command{
		Use:     "log [ACTION | VARIABLE | RUN]",
		Short:   "show what producers printed, and list runs",
		GroupID: groupExplain,
		Long: `Log shows what the actions printed: one action, by the first digits of its id; the
actions that made a variable when it last ran; or all actions of a run. Those that
failed come first. Without an argument it lists the runs, those that failed first.

With -f it shows what the builds that go on now print, as it comes, until they end:
all of it, or what the named variable's, run's or action's producers print.

What is shown is safe for a terminal: control characters are shown by their
codes. With --json it is as it was printed.`,
		Example: `  cube log                 # the runs
  cube log slope           # what slope printed when it last ran
  cube log 3f9c0a          # one action
  cube log slope --failed  # only what failed
  cube log -f              # what is printed now, from any terminal`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeLog,
		RunE: func(c *cobra.Command, args []string) error {
			return runLog(c.Context(), a, o, strings.Join(args, ""))
		},
	}
	c.Flags().BoolVar(&o.failed, "failed", false, "only actions, or runs, that failed")
	c.Flags().BoolVarP(&o.all, "all", "a", false, "also actions that printed nothing; all runs")
	c.Flags().BoolVarP(&o.follow, "follow", "f", false, "show what is printed from now on, until the builds that go on now end")
	c.MarkFlagsMutuallyExclusive("follow", "failed")
	c.MarkFlagsMutuallyExclusive("follow", "all")
	return c
}

func runLog(ctx context.Context, a *app, o logOptions, what string) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	runs := lineage.Open("")
	if g.cube != nil {
		runs = lineage.Open(g.cube.Path("runs"))
	}
	if o.follow {
		return a.followLogs(ctx, g, runs, what)
	}
	if what == "" {
		return a.listRuns(runs, o)
	}
	found, err := g.findLogs(ctx, runs, what)
	if err != nil {
		return err
	}
	if o.failed {
		found = slices.DeleteFunc(found, func(l actionLog) bool { return l.action.Status == lineage.Succeeded })
	}
	slices.SortStableFunc(found, func(x, y actionLog) int { return failedLast(y.action.Status) - failedLast(x.action.Status) })
	return a.printLogs(runs, found, o, len(found) == 1)
}

func failedLast(s lineage.Status) int {
	if s == lineage.Succeeded {
		return 0
	}
	return 1
}

// actionLog is an action whose log is asked for.
type actionLog struct {
	run    lineage.Run
	action lineage.Action
}

// findLogs finds the actions that an argument means: a run, an action by the
// beginning of its id, or what last made a variable.
func (g *gallery) findLogs(ctx context.Context, runs *lineage.Store, what string) ([]actionLog, error) {
	ids, err := runs.IDs()
	if err != nil {
		return nil, err
	}
	slices.Reverse(ids)
	if isRun := func(id string) bool { return strings.HasPrefix(id, what) }; len(what) > 8 && slices.ContainsFunc(ids, isRun) {
		return logsOf(runs, ids[slices.IndexFunc(ids, isRun)], func(lineage.Action) bool { return true })
	}
	maker, err := g.instanceOf(ctx, what)
	if err != nil {
		return nil, err
	}
	match := func(x lineage.Action) bool { return x.Instance == maker }
	if prefix, ok := actionPrefix(what); maker == "" && ok {
		match = func(x lineage.Action) bool { return strings.HasPrefix(x.ID.Hex(), prefix) }
	} else if maker == "" {
		return nil, g.unknown(ctx, what)
	}
	for _, id := range ids {
		found, err := logsOf(runs, id, match)
		if err != nil || len(found) > 0 {
			return found, err
		}
	}
	if maker == "" {
		return nil, &usageError{fmt.Errorf("no action begins with %s\n  the runs: cube log", what)}
	}
	return nil, &usageError{fmt.Errorf("%s did not run yet", what)}
}

// actionPrefix is the beginning of an action's id.
func actionPrefix(s string) (string, bool) {
	s = strings.ToLower(strings.TrimPrefix(s, "sha256:"))
	return s, len(s) >= 4 && strings.Trim(s, "0123456789abcdef") == ""
}

// instanceOf is the instance that makes a variable, or of that name; "" where there
// is none.
func (g *gallery) instanceOf(ctx context.Context, name string) (string, error) {
	ws, err := g.proj.Outline(ctx)
	if err != nil {
		return "", err
	}
	for i := range ws.Instances {
		if makes(&ws.Instances[i], name) {
			return ws.Instances[i].Name, nil
		}
	}
	for i := range ws.Instances {
		if ws.Instances[i].Name == name {
			return name, nil
		}
	}
	return "", nil
}

// logsOf are the matching actions of a run.
func logsOf(runs *lineage.Store, id string, match func(lineage.Action) bool) ([]actionLog, error) {
	run, err := runs.Summary(id)
	if errors.Is(err, lineage.ErrNoRun) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []actionLog
	for x, err := range runs.Actions(id) {
		var damage *lineage.DamageError
		if errors.As(err, &damage) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if match(x) {
			out = append(out, actionLog{run, x})
		}
	}
	return out, nil
}

// logLine is a line of cube log --json.
type logLine struct {
	Type     string         `json:"type"` // log
	Run      string         `json:"run"`
	Action   graph.Digest   `json:"action"`
	Instance string         `json:"instance"`
	Tile     string         `json:"tile"`
	Status   lineage.Status `json:"status"`
	Exit     int            `json:"exit"`
	Reason   string         `json:"reason,omitempty"`
	Attempts int            `json:"attempts"`
	Wall     float64        `json:"wall_s"`
	Text     string         `json:"text"`
}

func (a *app) printLogs(runs *lineage.Store, found []actionLog, o logOptions, one bool) error {
	silent := 0
	for _, l := range found {
		text, err := printed(runs, l)
		if err != nil {
			return err
		}
		if a.json {
			x := l.action
			err = a.printLines(logLine{"log", l.run.ID, x.ID, x.Instance, x.Tile.String(), x.Status, x.Exit, x.Reason, x.Attempts, x.Usage.Wall.Seconds(), string(text)})
		} else if len(text) == 0 && l.action.Status == lineage.Succeeded && !one && !o.all {
			silent++
		} else {
			err = a.printLog(l, text)
		}
		if err != nil {
			return err
		}
	}
	if silent > 0 {
		a.notice(fmt.Sprintf("%s that succeeded printed nothing (cube log --all lists them)", actions(int64(silent), 0)))
	}
	return nil
}

// printed is what an action printed.
func printed(runs *lineage.Store, l actionLog) ([]byte, error) {
	var text []byte
	for piece, err := range runs.Printed(l.run.ID, &l.action.ID) {
		var damage *lineage.DamageError
		if errors.As(err, &damage) {
			continue
		}
		if err != nil {
			return nil, err
		}
		text = append(text, piece.Text...)
	}
	return text, nil
}

// printLog shows one action.
func (a *app) printLog(l actionLog, text []byte) error {
	s, x := a.style(a.stdout), l.action
	how := s.Good("succeeded")
	if x.Status != lineage.Succeeded {
		how = s.Bad(string(x.Status))
		if x.Reason != "" {
			how += ": " + ui.Printable([]byte(x.Reason))
		}
	}
	fmt.Fprintf(a.stdout, "%s %s  %s  %s\n", s.Bold(x.Instance), x.Tile, how,
		s.Dim(fmt.Sprintf("action %s, run %s, %s", x.ID.Short(), l.run.ID, ui.Took(x.Usage.Wall))))
	if len(text) == 0 {
		_, err := fmt.Fprintln(a.stdout, s.Dim("  it printed nothing"))
		return err
	}
	for _, line := range bytes.Split(bytes.TrimRight(text, "\n"), []byte("\n")) {
		if _, err := fmt.Fprintf(a.stdout, "  %s\n", ui.Printable(line)); err != nil {
			return err
		}
	}
	return nil
}

// runLine is a run as cube log lists it.
type runLine struct {
	Type     string         `json:"type"` // run
	Run      string         `json:"run"`
	Started  time.Time      `json:"started"`
	Wall     float64        `json:"wall_s"`
	Status   lineage.Status `json:"status"`
	Error    string         `json:"error,omitempty"`
	Targets  []string       `json:"targets"`
	Command  []string       `json:"command"`
	Counts   lineage.Counts `json:"counts"`
	finished bool
}

// listedRuns is how many runs are listed without --all.
const listedRuns = 20

func (a *app) listRuns(runs *lineage.Store, o logOptions) error {
	var lines []runLine
	for r, err := range runs.Runs() {
		if err != nil {
			a.notice(err.Error())
			continue
		}
		l := runLine{Type: "run", Run: r.ID, Started: r.Started, Status: r.Status, Error: r.Error, Targets: r.Targets, Command: r.Command, Counts: r.Counts}
		if l.finished = !r.Finished.IsZero(); l.finished {
			l.Wall = r.Finished.Sub(r.Started).Seconds()
		}
		if !o.failed || r.Status != lineage.Succeeded {
			lines = append(lines, l)
		}
	}
	slices.Reverse(lines)
	more := 0
	if n := len(lines) - listedRuns; n > 0 && !o.all && !a.json {
		lines, more = lines[:listedRuns], n
	}
	slices.SortStableFunc(lines, func(x, y runLine) int { return failedLast(y.Status) - failedLast(x.Status) })
	if a.json {
		return a.printLines(anySlice(lines)...)
	}
	if len(lines) == 0 {
		a.notice("nothing ran yet")
		return nil
	}
	err := a.runTable(lines).Write(a.stdout, a.style(a.stdout))
	if more > 0 {
		a.notice(fmt.Sprintf("and %s (cube log --all)", plural(more, "earlier run")))
	}
	return err
}

func (a *app) runTable(lines []runLine) *ui.Table {
	s := a.style(a.stdout)
	t := &ui.Table{Header: []string{"run", "status", "targets", "ran", "known", "failed", "took", "error"}, Right: []bool{3: true, 4: true, 5: true, 6: true}}
	for _, l := range lines {
		status := s.Good(string(l.Status))
		if l.Status != lineage.Succeeded {
			status = s.Bad(string(l.Status))
		}
		took := ""
		if l.finished {
			took = ui.Took(time.Duration(l.Wall * float64(time.Second)))
		}
		targets := strings.Join(l.Targets, ", ")
		if targets == "" {
			targets = "all"
		}
		t.Add(l.Run, status, ui.Fit(targets, 40), ui.Count(l.Counts.Ran), ui.Count(l.Counts.Hits), ui.Count(l.Counts.Failed), took, ui.Fit(ui.Printable([]byte(l.Error)), 60))
	}
	return t
}

// completeLog completes variables and runs.
func (a *app) completeLog(c *cobra.Command, args []string, text string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, directive := a.completeVariables(c, args, text)
	if g, err := a.look(c.Context()); err == nil && g.cube != nil {
		if ids, err := lineage.Open(g.cube.Path("runs")).IDs(); err == nil {
			names = append(names, ids...)
		}
	}
	return names, directive
}
