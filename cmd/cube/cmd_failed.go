package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/deadletter"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

func newFailedCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "failed",
		Aliases: []string{"deadletter"},
		Short:   "actions that spent their attempts: list, look into, try again, drop",
		GroupID: groupExplain,
		Long: `An action that still fails when its attempts are spent is kept, with its log, its
request and what it read, until it succeeds or is dropped. So is one that was lost
three times: whatever ran it came to an end first. And so is a merge of what cannot
be merged, though the engine does that by itself, without a sandbox. An action is
named by the first digits of its id.

cube shell opens its very sandbox; cube repeat runs it again alone.`,
		Example: `  cube failed                # list them
  cube failed show 3f9c0a    # what happened, and what to do
  cube failed retry 3f9c0a   # build again what needs it
  cube failed retry --all
  cube failed drop 3f9c0a`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runFailedLs(c.Context(), a) },
	}
	c.AddCommand(newFailedLsCommand(a), newFailedShowCommand(a), newFailedRetryCommand(a), newFailedDropCommand(a))
	return c
}

func newFailedLsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "list the actions that spent their attempts",
		Long: `Ls lists the actions that spent their attempts, the newest first: where each
failed, how, after how many tries, and why.

With --json it prints a line {"type": "failed"} for each.`,
		Example: `  cube failed ls
  cube failed ls --json | jq -r 'select(.kind == "oom") | .action'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runFailedLs(c.Context(), a) },
	}
}

func newFailedShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "show ACTION",
		Short:             "show what happened to one: attempts, inputs, the end of the log",
		Example:           "  cube failed show 3f9c0a",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeFailed,
		RunE:              func(c *cobra.Command, args []string) error { return runFailedShow(c.Context(), a, args[0]) },
	}
}

func newFailedDropCommand(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "drop ACTION...",
		Short: "forget them, with their checkpoints",
		Long: `Drop forgets that actions failed, and what they left in /cube/checkpoint. The next
build that needs one runs it, unless it said that its input is bad (exit 65): that
stays known until cube failed retry or cube build --retry-failed.`,
		Example:           "  cube failed drop 3f9c0a\n  cube failed drop --all",
		Args:              func(c *cobra.Command, args []string) error { return someOrAll(args, all) },
		ValidArgsFunction: a.completeFailed,
		RunE:              func(c *cobra.Command, args []string) error { return runFailedDrop(c.Context(), a, args) },
	}
	c.Flags().BoolVar(&all, "all", false, "all of them")
	return c
}

func newFailedRetryCommand(a *app) *cobra.Command {
	var o buildOptions
	var all bool
	c := &cobra.Command{
		Use:   "retry ACTION...",
		Short: "build the targets again, trying just these again",
		Long: `Retry builds again what the builds were asked for in which the actions failed. It
runs the named actions, those that said that their input is bad (exit 65) too, and
what waited for them; others that failed are reported and not run. It goes on past
failures, as cube build -k does, with the same exit codes.`,
		Example: `  cube failed retry 3f9c0a
  cube failed retry --all -j 2
  cube failed retry --all --set producers.model.limits.memory=8GiB`,
		Args:              func(c *cobra.Command, args []string) error { return someOrAll(args, all) },
		ValidArgsFunction: a.completeFailed,
		RunE:              func(c *cobra.Command, args []string) error { return runFailedRetry(c.Context(), a, o, args) },
	}
	o.add(c)
	c.Flags().BoolVar(&all, "all", false, "all of them")
	c.Flags().VarP((*count)(&o.jobs), "jobs", "j", "how many actions run at once")
	c.Flags().StringVar(&o.backend, "backend", "", "where actions run: serial, thread or process")
	return c
}

func someOrAll(args []string, all bool) error {
	if all == (len(args) > 0) {
		return errors.New("name actions, or say --all")
	}
	return nil
}

// failedLine is a line of cube failed ls --json.
type failedLine struct {
	Type       string         `json:"type"` // failed
	Action     graph.ActionID `json:"action"`
	Instance   string         `json:"instance"`
	Grid       string         `json:"grid"`
	Tile       grid.Box       `json:"tile"`
	Variables  []string       `json:"variables"`
	Kind       string         `json:"kind"`
	Code       int            `json:"code"`
	Detail     string         `json:"detail"`
	Attempts   int            `json:"attempts"`
	Written    time.Time      `json:"written"`
	Age        float64        `json:"age_s"`
	Run        string         `json:"run"`
	Checkpoint bool           `json:"checkpoint"`
}

func (g *gallery) failedLine(l *deadletter.Letter) failedLine {
	return failedLine{"failed", l.Action, l.Instance, l.Grid, l.Tile, l.Variables, l.Failure.Kind, l.Failure.Code, l.Failure.Detail,
		len(l.Attempts), l.Written, time.Since(l.Written).Seconds(), l.Run, g.cube.HasCheckpoint(l.Action)}
}

func runFailedLs(ctx context.Context, a *app) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	all, err := a.deadLetters(g.cube)
	if err != nil {
		return err
	}
	if a.json {
		for _, l := range all {
			if err := a.printLines(g.failedLine(l)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		a.notice("nothing failed that did not succeed since")
		return nil
	}
	t := &ui.Table{Header: []string{"action", "what", "tile", "kind", "tries", "ago", "why"}, Right: []bool{4: true, 5: true}}
	for _, l := range all {
		t.Add(l.Action.Short(), l.Instance, l.Tile.String(), l.Failure.Kind, fmt.Sprint(len(l.Attempts)),
			ago(l.Written), ui.Fit(reason(l), 70))
	}
	if err := t.Write(a.stdout, a.style(a.stdout)); err != nil {
		return err
	}
	a.notice("to look into one: cube failed show ACTION")
	return nil
}

// reason is how an action failed, with the last that it printed where its exit
// tells little.
func reason(l *deadletter.Letter) string {
	text := l.Failure.Detail
	switch containers.FailureKind(l.Failure.Kind) {
	case containers.FailedExit, containers.FailedRetry, containers.FailedBadInput:
		lines := bytes.Split(bytes.TrimSpace(l.Log), []byte("\n"))
		if last := lines[len(lines)-1]; len(last) > 0 {
			text = fmt.Sprintf("exit %d: %s", l.Failure.Code, last)
		}
	}
	return ui.Printable([]byte(text))
}

// ago says how long something is past, in one unit.
func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// deadLetters are those of a cube, which may be nil, newest first. One that
// cannot be read is noticed.
func (a *app) deadLetters(c *cube.Cube) ([]*deadletter.Letter, error) {
	if c == nil {
		return nil, nil
	}
	if err := solve.Settle(c); err != nil {
		return nil, err
	}
	var all []*deadletter.Letter
	for l, err := range solve.DeadLetters(c).All() {
		if errors.Is(err, deadletter.ErrFormat) {
			a.notice(fmt.Sprintf("%v (cube failed drop %s)", err, l.Action.Short()))
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	slices.SortStableFunc(all, func(x, y *deadletter.Letter) int {
		return cmp.Or(y.Written.Compare(x.Written), strings.Compare(x.Action.Hex(), y.Action.Hex()))
	})
	return all, nil
}

// chooseFailed finds the actions with a dead letter that the arguments begin
// the ids of: all where there is none.
func chooseFailed(c *cube.Cube, args []string) ([]graph.ActionID, error) {
	var ids []graph.ActionID
	if c != nil {
		var err error
		if ids, err = solve.DeadLetters(c).IDs(); err != nil {
			return nil, err
		}
	}
	if len(args) == 0 {
		return ids, nil
	}
	var chosen []graph.ActionID
	for _, arg := range args {
		prefix, ok := actionPrefix(arg)
		if !ok {
			return nil, &usageError{fmt.Errorf("%q is no action: give at least the first 4 digits of its id\n  those that failed: cube failed", arg)}
		}
		var found []graph.ActionID
		for _, id := range ids {
			if strings.HasPrefix(id.Hex(), prefix) {
				found = append(found, id)
			}
		}
		if len(found) != 1 {
			return nil, &usageError{fmt.Errorf("%s\n  those that failed: cube failed", found1(prefix, len(found)))}
		}
		chosen = append(chosen, found[0])
	}
	return chosen, nil
}

func found1(prefix string, n int) string {
	if n == 0 {
		return "no action that failed begins with " + prefix
	}
	return fmt.Sprintf("%d actions that failed begin with %s: give more digits", n, prefix)
}

// failedShown is the line of cube failed show --json.
type failedShown struct {
	Type       string `json:"type"` // dead_letter
	Checkpoint bool   `json:"checkpoint"`
	*deadletter.Letter
}

func runFailedShow(ctx context.Context, a *app, arg string) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	ids, err := chooseFailed(g.cube, []string{arg})
	if err != nil {
		return err
	}
	l, err := solve.DeadLetters(g.cube).Get(ids[0])
	if err != nil {
		return err
	}
	if a.json {
		return a.printLines(failedShown{"dead_letter", g.cube.HasCheckpoint(l.Action), l})
	}
	_, err = a.stdout.Write(a.letterText(l, g.cube.HasCheckpoint(l.Action), givenTo(g.cube, l.Run)))
	return err
}

// shownLog is how many lines of a log are shown.
const shownLog = 40

// letterText is what happened to an action that failed, and what to do. What its
// build was given is to be given to it again.
func (a *app) letterText(l *deadletter.Letter, checkpoint bool, given string) []byte {
	var b bytes.Buffer
	s := a.style(a.stdout)
	line := func(format string, args ...any) { fmt.Fprintf(&b, "  "+format+"\n", args...) }
	fmt.Fprintf(&b, "%s %s  %s\n", s.Bold(l.Instance), l.Tile, s.Bad(ui.Printable([]byte(l.Failure.Detail))))
	line("action %s, %s ago, in run %s", l.Action.Hex(), ago(l.Written), l.Run)
	if len(l.Command) > 0 { // otherwise the engine did it
		line("image  %s, command %s", l.Image.Ref, strings.Join(l.Command, " "))
	}
	for i, t := range l.Attempts {
		line("attempt %d  %s  %s after %s, %s of at most %s", i+1, t.Started.UTC().Format(time.DateTime), t.Detail, ui.Took(t.Wall), ui.Bytes(t.MaxRSS), binary(t.Memory))
	}
	for _, w := range l.Windows {
		from := "made in the same build"
		if !w.Version.IsZero() {
			from = "version " + w.Version.Short()
		}
		line("read  %s: %s %s (%s)", w.Role, w.Variable, w.Box, from)
	}
	for _, src := range l.Sources {
		line("read  %s: source %s, sha256:%s", src.Role, src.Name, src.SHA256.Short())
	}
	if checkpoint {
		line("its checkpoint is kept for the next attempt")
	}
	writeLog(&b, l.Log)
	for _, h := range advise(l, given) {
		fmt.Fprintln(&b, h)
	}
	return b.Bytes()
}

// writeLog writes the end of a log, safe for a terminal.
func writeLog(b *bytes.Buffer, log []byte) {
	if len(log) == 0 {
		fmt.Fprintln(b, "  it printed nothing")
		return
	}
	lines := bytes.Split(bytes.TrimRight(log, "\n"), []byte("\n"))
	for _, l := range lines[max(0, len(lines)-shownLog):] {
		fmt.Fprintf(b, "  | %s\n", ui.Printable(bytes.TrimRight(l, " \r")))
	}
}

// advise says what can be done about a failure of a build that was given
// overrides.
func advise(l *deadletter.Letter, given string) []string {
	id := l.Action.Short()
	look, again, forget := "look inside:  cube shell "+id+given, "try again:    cube failed retry "+id+given, "forget it:    cube failed drop "+id
	set := " --set producers." + l.Instance + ".limits."
	switch l.Failure.Kind {
	case deadletter.Merge:
		return []string{"the engine merges by itself: there is no sandbox to open. Change what is merged, or the variable's merge policy",
			"look at them: " + contributions(l), again, forget}
	case deadletter.Lost:
		again += " -j 1, and see meanwhile whether the machine runs out of memory (dmesg)"
	case string(containers.FailedMemory):
		again += set + "memory=" + mib(2*l.Limits.Memory)
	case string(containers.FailedDisk):
		again += set + "disk=" + mib(2*l.Limits.Disk)
	case string(containers.FailedTimeout):
		again += set + "timeout=" + (2 * l.Limits.Timeout).String()
	case string(containers.FailedExit):
		if noNetwork.Match(l.Log) {
			look = "an action has no network: what comes from outside is a source of cube.yaml, or a driver fetches it (capabilities.network)\n" + look
		}
	case string(containers.FailedProtocol):
		look = "with capabilities.batch a command serves tiles: it reads a line for each, and answers with its exit code (cube schema producer);\n" +
			"a Python script stays as it is, with image: {serve: true} and cube_serve in its command\n" + look
	}
	return []string{look, "run it alone: cube repeat " + id + given, again, forget}
}

// noNetwork is what programs say that look for the network.
var noNetwork = regexp.MustCompile(`(?i)name resolution|could not resolve|name or service not known|network is unreachable`)

// contributions are the commands that show what a merge was to merge.
func contributions(l *deadletter.Letter) string {
	var shows []string
	for _, w := range l.Windows {
		shows = append(shows, "cube show "+w.Variable)
	}
	return strings.Join(shows, ", ")
}

func mib(n int64) string { return fmt.Sprintf("%dMiB", max(1, n>>20)) }

func runFailedDrop(ctx context.Context, a *app, args []string) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	ids, err := chooseFailed(g.cube, args)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := dropFailed(ctx, g.cube, id); err != nil {
			return err
		}
		if a.json {
			err = a.printLines(struct {
				Type   string         `json:"type"`
				Action graph.ActionID `json:"action"`
			}{"dropped", id})
		} else {
			_, err = fmt.Fprintf(a.stdout, "dropped %s\n", id.Short())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func dropFailed(ctx context.Context, c *cube.Cube, id graph.ActionID) error {
	release, err := claim(ctx, c, id)
	if err != nil {
		return err
	}
	defer release()
	if err := c.DropCheckpoint(id); err != nil {
		return err
	}
	_, err = solve.DeadLetters(c).Remove(id)
	return err
}

// claim claims an action, or says that somebody else is at it.
func claim(ctx context.Context, c *cube.Cube, id graph.ActionID) (release func(), err error) {
	release, ok, err := c.Claims().Claim(ctx, id)
	if err == nil && !ok {
		err = fmt.Errorf("action %s: another build, shell or repeat is at it now: try again when it is over", id.Short())
	}
	return release, err
}

func runFailedRetry(ctx context.Context, a *app, o buildOptions, args []string) error {
	p, err := a.open(o.projectFlags, a.step)
	if err != nil {
		return err
	}
	c, err := p.Cube()
	if err != nil {
		return err
	}
	ids, err := chooseFailed(c, args)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		a.notice("nothing failed that did not succeed since")
		return nil
	}
	variables, err := p.Variables(ctx)
	if err != nil {
		return err
	}
	o.keepGoing, o.retryFailed, o.only = true, true, map[graph.ActionID]bool{}
	began := time.Now()
	var targets []string
	for _, id := range ids {
		l, err := solve.DeadLetters(c).Get(id)
		if err != nil {
			return err
		}
		o.only[id] = true
		targets = append(targets, targetsOf(l, variables)...)
	}
	slices.Sort(targets)
	if targets = slices.Compact(targets); len(targets) == 0 {
		return &usageError{errors.New("the workspace has nothing any more that these actions were to make\n  to forget them: cube failed drop")}
	}
	err = runBuild(ctx, a, o, targets)
	a.untouched(c, ids, began, typed(o.sets))
	return err
}

// targetsOf are the variables that a build is asked for to have an action done
// again.
func targetsOf(l *deadletter.Letter, variables []string) []string {
	there := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !slices.Contains(variables, n) })
	}
	if t := there(l.Targets); len(t) > 0 {
		return t
	}
	return there(l.Variables)
}

// untouched notices the actions that a build did not come across, and those whose
// builds were given other overrides than it.
func (a *app) untouched(c *cube.Cube, ids []graph.ActionID, began time.Time, sets string) {
	var left []string
	for _, id := range ids {
		l, err := solve.DeadLetters(c).Get(id)
		if err != nil || !l.Written.Before(began) {
			continue
		}
		if given := givenTo(c, l.Run); given != "" && given != sets {
			a.notice(fmt.Sprintf("not tried, for its build was given other params: cube failed retry %s%s", id.Short(), given))
			continue
		}
		left = append(left, id.Short())
	}
	if len(left) > 0 {
		a.notice("not tried, for the build ended before, or for what they read or run has changed since: " + strings.Join(left, " "))
	}
}

// completeFailed completes the ids of actions that failed.
func (a *app) completeFailed(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	g, err := a.look(c.Context())
	if err != nil || g.cube == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for l, err := range solve.DeadLetters(g.cube).All() {
		if err == nil && !slices.Contains(args, l.Action.Short()) {
			out = append(out, l.Action.Short()+"\t"+l.Instance+" "+l.Tile.String()+": "+l.Failure.Detail)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
