package graph

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube/grid"
)

// Resolve walks requires → produces backward from the targets. Its errors are
// [*MissingError], [*AmbiguousError], [*CycleError], [*MismatchError],
// [*ResolutionError] and [*GridError]; each names the path from the target.
// Where several things are wrong it returns all of them, joined. The plan has
// instances of its own, and the workspace stays as it is: several may resolve it at
// once.
func Resolve(ws Workspace, targets ...string) (*Plan, error) {
	ws.Instances = slices.Clone(ws.Instances)
	r := &resolver{ws: &ws, done: map[string]*Vertex{}, makers: map[string][]maker{}, outputs: map[string]*Output{}, ground: map[grid.Grid]float64{}}
	for i := range ws.Instances {
		r.index(&ws.Instances[i])
	}
	for _, t := range targets {
		r.variable(t, nil)
	}
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	return &Plan{Targets: slices.Clone(targets), Vertices: r.order}, nil
}

// Variables lists every variable that a workspace can make or has imported,
// sorted.
func (ws *Workspace) Variables() []string {
	set := map[string]bool{}
	for i := range ws.Instances {
		inst := &ws.Instances[i]
		for _, o := range inst.Manifest.Produces {
			set[inst.Output(o.Name)] = true
		}
	}
	for name := range ws.Imports {
		set[name] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Makes are the variables that the instance of a name makes; none where there
// is no such instance.
func (ws *Workspace) Makes(instance string) (out []string) {
	for i := range ws.Instances {
		if ws.Instances[i].Name == instance {
			out = ws.Instances[i].Makes()
		}
	}
	return out
}

// missing is the error for a variable that nothing makes.
func (ws *Workspace) missing(name string, path []string) *MissingError {
	return &MissingError{Variable: name, Nearest: Nearest(name, ws.Variables()), Makes: ws.Makes(name), Path: path}
}

// maker is one way to make a variable.
type maker struct {
	inst *Instance
	role string
}

type resolver struct {
	ws      *Workspace
	makers  map[string][]maker
	done    map[string]*Vertex // by vertex name; nil while it is being resolved or after it failed
	outputs map[string]*Output // by variable
	order   []*Vertex
	errs    []error
	ground  map[grid.Grid]float64 // cell sizes in metres, of grids met before
}

func (r *resolver) index(inst *Instance) {
	inst.Manifest = inst.Manifest.WithDefaults()
	for _, o := range inst.Manifest.Produces {
		name := inst.Output(o.Name)
		r.makers[name] = append(r.makers[name], maker{inst, o.Name})
	}
}

func (r *resolver) fail(err error) { r.errs = append(r.errs, err) }

// variable resolves one variable and returns its output, or nil after an
// error. An import is not an output and returns nil as well.
func (r *resolver) variable(name string, path []string) *Output {
	if o, ok := r.outputs[name]; ok {
		return o
	}
	if i := slices.Index(path, name); i >= 0 {
		r.fail(&CycleError{Path: append(slices.Clone(path), name)})
		r.outputs[name] = nil
		return nil
	}
	path = append(slices.Clone(path), name)
	makers := r.makers[name]
	pinned, imported := r.ws.Imports[name]
	switch {
	case imported && pinned.Held:
		return nil
	case imported && len(makers) > 0:
		r.fail(&AmbiguousError{Variable: name, Instances: append([]string{"import"}, names(makers)...), Path: path})
	case imported:
		return nil
	case len(makers) == 0:
		r.fail(r.ws.missing(name, path))
	case len(makers) == 1:
		r.vertex(makers[0].inst, path)
	default:
		r.merge(name, makers, path)
	}
	o := r.outputs[name]
	r.outputs[name] = o
	return o
}

func names(ms []maker) []string {
	out := make([]string, len(ms))
	for i, m := range ms {
		out[i] = m.inst.Name
	}
	return out
}

// vertex resolves an instance with all of its needs.
func (r *resolver) vertex(inst *Instance, path []string) *Vertex {
	if v, ok := r.done[inst.Name]; ok {
		return v
	}
	gridName := orDefault(inst.Grid, DefaultGrid)
	g, ok := r.ws.Grids[gridName]
	if !ok {
		r.done[inst.Name] = nil
		r.fail(&GridError{Instance: inst.Name, Grid: gridName, Problem: "the workspace has no such grid",
			Nearest: Nearest(gridName, slices.Sorted(maps.Keys(r.ws.Grids))), Path: path})
		return nil
	}
	v := &Vertex{Name: inst.Name, Instance: inst, GridName: gridName, Grid: g, Box: g.Box}
	before := len(r.errs)
	v.Tiling = r.tiling(inst)
	if !inst.makesTime() {
		v.Box = g.Box.Static()
	}
	if err := checkTime(inst, g, gridName, path); err != nil {
		r.fail(err)
	}
	for _, need := range inst.Manifest.Needs {
		if b := r.bind(v, g, need, path); b != nil {
			v.Inputs = append(v.Inputs, b)
		}
	}
	r.done[inst.Name] = nil
	if len(r.errs) > before {
		return nil
	}
	for _, spec := range inst.Manifest.Produces {
		o, err := r.output(v, g, spec)
		if err != nil {
			r.fail(&GridError{Instance: inst.Name, Grid: gridName, Problem: err.Error(), Path: path})
			return nil
		}
		if r.outputs[o.Variable] == nil {
			r.outputs[o.Variable] = o
		}
		v.Outputs = append(v.Outputs, o)
	}
	r.done[inst.Name] = v
	r.order = append(r.order, v)
	return v
}

func (r *resolver) output(v *Vertex, g grid.Grid, spec VarSpec) (*Output, error) {
	name := v.Instance.Output(spec.Name)
	if len(r.makers[name]) > 1 {
		name = Contribution(name, v.Name)
	}
	og, err := g.Refine(spec.Refine)
	if err != nil {
		return nil, err
	}
	if spec.Kind != Time {
		og.Time, og.Box = grid.TimeAxis{}, og.Box.Static()
	}
	return &Output{Vertex: v, Role: spec.Name, Variable: name, Spec: spec, Grid: og, Native: r.native(v, og, spec), Held: r.ws.Imports[name].Held}, nil
}

// makesTime reports whether the instance produces anything in time.
func (i *Instance) makesTime() bool {
	return slices.ContainsFunc(i.Manifest.Produces, func(s VarSpec) bool { return s.Kind == Time })
}

// tiling is how the instance's domain is cut: not at all where the producer
// does not tile, and in one piece of time where a static output needs it all.
func (r *resolver) tiling(inst *Instance) grid.Tiling {
	file := func(s VarSpec) bool { return s.Kind == File }
	if !inst.Manifest.Capabilities.Tiles || slices.ContainsFunc(inst.Manifest.Produces, file) {
		return grid.Tiling{}
	}
	t := r.ws.Tiling
	if inst.Tiling != nil {
		t = *inst.Tiling
	}
	if slices.ContainsFunc(inst.Manifest.Produces, func(s VarSpec) bool { return s.Kind == Static }) {
		t.T = 0
	}
	return t
}

func checkTime(inst *Instance, g grid.Grid, gridName string, path []string) error {
	if !g.Time.IsZero() && g.Box.T.Len() > 0 {
		return nil
	}
	for _, o := range inst.Manifest.Produces {
		if o.Kind == Time {
			return &GridError{Instance: inst.Name, Grid: gridName, Path: path,
				Problem: fmt.Sprintf("it has no time axis, and %s is in time", inst.Output(o.Name))}
		}
	}
	return nil
}

// bind finds what satisfies a need and checks that it does.
func (r *resolver) bind(v *Vertex, g grid.Grid, need DataNeed, path []string) *Binding {
	name := v.Instance.Input(need.Variable)
	b := &Binding{Role: need.Variable, Need: need, Variable: name}
	if imp, ok := r.ws.Imports[name]; ok && (imp.Held || len(r.makers[name]) == 0) {
		imp.Spec = imp.Spec.WithDefaults()
		b.Import = &imp
	} else if b.From = r.variable(name, path); b.From == nil {
		return nil
	}
	path = append(slices.Clone(path), name)
	if err := check(v, g, b, path); err != nil {
		r.fail(err)
		return nil
	}
	if err := b.place(v, g, path); err != nil {
		r.fail(err)
		return nil
	}
	return b
}

// place decides how the variable comes onto the vertex's grid, once for the
// whole domain, so that no tile's place has a say in it.
func (b *Binding) place(v *Vertex, g grid.Grid, path []string) error {
	own := b.Grid()
	if b.Need.Kind == File || own.Lattice == g.Lattice {
		if b.Need.Kind != File && !own.Box.Static().Contains(g.Box.Static()) && b.Need.Grid != NativeGrid {
			return &GridError{Instance: v.Name, Grid: v.GridName, Path: path,
				Problem: fmt.Sprintf("it is larger than that of %s: %s, not within %s", b.Variable, g.Box.Static(), own.Box.Static())}
		}
		return nil
	}
	fail := func(err error) error {
		return &GridError{Instance: v.Name, Grid: v.GridName, Path: path, Problem: fmt.Sprintf("%s cannot be brought onto it: %v", b.Variable, err)}
	}
	cover, err := grid.Cover(g.Lattice, g.Box.Static(), own, 0)
	if err != nil {
		return fail(err)
	}
	if cover.Empty() {
		return fail(errors.New("the two do not meet"))
	}
	if b.Method = b.Need.Resample; b.Method == "" {
		down, err := grid.Downscale(g.Lattice, g.Box.Static(), own.Lattice)
		if err != nil {
			return fail(err)
		}
		b.Method = grid.Default(b.Spec().Categorical(), down)
	}
	_, err = b.Method.Cover(g.Lattice, g.Box.Static(), own)
	if err != nil {
		return fail(err)
	}
	return nil
}

func check(v *Vertex, g grid.Grid, b *Binding, path []string) error {
	spec, need := b.Spec(), b.Need
	mismatch := func(what, want, have string) error {
		return &MismatchError{What: what, Variable: b.Variable, Consumer: v.Name, Want: want, Have: have, Path: path}
	}
	switch {
	case need.Kind != spec.Kind:
		return mismatch("kind", string(need.Kind), string(spec.Kind))
	case need.Units != "" && need.Units != spec.Units:
		return mismatch("units", need.Units, orDefault(spec.Units, "unknown"))
	case len(need.Legend) > 0 && !sameLegend(need.Legend, spec.Legend):
		return mismatch("legend", legendText(need.Legend), legendText(spec.Legend))
	}
	if need.Kind == Time {
		own := b.Grid()
		if need.MaxStep > 0 && own.Time.Step > need.MaxStep {
			return mismatch("time step", fmt.Sprintf("at most %d s", need.MaxStep), fmt.Sprintf("%d s", own.Time.Step))
		}
		// On its own lattice a variable has its own times: whoever takes them all
		// need not have them too.
		all := need.Grid == NativeGrid && (need.Time.All || v.Box.T.Len() == 0)
		if !all && (own.Time != g.Time || !own.Box.T.Contains(g.Box.T)) {
			return mismatch("time axis", timeText(g), timeText(own))
		}
	}
	if need.MaxRes > 0 && !(b.Native() > 0 && grid.FinerOrEqual(b.Native(), need.MaxRes)) {
		return &ResolutionError{Variable: b.Variable, Consumer: v.Name, Want: need.MaxRes, Have: b.Native(), Path: path}
	}
	return nil
}

func timeText(g grid.Grid) string {
	if g.Time.IsZero() {
		return ""
	}
	return fmt.Sprintf("[%s, %s) every %d s", grid.FormatTime(g.Time.At(g.Box.T.Lo)), grid.FormatTime(g.Time.At(g.Box.T.Hi)), g.Time.Step)
}

func sameLegend(a, b []Class) bool {
	return slices.EqualFunc(a, b, func(x, y Class) bool { return x.Value == y.Value && x.Name == y.Name })
}

func legendText(l []Class) string {
	if len(l) == 0 {
		return ""
	}
	var first []string
	for _, c := range l[:min(len(l), 3)] {
		first = append(first, fmt.Sprintf("%d = %s", c.Value, c.Name))
	}
	if len(l) > 3 {
		first = append(first, "…")
	}
	classes := "1 class"
	if len(l) > 1 {
		classes = fmt.Sprintf("%d classes", len(l))
	}
	return fmt.Sprintf("%s (%s)", classes, strings.Join(first, ", "))
}

// metres is the size of a grid's cells on the ground. It is the same for every
// vertex of a grid, and not cheap.
func (r *resolver) metres(g grid.Grid) float64 {
	m, ok := r.ground[g]
	if !ok {
		m = grid.ResolutionMetres(g.Lattice, g.Box)
		r.ground[g] = m
	}
	return m
}

// native is the coarsest of what an output is made from, and never finer than
// the grid that it stands on. Where any of it is unknown, so is the output's.
func (r *resolver) native(v *Vertex, g grid.Grid, spec VarSpec) float64 {
	coarsest := r.metres(g)
	take := func(native float64) bool {
		coarsest = max(coarsest, native)
		return native > 0
	}
	for _, b := range v.Inputs {
		if len(spec.NativeFrom) > 0 && !slices.Contains(spec.NativeFrom, b.Role) || b.Need.Kind == File {
			continue
		}
		if !take(b.Native()) {
			return 0
		}
	}
	if len(spec.NativeFrom) > 0 {
		return coarsest
	}
	for _, role := range slices.Sorted(maps.Keys(v.Instance.Sources)) {
		if !take(r.ws.Sources[v.Instance.Sources[role]].Native) {
			return 0
		}
	}
	return coarsest
}

// merge resolves every instance that contributes to a variable and adds the
// vertex that merges them.
func (r *resolver) merge(name string, makers []maker, path []string) {
	policy := makers[0].inst.Manifest.Output(makers[0].role).Merge
	if policy == Replace {
		r.fail(&AmbiguousError{Variable: name, Instances: names(makers), Path: path})
		return
	}
	m := &Vertex{Name: MergePrefix + name}
	var out *Output
	for _, k := range makers {
		v := r.vertex(k.inst, path)
		if v == nil {
			return
		}
		o := v.output(k.role)
		if out == nil {
			out = &Output{Vertex: m, Role: name, Variable: name, Spec: o.Spec, Grid: o.Grid, Native: o.Native}
			out.Spec.Refine = 1 // the merge's own grid is refined already
			m.GridName, m.Grid, m.Box, m.Tiling = v.GridName, o.Grid, o.Grid.Box, v.Tiling
			m.Tiling.Y, m.Tiling.X = v.Tiling.Y*o.Spec.Refine, v.Tiling.X*o.Spec.Refine
		} else if err := mergeable(name, m.Inputs[0].From, o, path); err != nil {
			r.fail(err)
			return
		}
		out.Native = coarser(out.Native, o.Native)
		m.Inputs = append(m.Inputs, &Binding{Role: v.Name, Variable: o.Variable, From: o,
			Need: DataNeed{Variable: o.Variable, Kind: o.Spec.Kind}})
	}
	m.Outputs = []*Output{out}
	r.order = append(r.order, m)
	r.outputs[name] = out
}

func (v *Vertex) output(role string) *Output {
	i := slices.IndexFunc(v.Outputs, func(o *Output) bool { return o.Role == role })
	return v.Outputs[i]
}

func coarser(a, b float64) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return max(a, b)
}

// mergeable says why two contributions cannot be merged, or nil.
func mergeable(name string, a, b *Output, path []string) error {
	mismatch := func(what, first, second string) error {
		return &MismatchError{What: what, Variable: name, Maker: a.Vertex.Name, Consumer: b.Vertex.Name, Want: first, Have: second, Path: path}
	}
	for _, c := range []struct{ what, first, second string }{
		{"merge policy", string(a.Spec.Merge), string(b.Spec.Merge)},
		{"kind", string(a.Spec.Kind), string(b.Spec.Kind)},
		{"dtype", string(a.Spec.DType), string(b.Spec.DType)},
		{"dimensions", dimsText(a.Spec), dimsText(b.Spec)},
		{"units", orDefault(a.Spec.Units, "unknown"), orDefault(b.Spec.Units, "unknown")},
		{"fill", fillText(a.Spec), fillText(b.Spec)},
		{"cell method", string(a.Spec.CellMethod), string(b.Spec.CellMethod)},
		{"schema", fmt.Sprint(a.Spec.Schema), fmt.Sprint(b.Spec.Schema)},
	} {
		if c.first != c.second {
			return mismatch(c.what, c.first, c.second)
		}
	}
	switch {
	case !sameLegend(a.Spec.Legend, b.Spec.Legend):
		return mismatch("legend", legendText(a.Spec.Legend), legendText(b.Spec.Legend))
	case a.Grid != b.Grid:
		return mismatch("grid", gridText(a), gridText(b))
	}
	return nil
}

// dimsText names the dimensions, and the labels of those that have them.
func dimsText(v VarSpec) string {
	text := strings.Join(DimsOf(v), ", ")
	for _, d := range v.Dims {
		text += fmt.Sprintf("; %s of %d", d.Name, d.Size)
		if len(d.Labels) > 0 {
			text += fmt.Sprintf(" %q", d.Labels)
		}
	}
	return text
}

// fillText is the value that is nodata; a float's is always NaN.
func fillText(v VarSpec) string {
	if v.Fill == nil || v.DType.IsFloat() {
		return ""
	}
	return string(*v.Fill)
}

func gridText(o *Output) string {
	if o.Spec.Refine > 1 {
		return fmt.Sprintf("%s, refined by %d", o.Vertex.GridName, o.Spec.Refine)
	}
	return o.Vertex.GridName
}

// Closure returns the names of the instances that the targets need, in the
// order of the workspace. It looks at names alone, so that images need to be
// at hand only for what it returns; its only errors are [*MissingError]s.
func Closure(ws *Workspace, targets ...string) ([]string, error) {
	makers := map[string][]*Instance{}
	for i := range ws.Instances {
		inst := &ws.Instances[i]
		for _, o := range inst.Manifest.Produces {
			name := inst.Output(o.Name)
			makers[name] = append(makers[name], inst)
		}
	}
	var errs []error
	seen, needed := map[string]bool{}, map[string]bool{}
	var visit func(name string, path []string)
	visit = func(name string, path []string) {
		path = append(slices.Clone(path), name)
		if seen[name] {
			return
		}
		seen[name] = true
		pinned, ok := ws.Imports[name]
		if !ok && len(makers[name]) == 0 {
			errs = append(errs, ws.missing(name, path))
		}
		if pinned.Held {
			return
		}
		for _, inst := range makers[name] {
			needed[inst.Name] = true
			for _, n := range inst.Manifest.Needs {
				visit(inst.Input(n.Variable), path)
			}
		}
	}
	for _, t := range targets {
		visit(t, nil)
	}
	var out []string
	for i := range ws.Instances {
		if needed[ws.Instances[i].Name] {
			out = append(out, ws.Instances[i].Name)
		}
	}
	return out, errors.Join(errs...)
}
