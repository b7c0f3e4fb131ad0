package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// Words that a producer.yaml may hold.
var (
	kinds       = []graph.Kind{graph.Static, graph.Time, graph.File}
	formats     = []graph.Format{graph.Zarr, graph.NPY}
	needGrids   = []string{"native"}
	costs       = []string{"cpu", "memory", "io", "gpu"}
	resamplings = grid.Resamplings()
)

// Bounds of what a manifest may ask for.
const (
	maxHalo  = 1 << 16
	maxBatch = 1 << 16
	maxList  = 4096 // needs, outputs, classes, labels
	maxHosts = 256
)

// decode reads the tree of a producer.yaml into p.
func (p *ProducerFile) decode() error {
	r := reader{yamlfile.NewReport()}
	m, root := &p.Manifest, p.doc.Root
	r.Fields(root, "the file", yamlfile.Fields{
		"name":         yamlfile.Into(&m.Name, r.String),
		"description":  yamlfile.Into(&m.Description, r.String),
		"license":      yamlfile.Into(&m.License, r.String),
		"citation":     yamlfile.Into(&m.Citation, r.String),
		"needs":        func(n *yamlfile.Node) { m.Needs = yamlfile.ListOf(r.Report, n, "needs", r.need) },
		"produces":     func(n *yamlfile.Node) { m.Produces = yamlfile.ListOf(r.Report, n, "produces", r.output) },
		"params":       func(n *yamlfile.Node) { m.Params = r.paramSchema(n) },
		"sources":      func(n *yamlfile.Node) { m.Sources = yamlfile.ListOf(r.Report, n, "sources", r.sourceNeed) },
		"secrets":      func(n *yamlfile.Node) { m.Secrets = yamlfile.ListOf(r.Report, n, "secrets", r.String) },
		"capabilities": func(n *yamlfile.Node) { m.Capabilities = r.capabilities(n) },
		"command":      yamlfile.Into(&m.Command, r.command),
		"image":        func(n *yamlfile.Node) { p.Recipe = r.recipe(n) },
	}, "name", "produces")
	p.command()
	if r.Len() == 0 {
		for _, problem := range checkManifest(*m) {
			r.Errorf(p.node(problem.path), "%s", problem.message).Hint = problem.hint
		}
	}
	if r.Len() == 0 {
		r.checkRecipe(p)
	}
	return r.Err()
}

// command makes the manifest and the recipe agree on what the container runs;
// by default that is the recipe's Go program.
func (p *ProducerFile) command() {
	m, rec := &p.Manifest, &p.Recipe
	switch {
	case len(m.Command) > 0 && len(rec.Command) == 0:
		rec.Command = m.Command
	case len(m.Command) == 0 && len(rec.Command) > 0:
		m.Command = rec.Command
	case len(m.Command) == 0 && rec.Go != nil && rec.Go.Output != "":
		m.Command = []string{rec.Go.Output}
	case len(m.Command) == 0 && rec.Go != nil:
		m.Command = []string{"/producer"}
	}
}

// output reads one entry of produces.
func (r reader) output(n *yamlfile.Node) graph.VarSpec {
	v := graph.VarSpec{}
	r.Fields(n, "an output", yamlfile.Fields{
		"variable":      yamlfile.Into(&v.Name, r.String),
		"kind":          func(n *yamlfile.Node) { v.Kind = yamlfile.OneOf(r.Report, n, "kind", kinds) },
		"dims":          func(n *yamlfile.Node) { v.Dims = yamlfile.ListOf(r.Report, n, "dims", r.dim) },
		"dtype":         func(n *yamlfile.Node) { v.DType = yamlfile.OneOf(r.Report, n, "dtype", graph.DTypes) },
		"units":         yamlfile.Into(&v.Units, r.Scalar),
		"fill":          func(n *yamlfile.Node) { v.Fill = r.number(n) },
		"legend":        func(n *yamlfile.Node) { v.Legend = yamlfile.ListOf(r.Report, n, "legend", r.class) },
		"cell_method":   func(n *yamlfile.Node) { v.CellMethod = yamlfile.OneOf(r.Report, n, "cell method", graph.CellMethods) },
		"merge":         func(n *yamlfile.Node) { v.Merge = yamlfile.OneOf(r.Report, n, "merge policy", graph.MergePolicies) },
		"schema":        func(n *yamlfile.Node) { v.Schema = int(r.Int(n, 1, 1<<30)) },
		"media_type":    yamlfile.Into(&v.MediaType, r.String),
		"refine":        func(n *yamlfile.Node) { v.Refine = r.Int(n, 1, 1024) },
		"native_from":   func(n *yamlfile.Node) { v.NativeFrom = yamlfile.ListOf(r.Report, n, "native_from", r.String) },
		"format":        func(n *yamlfile.Node) { v.Format = yamlfile.OneOf(r.Report, n, "format", formats) },
		"long_name":     yamlfile.Into(&v.LongName, r.String),
		"standard_name": yamlfile.Into(&v.Standard, r.String),
	}, "variable")
	return v
}

// node is the place of a manifest's key. The command may be the image's.
func (p *ProducerFile) node(path []string) *yamlfile.Node {
	root := p.doc.Root
	if image := root.Get("image"); path[0] == "command" && root.Get("command") == nil && image.Get("command") != nil {
		root = image
	}
	return root.At(path...)
}

// need reads one entry of needs.
func (r reader) need(n *yamlfile.Node) graph.DataNeed {
	d := graph.DataNeed{}
	r.Fields(n, "a need", yamlfile.Fields{
		"variable":         yamlfile.Into(&d.Variable, r.String),
		"kind":             func(n *yamlfile.Node) { d.Kind = yamlfile.OneOf(r.Report, n, "kind", kinds) },
		"max_native_res_m": yamlfile.Into(&d.MaxRes, r.metres),
		"halo":             yamlfile.Into(&d.Halo, r.halo),
		"resampling":       func(n *yamlfile.Node) { d.Resample = yamlfile.OneOf(r.Report, n, "resampling", resamplings) },
		"min_valid":        func(n *yamlfile.Node) { d.MinValid = r.Float(n, 0, 1) },
		"units":            yamlfile.Into(&d.Units, r.Scalar),
		"grid":             func(n *yamlfile.Node) { d.Grid = yamlfile.OneOf(r.Report, n, "grid", needGrids) },
		"time":             yamlfile.Into(&d.Time, r.timeNeed),
		"max_step":         yamlfile.Into(&d.MaxStep, r.step),
		"legend":           func(n *yamlfile.Node) { d.Legend = yamlfile.ListOf(r.Report, n, "legend", r.class) },
		"format":           func(n *yamlfile.Node) { d.Format = yamlfile.OneOf(r.Report, n, "format", formats) },
	}, "variable")
	return d
}

func (r reader) dim(n *yamlfile.Node) graph.Dim {
	d := graph.Dim{}
	r.Fields(n, "a dimension", yamlfile.Fields{
		"name":   yamlfile.Into(&d.Name, r.String),
		"size":   func(n *yamlfile.Node) { d.Size = r.Int(n, 1, 1<<31) },
		"labels": func(n *yamlfile.Node) { d.Labels = yamlfile.ListOf(r.Report, n, "labels", r.Scalar) },
	}, "name")
	if d.Size == 0 {
		d.Size = int64(len(d.Labels))
	}
	return d
}

func (r reader) class(n *yamlfile.Node) graph.Class {
	c := graph.Class{}
	r.Fields(n, "a class", yamlfile.Fields{
		"value": func(n *yamlfile.Node) { c.Value = r.Int(n, -1<<63, 1<<63-1) },
		"name":  yamlfile.Into(&c.Name, r.Scalar),
		"color": yamlfile.Into(&c.Color, r.String),
	}, "value", "name")
	return c
}

func (r reader) number(n *yamlfile.Node) *graph.Number {
	r.Float(n, -maxFloat, maxFloat)
	num := graph.Number(n.Text)
	return &num
}

const maxFloat = 0x1p1023 * (1 + (1 - 0x1p-52))

// halo reads one number for y and x, or {y, x}.
func (r reader) halo(n *yamlfile.Node) grid.Halo {
	cells := func(n *yamlfile.Node) int64 { return r.Int(n, 0, maxHalo) }
	if n.Kind == yamlfile.Int {
		c := cells(n)
		return grid.Halo{Y: c, X: c}
	}
	h := grid.Halo{}
	r.Fields(n, "halo", yamlfile.Fields{
		"y": yamlfile.Into(&h.Y, cells),
		"x": yamlfile.Into(&h.X, cells),
	})
	for _, key := range []string{"before", "after"} {
		if k := n.Key(key); k != n {
			r.Errorf(k, "a halo in time stands under time").Hint = "time: {" + key + ": 1}"
		}
	}
	return h
}

// timeNeed reads "all", or {before, after} in steps.
func (r reader) timeNeed(n *yamlfile.Node) graph.TimeNeed {
	t := graph.TimeNeed{}
	if n.Kind == yamlfile.String {
		t.All = yamlfile.OneOf(r.Report, n, "time", []string{"all"}) != ""
		return t
	}
	steps := func(n *yamlfile.Node) int64 { return r.Int(n, 0, maxHalo) }
	r.Fields(n, "time", yamlfile.Fields{
		"before": yamlfile.Into(&t.Before, steps),
		"after":  yamlfile.Into(&t.After, steps),
	})
	return t
}

func (r reader) sourceNeed(n *yamlfile.Node) graph.SourceNeed {
	s := graph.SourceNeed{}
	if n.Kind == yamlfile.String {
		s.Name = r.String(n)
		return s
	}
	r.Fields(n, "a source", yamlfile.Fields{
		"name":        yamlfile.Into(&s.Name, r.String),
		"description": yamlfile.Into(&s.Description, r.String),
		"optional":    yamlfile.Into(&s.Optional, r.Bool),
		"inspect":     yamlfile.Into(&s.Inspect, r.Bool),
		"index":       yamlfile.Into(&s.Index, r.Bool),
		"fetch":       yamlfile.Into(&s.Fetch, r.Bool),
	}, "name")
	return s
}

func (r reader) capabilities(n *yamlfile.Node) graph.Capabilities {
	c := graph.Capabilities{}
	fields := r.resources(&c.Resources)
	r.scarce(&c.Scarce, fields)
	fields["cost"] = func(n *yamlfile.Node) { c.Cost = yamlfile.OneOf(r.Report, n, "cost", costs) }
	fields["tiles"] = yamlfile.Into(&c.Tiles, r.Bool)
	fields["batch"] = func(n *yamlfile.Node) { c.Batch = int(r.Int(n, 1, maxBatch)) }
	fields["network"] = func(n *yamlfile.Node) { c.Network = yamlfile.ListOf(r.Report, n, "network", r.String) }
	fields["cpus"] = yamlfile.Into(&c.CPUs, r.cpus)
	fields["retry"] = yamlfile.Into(&c.Retry, r.retry)
	fields["checkpoint"] = yamlfile.Into(&c.Checkpoint, r.Bool)
	fields["cpu_class"] = yamlfile.Into(&c.CPUClass, r.Bool)
	r.Fields(n, "capabilities", fields)
	return c
}

// paramSchema reads the JSON Schema of the params.
func (r reader) paramSchema(n *yamlfile.Node) json.RawMessage {
	if n.Kind != yamlfile.Map {
		r.Entries(n, "params")
		return nil
	}
	raw, err := plainJSON(n.JSON())
	if err != nil {
		r.Errorf(n, "%v", err)
	}
	return raw
}

// recipe reads the image section.
func (r reader) recipe(n *yamlfile.Node) images.Recipe {
	rec := images.Recipe{}
	r.Fields(n, "image", yamlfile.Fields{
		"base":    yamlfile.Into(&rec.Base, r.String),
		"go":      func(n *yamlfile.Node) { rec.Go = r.goBuild(n) },
		"debs":    func(n *yamlfile.Node) { rec.Debs = yamlfile.ListOf(r.Report, n, "debs", r.String) },
		"wheels":  func(n *yamlfile.Node) { rec.Wheels = yamlfile.ListOf(r.Report, n, "wheels", r.String) },
		"serve":   yamlfile.Into(&rec.Serve, r.Bool),
		"files":   func(n *yamlfile.Node) { rec.Files = yamlfile.ListOf(r.Report, n, "files", r.fileRule) },
		"env":     func(n *yamlfile.Node) { rec.Env = r.env(n) },
		"command": yamlfile.Into(&rec.Command, r.command),
		"workdir": yamlfile.Into(&rec.WorkDir, r.String),
		"user":    yamlfile.Into(&rec.User, r.Scalar),
	})
	return rec
}

// command reads what a container runs.
func (r reader) command(n *yamlfile.Node) []string {
	words := yamlfile.ListOf(r.Report, n, "command", r.Scalar)
	if n.Kind == yamlfile.List && len(words) == 0 {
		r.Errorf(n, "the command is empty")
	}
	return words
}

func (r reader) goBuild(n *yamlfile.Node) *images.GoBuild {
	g := &images.GoBuild{}
	if n.Kind == yamlfile.String {
		g.Package = r.String(n)
		return g
	}
	r.Fields(n, "go", yamlfile.Fields{
		"package": yamlfile.Into(&g.Package, r.String),
		"output":  yamlfile.Into(&g.Output, r.String),
	})
	return g
}

func (r reader) fileRule(n *yamlfile.Node) images.FileRule {
	f := images.FileRule{}
	r.Fields(n, "a file", yamlfile.Fields{
		"from": yamlfile.Into(&f.From, r.String),
		"to":   yamlfile.Into(&f.To, r.String),
		"exec": yamlfile.Into(&f.Exec, r.Bool),
	}, "from", "to")
	return f
}

func (r reader) env(n *yamlfile.Node) map[string]string {
	env := make(map[string]string)
	for _, e := range r.Entries(n, "env") {
		if e.Value.Kind == yamlfile.String && e.Value.Text == "" {
			env[e.Key] = ""
			continue
		}
		env[e.Key] = r.Scalar(e.Value)
	}
	return env
}

// checkRecipe lets the recipe check itself, and gives its error a place.
func (r reader) checkRecipe(p *ProducerFile) {
	err := p.Recipe.Validate()
	if err == nil {
		return
	}
	var mistake *images.RecipeError
	if !errors.As(err, &mistake) {
		mistake = &images.RecipeError{Reason: err.Error()}
	}
	r.Add(p.RecipeError(mistake))
}

// RecipeError gives a mistake in the recipe its place.
func (p *ProducerFile) RecipeError(e *images.RecipeError) *yamlfile.Error {
	path := append([]string{"image"}, strings.Split(e.Field, ".")...)
	return &yamlfile.Error{Position: p.At(path...), Message: fmt.Sprintf("image %s: %s", e.Field, e.Reason)}
}

// problem is what is wrong with a manifest, wherever it came from.
type problem struct {
	path    []string // as in producer.yaml
	message string
	hint    string
}

// Error prints the problem with its path.
func (p problem) Error() string {
	s := strings.Join(p.path, ".") + ": " + p.message
	if p.hint != "" {
		s += " (" + p.hint + ")"
	}
	return s
}

// checker collects problems.
type checker struct{ problems []problem }

func (c *checker) add(path []string, hint, format string, args ...any) {
	c.problems = append(c.problems, problem{slices.Clone(path), fmt.Sprintf(format, args...), hint})
}
