package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cubebuild/cube/internal/live"
	"github.com/cubebuild/cube/internal/progress"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

func newPsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ps",
		Short:   "show what is being built now",
		GroupID: groupExplain,
		Long: `Ps shows the builds that go on now on the workspace's cube, from any terminal: what
they make, how far they are, how long they may take yet, what runs, and how many
actions wait: for a token, memory, processors or a GPU, and who has these, or for
another build that runs the same. Who holds how much on this machine: cube doctor. A
build that was killed is not shown.

With --json it prints a line {"type": "build"} for each, with the fields run, pid,
host, started, targets, tiles, done, ran, known, failed, lost, left_s, vertices,
running, retrying, waits and actions.`,
		Example: `  cube ps
  watch -n1 cube ps
  cube ps --json | jq '.actions[] | .vertex'
  cube log -f              # what they print`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runPs(c.Context(), a) },
	}
}

func runPs(ctx context.Context, a *app) error {
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	builds, err := g.building()
	if err != nil {
		return err
	}
	if a.json {
		for _, b := range builds {
			if err := a.printLines(buildLine{"build", b}); err != nil {
				return err
			}
		}
		return nil
	}
	if len(builds) == 0 {
		a.notice("nothing is being built")
	}
	for _, b := range builds {
		if err := writeBuild(a.stdout, b, a.style(a.stdout), time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// buildLine is a line of cube ps --json.
type buildLine struct {
	Type string `json:"type"` // build
	live.Build
}

// building lists the builds that go on now.
func (g *gallery) building() ([]live.Build, error) {
	if g.cube == nil {
		return nil, nil
	}
	return live.Builds(g.cube.Path("live"))
}

// writeBuild shows a build: a line for it, one for each vertex that is under way,
// one for each action that runs, and one for each thing that others wait for.
func writeBuild(w io.Writer, b live.Build, s ui.Style, now time.Time) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s  %s", s.Bold(strings.Join(b.Targets, ", ")), s.Dim(fmt.Sprintf("run %s, process %d on %s", b.Run, b.PID, b.Host)))
	fmt.Fprintf(&out, "\n  %s of %s, %s so far", ui.Count(b.Done), tiles(b.Tiles), ui.Took(now.Sub(b.Started)))
	if b.Left > 0 {
		fmt.Fprintf(&out, ", about %s left", ui.Took(time.Duration(max(1, b.Left)*float64(time.Second)).Round(time.Second)))
	}
	if b.Failed+b.Lost > 0 {
		fmt.Fprintf(&out, ", %s", s.Bad(ui.Unmade(b.Failed, b.Lost)))
	}
	if n := waiting(b); n+b.Retrying > 0 {
		fmt.Fprintf(&out, ", %d running, %d waiting", b.Running, n)
	}
	if b.Retrying > 0 {
		fmt.Fprintf(&out, ", %d to be tried again", b.Retrying)
	}
	out.WriteString("\n")
	for _, v := range b.Vertices {
		fmt.Fprintf(&out, "  %s %s/%s\n", ui.Pad(v.Name, 20), ui.Count(v.Done), ui.Count(v.Tiles))
	}
	more := b.Running + b.Retrying
	for _, x := range b.Actions {
		if x.State == progress.Waiting {
			break // those come last, and are counted below
		}
		more--
		out.WriteString(s.Dim("    "+runningLine(x, now)) + "\n")
	}
	if more > 0 {
		out.WriteString(s.Dim(fmt.Sprintf("    … %d more", more)) + "\n")
	}
	for _, x := range b.Waits {
		out.WriteString(s.Dim(fmt.Sprintf("    %s  %s, %s", x.Vertex, ui.Waiting(x.Actions, x.For), ui.Took(now.Sub(x.Since)))) + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// waiting is how many actions of a build wait.
func waiting(b live.Build) (n int) {
	for _, w := range b.Waits {
		n += w.Actions
	}
	return n
}

// runningLine is the line of an action that runs, or will be tried again.
func runningLine(x live.Action, now time.Time) string {
	line := fmt.Sprintf("%s  %s  %s", nameOf(x), x.ID.Short(), ui.Took(now.Sub(x.Since)))
	switch {
	case x.Lost:
		line += fmt.Sprintf("  attempt %d was lost, again soon", x.Attempt)
	case x.State == progress.Retrying:
		line += fmt.Sprintf("  attempt %d failed, again soon", x.Attempt)
	case x.Attempt > 1:
		line += fmt.Sprintf("  attempt %d", x.Attempt)
	}
	return line
}

// nameOf names an action by its vertex and, where that has more, its tile.
func nameOf(x live.Action) string {
	if x.Single {
		return x.Vertex
	}
	return x.Vertex + " " + x.Tile.String()
}
