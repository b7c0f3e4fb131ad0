package config

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// ResolvedProducer is what became of an instance's image.
type ResolvedProducer struct {
	Manifest graph.Manifest
	Image    graph.Image
	Parts    map[string]graph.Split // role → a source that the producer indexes
}

// Workspace puts a workspace together from its file, its lock (nil: none) and
// the producers of its instances, by the instances' names. An instance that
// is not in producers is left out: so a caller resolves only what it needs.
// Mistakes are *yamlfile.Error or yamlfile.Errors.
func Workspace(f *File, lock *Lock, producers map[string]ResolvedProducer) (graph.Workspace, error) {
	if lock == nil {
		lock = NewLock()
	}
	a := assembly{reader{yamlfile.NewReport()}, f, lock}
	ws := graph.Workspace{
		Name:    f.Name,
		Grids:   a.grids(),
		Sources: a.sources(),
		Imports: a.imports(),
		Tiling:  f.Tiles,
	}
	for _, p := range f.Producers {
		if res, ok := producers[p.Name]; ok {
			ws.Instances = append(ws.Instances, a.instance(p, res))
			a.fetched(p, res.Manifest, ws.Sources)
		}
	}
	if err := a.Err(); err != nil {
		return graph.Workspace{}, err
	}
	return ws, nil
}

// assembly puts a workspace together and collects mistakes.
type assembly struct {
	reader
	file *File
	lock *Lock
}

// node is the node of a path in cube.yaml.
func (a assembly) node(path ...string) *yamlfile.Node { return a.file.doc.Root.At(path...) }

// gridNode is the node of a grid, which may stand under grid or grids.
func (a assembly) gridNode(name string) *yamlfile.Node {
	if n := a.file.doc.Root.Get("grids").Get(name); n != nil {
		return n
	}
	return a.node("grid")
}

// grids makes every grid. One whose source is not pinned is an error only
// where it stands; the others are still made.
func (a assembly) grids() map[string]grid.Grid {
	out := make(map[string]grid.Grid, len(a.file.Grids))
	for _, g := range a.file.Grids {
		a.makeGrid(g, out, nil)
	}
	return out
}

// makeGrid makes a grid and those that it refines, once.
func (a assembly) makeGrid(g Grid, out map[string]grid.Grid, path []string) (grid.Grid, bool) {
	if made, ok := out[g.Name]; ok {
		return made, made != grid.Grid{}
	}
	n := a.gridNode(g.Name)
	if slices.Contains(path, g.Name) {
		a.Errorf(n.At("of"), "grid %s refines itself: %s", g.Name, strings.Join(append(path, g.Name), " → "))
		return grid.Grid{}, false
	}
	made, err := a.gridOf(g, n, out, append(path, g.Name))
	if err != nil {
		a.gridError(n, err)
		made = grid.Grid{}
	}
	out[g.Name] = made
	return made, made != grid.Grid{}
}

// errSaid says that the mistake is in the report already.
var errSaid = errors.New("reported")

func (a assembly) gridOf(g Grid, n *yamlfile.Node, out map[string]grid.Grid, path []string) (made grid.Grid, err error) {
	switch {
	case g.Refine > 0:
		of := g.Of
		if of == "" {
			of = graph.DefaultGrid
		}
		base := a.file.Grid(of)
		if base == nil {
			a.Unknown(n, "grid", of, gridNames(a.file))
			return made, errSaid
		}
		coarse, ok := a.makeGrid(*base, out, path)
		if !ok {
			return made, errSaid
		}
		return coarse.Refine(g.Refine)
	case g.Like != "":
		made, err = a.like(g, n)
	default:
		made, err = grid.New(g.CRS, g.DX, g.DY, *g.Bounds, g.Origin, g.Align)
	}
	if err != nil || g.Time == nil {
		return made, err
	}
	return made.WithTimeAxis(grid.TimeAxis{Origin: g.Time.Origin, Step: g.Time.Step}, g.Time.Start, g.Time.End)
}

// like makes a grid of a source's own lattice, cropped to the cells that the
// bounds touch.
func (a assembly) like(g Grid, n *yamlfile.Node) (grid.Grid, error) {
	pin, ok := a.lock.Sources[g.Like]
	if !ok || pin.Inspection == nil {
		e := a.Errorf(n.Get("like"), "the lattice of source %s is not known yet", g.Like)
		e.Hint = "run: cube lock"
		return grid.Grid{}, errSaid
	}
	i := pin.Inspection
	crs, err := grid.ParseCRS(i.CRS)
	if err != nil {
		return grid.Grid{}, fmt.Errorf("source %s: %w", g.Like, err)
	}
	whole, err := grid.Like(crs, i.Transform, i.Width, i.Height)
	if err != nil || g.Bounds == nil {
		return whole, err
	}
	l := whole.Lattice
	cropped, err := grid.New(crs, l.DX, l.DY, *g.Bounds, &grid.Point{X: l.X0, Y: l.Y0}, grid.AlignOut)
	if err != nil {
		return grid.Grid{}, err
	}
	cropped.Box = cropped.Box.Intersect(whole.Box)
	if cropped.Box.Empty() {
		w, s, e, no := l.Edge(whole.Box)
		return grid.Grid{}, fmt.Errorf("the bounds lie outside source %s, which covers [%v, %v, %v, %v]", g.Like, w, s, e, no)
	}
	return cropped, nil
}

// gridError reports an error of package grid at the key that it is about.
func (a assembly) gridError(n *yamlfile.Node, err error) {
	if errors.Is(err, errSaid) {
		return
	}
	var bound *grid.BoundError
	if errors.As(err, &bound) {
		i := slices.Index([]string{"west", "south", "east", "north"}, bound.Side)
		e := a.Errorf(n.At("bounds", fmt.Sprint(i)), "%s", strings.TrimPrefix(err.Error(), "grid: "))
		e.Hint = fmt.Sprintf("write %v, or add align: out to take the next whole cell", bound.Nearest)
		return
	}
	a.Errorf(n, "%s", strings.TrimPrefix(err.Error(), "grid: "))
}

// sources joins what the file and the lock say of each source.
func (a assembly) sources() map[string]graph.Source {
	out := make(map[string]graph.Source, len(a.file.Sources))
	for _, s := range a.file.Sources {
		src := graph.Source{Name: s.Name, URI: s.URI, SHA256: s.SHA256, Ext: Ext(s.URI),
			License: s.License, Citation: s.Citation, Native: s.Native}
		if pin, ok := a.lock.Sources[s.Name]; ok && pin.URI == s.URI {
			a.pin(&src, pin)
		}
		out[s.Name] = src
	}
	return out
}

// pin fills in what the lock knows of a source.
func (a assembly) pin(src *graph.Source, pin LockedSource) {
	if !src.SHA256.IsZero() && src.SHA256 != pin.SHA256 {
		a.Errorf(a.node("sources", src.Name, "sha256"), "cube.lock pins source %s at %s", src.Name, pin.SHA256.Short()).Hint = "run: cube lock"
	}
	src.SHA256, src.Size = pin.SHA256, pin.Size
	if src.Native == 0 && pin.Inspection != nil {
		src.Native = pin.Inspection.NativeRes
	}
}

// Ext is the extension of a URI's file name, in lower case: formats are told
// by it. That of a compressed file has two parts, such as ".tar.gz".
func Ext(uri string) string {
	name := uri
	if u, err := url.Parse(uri); err == nil && u.Path != "" {
		name = u.Path
	}
	name = strings.ToLower(path.Base(name))
	ext := path.Ext(name)
	if slices.Contains([]string{".gz", ".xz", ".bz2", ".zst"}, ext) {
		if inner := path.Ext(strings.TrimSuffix(name, ext)); inner != "" {
			ext = inner + ext
		}
	}
	if !plainExt(ext) {
		return ""
	}
	return ext
}

// plainExt reports whether an extension may become part of a file's name.
func plainExt(ext string) bool {
	return len(ext) <= 16 && strings.Trim(ext, ".abcdefghijklmnopqrstuvwxyz0123456789") == "" && !strings.Contains(ext, "..")
}

func (a assembly) imports() map[string]graph.Import { return a.lock.Pinned() }

// instance makes an instance and checks it against its contract.
func (a assembly) instance(p Producer, res ResolvedProducer) graph.Instance {
	m := res.Manifest
	if p.CPUs > 0 {
		m.Capabilities.CPUs = p.CPUs
	}
	inst := graph.Instance{Name: p.Name, Image: res.Image, Manifest: m, Sources: withFetched(p, m), Secrets: p.Secrets, Parts: res.Parts, In: p.In, Out: p.Out,
		Grid: p.Grid, Tiling: p.Tiles, Resources: p.Resources, Scarce: p.Scarce, Retry: p.Retry, Salt: a.lock.Salts[p.Name]}
	a.roles(p, m)
	a.sourceRoles(p, m)
	a.network(p, m)
	a.onGrid(p)
	if p.Tiles != nil && !m.Capabilities.Tiles {
		a.Errorf(a.node("producers", p.Name, "tiles"), "producer %s computes the whole domain at once (tiles: false)", m.Name).Hint = "remove tiles"
	}
	params, wrong, err := a.file.Memo.params(m, a.params(p))
	if err != nil {
		a.Errorf(a.node("producers", p.Name), "%v", err)
	}
	for _, w := range wrong {
		a.paramError(p, w)
	}
	inst.Params = params
	return inst
}

// params are the params of an instance as they stand in the file.
func (a assembly) params(p Producer) any {
	if n := a.file.doc.Root.Get("producers").Get(p.Name).Get("params"); n != nil {
		return n.JSON()
	}
	return nil
}

// paramError reports what is wrong with a param at its place: a name at the
// name, a value at the value.
func (a assembly) paramError(p Producer, w problem) {
	path := append([]string{"producers", p.Name, "params"}, w.path...)
	n := a.node(path...)
	if strings.HasPrefix(w.message, "unknown param") {
		n = a.node(path[:len(path)-1]...).Key(path[len(path)-1])
	}
	message := w.message
	if len(w.path) > 0 && !strings.HasPrefix(message, "unknown param") {
		message = "param " + strings.Join(w.path, ".") + ": " + message
	}
	a.Errorf(n, "%s", message).Hint = w.hint
}

// roles checks that what is renamed is in the contract, and that no two
// outputs become one variable.
func (a assembly) roles(p Producer, m graph.Manifest) {
	var needs, outputs []string
	for _, n := range m.Needs {
		needs = append(needs, n.Variable)
	}
	for _, v := range m.Produces {
		outputs = append(outputs, v.Name)
	}
	a.keys(p, "in", fmt.Sprintf("need of %s", m.Name), p.In, needs)
	a.keys(p, "out", fmt.Sprintf("output of %s", m.Name), p.Out, outputs)
	made := map[string]string{}
	for _, role := range outputs {
		name := role
		if to, ok := p.Out[role]; ok {
			name = to
		}
		if other, ok := made[name]; ok {
			a.Errorf(a.node("producers", p.Name, "out", role), "outputs %s and %s both become %s", other, role, name)
		}
		made[name] = role
	}
}

// keys checks the keys of a map against the contract.
func (a assembly) keys(p Producer, key, what string, have map[string]string, valid []string) {
	for _, role := range slices.Sorted(maps.Keys(have)) {
		if !slices.Contains(valid, role) {
			e := a.Errorf(a.node("producers", p.Name, key).Key(role), "%q is no %s", clip(role), what)
			e.Hint, e.Choices = yamlfile.DidYouMean(role, valid), valid
		}
	}
}

// sourceRoles checks that an instance has the sources that its contract asks
// for.
func (a assembly) sourceRoles(p Producer, m graph.Manifest) {
	var roles []string
	for _, s := range m.Sources {
		if s.Fetch {
			continue // its own affair
		}
		roles = append(roles, s.Name)
		if _, ok := p.Sources[s.Name]; !ok && !s.Optional {
			e := a.Errorf(a.node("producers", p.Name), "producer %s has no source %s", p.Name, s.Name)
			e.Hint = fmt.Sprintf("add sources: {%s: <name of a source>}", s.Name)
		}
	}
	a.keys(p, "sources", "source of "+m.Name, p.Sources, roles)
	a.keys(p, "secrets", "secret of "+m.Name, p.Secrets, m.Secrets)
}

// onGrid checks that the instance's grid is there.
func (a assembly) onGrid(p Producer) {
	if p.Grid == "" && a.file.Grid(graph.DefaultGrid) == nil {
		e := a.Errorf(a.node("producers", p.Name), "producer %s has no grid, and there is no default one", p.Name)
		e.Hint = "add grid: {crs: …, resolution: …, bounds: […]}"
		if names := gridNames(a.file); len(names) > 0 {
			e.Hint = "add grid: " + names[0] + " to it, or name a grid default"
		}
	}
}

// Instance returns an instance as Workspace would, alone: for what has to be
// known before the whole is.
func Instance(f *File, name string, res ResolvedProducer) (graph.Instance, error) {
	a := assembly{reader{yamlfile.NewReport()}, f, NewLock()}
	inst := a.instance(*f.Producer(name), res)
	return inst, a.Err()
}
