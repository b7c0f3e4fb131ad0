package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

type planOptions struct {
	projectFlags
	jobs int
}

func newPlanCommand(a *app) *cobra.Command {
	var o planOptions
	c := &cobra.Command{
		Use:     "plan [VARIABLE...]",
		Short:   "say what a build would run, and why",
		GroupID: groupExplain,
		Long: `Plan shows each step that the named variables need (all of the workspace where
none is named), in order: how many tiles it has, how many of them are known, how
many would run, and why. "up to" counts tiles that read what is itself to be
made first: they run unless it comes out as it was. Of a step with more than 50,000
tiles a sample of 5,000 is looked at; "up to" counts the others, too, and the line
says so.

It runs no action and changes nothing in the workspace. Images of producers are
built where they have to be, since what is known depends on them. "cube build -n"
is the same.

The time and the bytes are foretold from the actions of earlier runs: what they were
given, and what the cube stores of their outputs. Both count all that may run. What
never ran has no history, and is named; its bytes are those of the tiles' windows,
before they are compressed.

With --json it prints a line {"type": "planned_vertex"} for each step, with its
reasons, and {"type": "plan"} with the sums at the end.`,
		Example: `  cube plan slope
  cube plan --set producers.slope.params.method=zevenbergen
  cube plan slope --json | jq 'select(.type == "planned_vertex") | {vertex, to_run}'`,
		ValidArgsFunction: a.completeVariables,
		RunE:              func(c *cobra.Command, args []string) error { return runPlan(c.Context(), a, o, args) },
	}
	o.add(c)
	c.Flags().VarP((*count)(&o.jobs), "jobs", "j", "how many actions would run at once, for the time that it would take")
	return c
}

// plannedVertex is a line of cube plan.
type plannedVertex struct {
	Type       string       `json:"type"` // planned_vertex
	Vertex     string       `json:"vertex"`
	Grid       string       `json:"grid"`
	Outputs    []string     `json:"outputs"`
	Tiles      int64        `json:"tiles"`
	Known      int64        `json:"known"`
	ToRun      int64        `json:"to_run"`
	MayRun     int64        `json:"may_run"`
	Failing    int64        `json:"known_to_fail,omitempty"`
	Unchanged  bool         `json:"unchanged"`
	Counted    bool         `json:"counted"`          // every tile was looked at
	Unseen     int64        `json:"unseen,omitempty"` // tiles that were not, of those that may run
	Derivation graph.Digest `json:"derivation,omitzero"`
	Reasons    []cause      `json:"reasons,omitempty"`
	Network    []string     `json:"network,omitempty"` // hosts that its sources are fetched from
	Predicted  float64      `json:"predicted_s,omitempty"`
	FromRuns   int          `json:"from_runs,omitempty"`
	Cost       forecast     `json:"cost"`
}

// plannedAll is the last line of cube plan.
type plannedAll struct {
	Type      string   `json:"type"` // plan
	Targets   []string `json:"targets"`
	Tiles     int64    `json:"tiles"`
	Known     int64    `json:"known"`
	ToRun     int64    `json:"to_run"`
	MayRun    int64    `json:"may_run"`
	Predicted float64  `json:"predicted_s,omitempty"`
	Cost      forecast `json:"cost"`
}

func runPlan(ctx context.Context, a *app, o planOptions, targets []string) error {
	x, err := a.foresee(ctx, o.projectFlags, o.jobs, targets)
	if err != nil {
		return err
	}
	return a.printForesight(x)
}

// printForesight prints a step a line, and their sum.
func (a *app) printForesight(x *foresight) error {
	all := plannedAll{Type: "plan", Targets: x.prep.Plan.Targets}
	var lines []plannedVertex
	var predicted time.Duration
	runs := 0
	for i := range x.previews {
		p := &x.previews[i]
		line, took, err := x.planned(p)
		if err != nil {
			return err
		}
		lines = append(lines, line)
		all.Cost.add(line.Cost)
		predicted, runs = predicted+took, max(runs, line.FromRuns)
		all.Tiles, all.Known = all.Tiles+line.Tiles, all.Known+line.Known
		all.ToRun, all.MayRun = all.ToRun+line.ToRun, all.MayRun+line.MayRun
	}
	all.Predicted = predicted.Seconds()
	if a.json {
		return a.printLines(append(anySlice(lines), all)...)
	}
	return a.printPlan(x, lines, all, about(predicted, runs))
}

func (x *foresight) planned(p *solve.VertexPreview) (plannedVertex, time.Duration, error) {
	v := p.Vertex
	line := plannedVertex{Type: "planned_vertex", Vertex: v.Name, Grid: v.GridName, Tiles: v.Len(), Known: p.Hits, ToRun: p.Misses,
		MayRun: p.Open, Failing: p.Failing, Unchanged: p.Known && !p.HeadElsewhere(), Counted: p.Unseen == 0, Unseen: p.Unseen, Derivation: p.Derivation}
	if v.Instance != nil {
		line.Network = v.Instance.Manifest.Capabilities.Network
	}
	for _, o := range v.Outputs {
		line.Outputs = append(line.Outputs, o.Variable)
	}
	took := x.predict(v, p.Misses+p.Open)
	if took > 0 {
		line.Predicted, line.FromRuns = took.Seconds(), x.pace(v).runs
	}
	line.Cost = x.forecast(v, p.Misses+p.Open)
	if line.Unchanged {
		return line, 0, nil
	}
	var err error
	line.Reasons, err = causes(p, p.Before)
	if p.HeadElsewhere() && p.Head != nil {
		line.Reasons = append([]cause{{What: causeHead, Old: p.Head.Version.Short(), New: p.Outputs[0].Short(),
			Sentence: "its result is known; the head shows another version"}}, line.Reasons...)
	}
	return line, took, err
}

func (a *app) printPlan(x *foresight, lines []plannedVertex, all plannedAll, about string) error {
	s := a.style(a.stdout)
	t := ui.Table{Header: []string{"step", "tiles", "known", "to run", "why"}, Right: []bool{false, true, true}}
	for i, l := range lines {
		why := "unchanged"
		if !l.Unchanged {
			why = reasons(l.Reasons)
		}
		t.Add(l.Vertex, ui.Count(l.Tiles), ui.Count(l.Known), countText(&x.previews[i]), why)
	}
	if err := t.Write(a.stdout, s); err != nil {
		return err
	}
	for _, l := range lines {
		if len(l.Network) > 0 {
			if err := printLine(a, l.Vertex+" fetches its sources from "+strings.Join(l.Network, ", ")); err != nil {
				return err
			}
		}
	}
	text := planSummary(all, about)
	if cost := all.Cost.String(); cost != "" {
		text += "\n  " + s.Dim(cost)
	}
	return printLine(a, text)
}

func planSummary(all plannedAll, about string) string {
	if len(all.Targets) == 0 {
		return "the workspace makes nothing"
	}
	what := strings.Join(all.Targets, ", ")
	if len(all.Targets) > 4 {
		what = fmt.Sprintf("%d variables", len(all.Targets))
	}
	if all.ToRun+all.MayRun == 0 {
		return fmt.Sprintf("nothing would run for %s: %s tiles are known", what, ui.Count(all.Known))
	}
	text := fmt.Sprintf("%s would run for %s", tiles(all.ToRun), what)
	switch {
	case all.ToRun == 0:
		text = fmt.Sprintf("up to %s would run for %s", tiles(all.MayRun), what)
	case all.MayRun > 0:
		text += fmt.Sprintf(", and up to %s more", ui.Count(all.MayRun))
	}
	if about != "" {
		text += ", " + about
	}
	return text
}

func tiles(n int64) string {
	if n == 1 {
		return "1 tile"
	}
	return ui.Count(n) + " tiles"
}

// shownReasons is how many reasons a line of the plan tells.
const shownReasons = 3

// reasons are the causes in one line.
func reasons(cs []cause) string {
	var parts []string
	for i, c := range cs {
		if i == shownReasons {
			parts = append(parts, fmt.Sprintf("and %d more", len(cs)-i))
			break
		}
		parts = append(parts, c.Sentence)
	}
	return strings.Join(parts, "; ")
}

// printLines prints values as lines of JSON.
func (a *app) printLines(values ...any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	for _, v := range values {
		if err := enc.Encode(v); err != nil {
			return err
		}
	}
	return nil
}

func anySlice[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}
