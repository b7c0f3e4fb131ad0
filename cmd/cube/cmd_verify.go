package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/internal/verify"
	"github.com/spf13/cobra"
)

type verifyOptions struct {
	projectFlags
	compareFlags
	deep bool
	jobs int
}

func newVerifyCommand(a *app) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:     "verify VARIABLE",
		Short:   "rebuild a variable in a clean place and compare",
		GroupID: groupExplain,
		Long: `Verify makes a variable again, twice, in clean cubes beside yours: once in order,
one action at a time, and once shuffled, with many at a time. No result that is
there is used. It compares what comes out with each other and with what is stored,
bit for bit or within --tolerance, and says which of them differ: a producer that
is not deterministic, that sees the order of its tiles, or that does not come to
what is stored. It names the first tile, the cell and both its values.

The variable is made from the very versions that it was made from; with --deep
all that it is made of is made again too, from the sources on, and each variable
is compared. What is stored must be what the workspace makes now.

Nothing in the cube changes. The clean cubes take as much room as the variable,
twice, while it runs. Exit codes: 0 verified, 1 not; 2 where there is nothing to
verify.

With --json it prints a line {"type": "verify"} for each variable compared.`,
		Example: `  cube verify slope
  cube verify slope --deep -j 8
  cube verify fire_arrival_time --tolerance abs=60,ulp=4 -o differs.png
  cube verify slope --deep --tolerance slope:rel=1e-6 --tolerance elevation:abs=0.01`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeHead,
		RunE:              func(c *cobra.Command, args []string) error { return runVerify(c.Context(), a, o, args[0]) },
	}
	o.compareFlags.add(c)
	f := c.Flags()
	f.BoolVar(&o.deep, "deep", false, "make all that it is made of again, too, from the sources on")
	f.VarP((*count)(&o.jobs), "jobs", "j", "how many actions run at once when shuffled (default: as cube build, and at least two)")
	f.BoolVar(&o.locked, "locked", false, "take nothing that is not as cube.lock pins it")
	f.BoolVar(&o.offline, "offline", false, "fetch nothing")
	return c
}

func runVerify(ctx context.Context, a *app, o verifyOptions, name string) (err error) {
	options, err := o.options()
	if err != nil {
		return err
	}
	g, err := a.lookBuilt(ctx, o.projectFlags, name)
	if err != nil {
		return err
	}
	prep, output, err := g.made(ctx, name)
	if err != nil {
		return err
	}
	if err := a.sweep(ctx, g.cube); err != nil { // from here on gc waits
		return err
	}
	plan, names, err := g.verified(ctx, prep, output, o.deep)
	if err != nil {
		return err
	}
	tolerances, err := o.tolerances(names...)
	if err != nil {
		return err
	}
	stage, err := g.cube.Stage()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stage.Close()) }()
	total := machineTotal(g.proj.File.Backend, o.workers(g.proj))
	if err := fits(g.proj.File, plan, total); err != nil {
		return err
	}
	run, err := a.backend(g.proj, nowhere, o.workers(g.proj))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.close()) }()
	shared := a.sharing(g.proj.File.Name, total, run.endIdle)
	defer func() { err = errors.Join(err, shared.Close()) }()
	conf := verify.Config{Dir: stage.Dir, Workspace: &prep.Workspace, Plan: plan, Compare: options, Watch: a.watch,
		Solve: solve.Config{Imports: []*cube.Cube{g.cube}, Backend: run, Provider: g.proj, Host: hostOf(prep.Plan),
			Reserver: shared, Workers: o.workers(g.proj), Retry: g.proj.File.Retry, Chunks: g.proj.File.Storage.Chunks}}
	for _, name := range names {
		side, err := g.side(ctx, g.heads[name].Version)
		if err != nil {
			return err
		}
		conf.Checks = append(conf.Checks, verify.Check{Variable: name, Stored: side, Tolerance: tolerances.For(name)})
	}
	outcomes, err := verify.Run(ctx, conf)
	if action := (*solve.ActionError)(nil); errors.As(err, &action) && ctx.Err() == nil {
		return fmt.Errorf("%v", err) // no run has its log: it has been shown
	}
	if err != nil {
		return err
	}
	return a.verdict(o, outcomes)
}

// workers is how many actions run at once in the shuffled rebuild.
func (o *verifyOptions) workers(p *project.Project) int {
	switch {
	case o.jobs > 0:
		return o.jobs
	case p.File.Backend.Kind == serial:
		return 1
	}
	return max(2, workers(0, p.File.Backend.Workers))
}

// lookBuilt opens the workspace to rebuild a variable that was built: images and
// sources are made ready, and nothing is written.
func (a *app) lookBuilt(ctx context.Context, f projectFlags, name string) (*gallery, error) {
	f.dryRun = true
	if _, err := a.open(f, a.step); err != nil {
		return nil, err
	}
	g, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	_, _, err = g.head(ctx, name)
	return g, err
}

// verified is the plan that is rebuilt and the variables of it that are
// compared.
func (g *gallery) verified(ctx context.Context, prep *project.Prepared, o *graph.Output, deep bool) (*graph.Plan, []string, error) {
	host := hostOf(prep.Plan)
	if deep {
		names, err := g.upToDate(ctx, prep, host)
		return prep.Plan, names, err
	}
	v, err := solve.HeadVertex(ctx, g.cube, &prep.Workspace, host, o.Vertex)
	if err != nil {
		return nil, nil, err
	}
	if v == nil {
		return nil, nil, stale(o.Variable)
	}
	for _, in := range v.Inputs {
		if !g.cube.HasVersion(in.Import.Version) {
			return nil, nil, &usageError{fmt.Errorf("version %s of %s, which %s was made from, was freed by cube gc\n  build it anew with: cube build %s",
				in.Import.Version.Short(), in.Variable, o.Variable, o.Variable)}
		}
	}
	return &graph.Plan{Targets: []string{o.Variable}, Vertices: []*graph.Vertex{v}}, []string{o.Variable}, nil
}

// upToDate lists the variables of a plan, and refuses one that is not as the
// plan makes it from the heads.
func (g *gallery) upToDate(ctx context.Context, prep *project.Prepared, host graph.Host) ([]string, error) {
	var names []string
	for _, v := range prep.Plan.Vertices {
		made, err := solve.HeadVertex(ctx, g.cube, &prep.Workspace, host, v)
		if err != nil {
			return nil, err
		}
		if made == nil {
			return nil, stale(v.Outputs[0].Variable)
		}
		for i, in := range v.Inputs {
			now := g.heads[in.Variable].Version
			if in.Import != nil {
				now = in.Import.Version
			}
			if made.Inputs[i].Import.Version != now {
				return nil, stale(v.Outputs[0].Variable)
			}
		}
		for _, o := range v.Outputs {
			names = append(names, o.Variable)
		}
	}
	return names, nil
}

// stale refuses a variable that is not what the workspace makes now.
func stale(name string) error {
	return &usageError{fmt.Errorf("%s is not what the workspace makes now, so that there is nothing to compare with\n  what changed: cube why %s\n  make it: cube build %s",
		name, name, name)}
}

// watch shows a rebuild.
func (a *app) watch(rebuild string, plan *graph.Plan) (func(solve.Event) error, func() error) {
	if a.json {
		return nil, func() error { return nil }
	}
	d := a.display()
	d.Step(fmt.Sprintf("rebuild %s, %s", strings.Join(plan.Targets, ", "), rebuild))
	return d.Event, d.Close
}

// verdictLine is a line of cube verify --json.
type verdictLine struct {
	Type     string         `json:"type"` // verify
	Variable string         `json:"variable"`
	Version  graph.Digest   `json:"version"`
	Verdict  verify.Verdict `json:"verdict"`
	Instance string         `json:"instance,omitempty"`
	Image    string         `json:"image,omitempty"`
	Tiles    int64          `json:"tiles"`
	Between  []string       `json:"between"`        // what is compared below
	Like     []string       `json:"like,omitempty"` // the rebuilds that are as what is stored
	Follows  string         `json:"follows,omitempty"`
	differs
}

// verdict prints what was found, and is an error where not all is verified.
func (a *app) verdict(o verifyOptions, outcomes []verify.Outcome) error {
	verified := true
	drawn := false
	for _, out := range outcomes {
		line := newVerdict(out)
		var err error
		if a.json {
			err = a.printLines(line)
		} else {
			err = writeVerdict(a.stdout, a.style(a.stdout), line, out)
		}
		if err != nil {
			return err
		}
		if out.Verdict == verify.Verified {
			continue
		}
		verified = false
		if drawn {
			continue
		}
		drawn = true
		l := out.Stored.Version.Layout()
		note := out.Between[0] + " → " + out.Between[1]
		if err := a.drawDifference(o.compareFlags, out.Found, l, out.Variable+" "+string(out.Verdict), note); err != nil {
			return err
		}
	}
	if !verified {
		return &exitError{code: exitFailed}
	}
	return nil
}

func newVerdict(out verify.Outcome) verdictLine {
	line := verdictLine{Type: "verify", Variable: out.Variable, Version: out.Stored.Version.Digest(), Verdict: out.Verdict, Tiles: out.Vertex.Len(),
		Between: out.Between[:], Like: out.Like, Follows: out.Follows,
		differs: newDiffers(out.Found, out.Stored.Version.Layout(), &out.Tile, out.Tolerance)}
	if inst := out.Vertex.Instance; inst != nil {
		line.Instance, line.Image = inst.Name, inst.Image.Ref
	}
	return line
}

// maker names who makes a variable.
func (l verdictLine) maker() string {
	switch {
	case l.Instance == "":
		return "the merge of its contributions"
	case l.Image != "":
		return fmt.Sprintf("producer %s (%s)", l.Instance, l.Image)
	}
	return "producer " + l.Instance
}

func writeVerdict(w io.Writer, s ui.Style, l verdictLine, out verify.Outcome) error {
	var b strings.Builder
	name, spec := s.Bold(l.Variable), out.Stored.Version.Layout().Spec
	if l.Verdict == verify.Verified {
		_, err := fmt.Fprintf(w, "%s %s: %s\n", name, s.Good("verified"), verifiedText(l, spec))
		return err
	}
	verdict := map[verify.Verdict]string{
		verify.NotDeterministic: "is not deterministic: the same actions made other values when they ran again",
		verify.DependsOnOrder:   "depends on the order of its tiles: what an action makes is not what it makes alone",
		verify.Differs:          "is not what is stored: it came out the same twice, and otherwise than version " + l.Version.Short(),
	}[l.Verdict]
	fmt.Fprintf(&b, "%s %s\n", name, s.Bad(verdict))
	if l.Follows != "" {
		fmt.Fprintf(&b, "  it is made of %s, which is not verified itself\n", l.Follows)
	} else {
		fmt.Fprintf(&b, "  made by %s\n", l.maker())
	}
	for i, line := range l.lines(spec) {
		if i == 0 {
			line = fmt.Sprintf("%s → %s: %s", l.Between[0], l.Between[1], line)
		}
		b.WriteString("  " + line + "\n")
	}
	if l.Verdict != verify.Differs {
		fmt.Fprintf(&b, "  what is stored is like %s\n", alike(l.Like))
	}
	if l.Follows == "" {
		b.WriteString("  " + s.Dim(advice(l.Verdict)) + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func verifiedText(l verdictLine, spec graph.VarSpec) string {
	what := fmt.Sprintf("%s made twice, %s cells", tiles(l.Tiles), ui.Count(l.Cells))
	if spec.Kind == graph.File {
		what = fmt.Sprintf("made twice, %s", ui.Bytes(l.Cells))
	}
	switch {
	case l.Tolerance == nil:
		return what + " as they are stored, bit for bit"
	case l.Within == 0:
		return fmt.Sprintf("%s as they are stored, within %s", what, l.Tolerance)
	}
	text := fmt.Sprintf("%s as they are stored within %s; %s differ", what, l.Tolerance, ui.Count(l.Within))
	if l.Largest != nil {
		text += " by at most " + ui.Value(*l.Largest)
	}
	return text
}

func alike(rebuilds []string) string {
	if len(rebuilds) == 0 {
		return "neither"
	}
	return "the one " + strings.Join(rebuilds, " and ")
}

func advice(v verify.Verdict) string {
	switch v {
	case verify.NotDeterministic:
		return "look for the clock, random numbers without the request's seed, threads that race, the order of a hash map"
	case verify.DependsOnOrder:
		return "look for what is kept from one tile to the next, and for files that two actions share"
	}
	return "look for the date, the machine (cube lineage says which it was), and values that were changed in the cube (cube fsck)"
}
