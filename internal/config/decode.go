package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// decode reads the tree of a cube.yaml into f.
func (f *File) decode() error {
	r := reader{yamlfile.NewReport()}
	root := f.doc.Root
	f.Grids, f.Sources, f.Secrets, f.Producers = nil, nil, nil, nil
	f.Storage, f.Staging, f.Backend, f.Retry = defaultStorage, Staging{}, defaultBackend, graph.Retry{}
	if root.Kind == yamlfile.Null {
		root = yamlfile.NewMap()
		f.doc.Root = root
	}
	r.Fields(root, "the file", yamlfile.Fields{
		"name":      yamlfile.Into(&f.Name, r.name),
		"grid":      func(n *yamlfile.Node) { f.Grids = append(f.Grids, r.grid(graph.DefaultGrid, n)) },
		"grids":     func(n *yamlfile.Node) { r.grids(f, n) },
		"sources":   func(n *yamlfile.Node) { r.sources(f, n) },
		"secrets":   func(n *yamlfile.Node) { r.secrets(f, n) },
		"producers": func(n *yamlfile.Node) { r.producers(f, n) },
		"tiles":     yamlfile.Into(&f.Tiles, r.tiling),
		"storage":   func(n *yamlfile.Node) { r.storage(&f.Storage, n) },
		"staging":   func(n *yamlfile.Node) { r.staging(&f.Staging, n) },
		"backend":   func(n *yamlfile.Node) { r.backend(&f.Backend, n) },
		"retry":     yamlfile.Into(&f.Retry, r.retry),
	})
	if root.Get("grid") != nil && root.Get("grids").Get(graph.DefaultGrid) != nil {
		r.Errorf(root.Key("grid"), "the default grid stands here and under grids").Hint = "remove one of them"
	}
	r.checkNames(f)
	r.checkTiles(f)
	return r.Err()
}

func (r reader) grids(f *File, n *yamlfile.Node) {
	for _, e := range r.Entries(n, "grids") {
		f.Grids = append(f.Grids, r.grid(r.name(e.Name), e.Value))
	}
}

// grid reads one grid.
func (r reader) grid(name string, n *yamlfile.Node) Grid {
	g := Grid{Name: name}
	r.Fields(n, "a grid", yamlfile.Fields{
		"crs":        func(n *yamlfile.Node) { g.CRS = r.crs(n) },
		"resolution": func(n *yamlfile.Node) { g.DX, g.DY = r.resolution(n) },
		"bounds":     func(n *yamlfile.Node) { g.Bounds = r.bounds(n) },
		"origin":     func(n *yamlfile.Node) { g.Origin = r.origin(n) },
		"align": func(n *yamlfile.Node) {
			g.Align = yamlfile.OneOf(r.Report, n, "alignment", []grid.Align{grid.AlignOut})
		},
		"time":   func(n *yamlfile.Node) { g.Time = r.timeRange(n) },
		"like":   yamlfile.Into(&g.Like, r.name),
		"refine": func(n *yamlfile.Node) { g.Refine = r.Int(n, 2, 1024) },
		"of":     yamlfile.Into(&g.Of, r.name),
	})
	r.gridSort(g.Name, n)
	return g
}

// gridSorts are the three sorts of grid: the key that tells each, what it
// must have and what else it may have.
var gridSorts = []struct {
	key        string
	must, may  []string
	impossible string
}{
	{"like", nil, []string{"bounds", "time"}, "it is the source's own"},
	{"refine", nil, []string{"of"}, "it is that of the grid that is refined"},
	{"crs", []string{"resolution", "bounds"}, []string{"origin", "align", "time"}, ""},
}

// gridSort checks that a grid is of one sort.
func (r reader) gridSort(name string, n *yamlfile.Node) {
	if n.Kind != yamlfile.Map {
		return
	}
	for _, s := range gridSorts {
		if n.Get(s.key) == nil {
			continue
		}
		for _, key := range s.must {
			if n.Get(key) == nil {
				r.Errorf(n, "grid %s has no %s", name, key)
			}
		}
		for _, e := range n.Entries {
			if e.Key != s.key && !slices.Contains(s.must, e.Key) && !slices.Contains(s.may, e.Key) && gridKey(e.Key) {
				r.Errorf(e.Name, "a grid with %s has no %s of its own", s.key, e.Key).Hint = s.impossible
			}
		}
		return
	}
	r.Errorf(n, "grid %s has no crs", name).Hint = "a grid has crs, resolution and bounds; or like: <source>; or refine: <n>"
}

// gridKey reports whether a key is one of a grid at all.
func gridKey(key string) bool {
	return slices.Contains([]string{"crs", "resolution", "bounds", "origin", "align", "time", "like", "refine", "of"}, key)
}

func (r reader) crs(n *yamlfile.Node) grid.CRS {
	c, err := grid.ParseCRS(r.Scalar(n))
	if err != nil && n.Text != "" {
		r.Errorf(n, "%v", err)
	}
	return c
}

// resolution reads one number, or [dx, dy].
func (r reader) resolution(n *yamlfile.Node) (dx, dy float64) {
	if n.Kind != yamlfile.List {
		v := r.Positive(n)
		return v, v
	}
	if v := r.numbers(n, "resolution", "dx", "dy"); v != nil {
		for i, item := range n.Items {
			v[i] = r.Positive(item)
		}
		return v[0], v[1]
	}
	return 0, 0
}

// numbers reads a list of as many numbers as it has names.
func (r reader) numbers(n *yamlfile.Node, what string, names ...string) []float64 {
	if n.Kind != yamlfile.List || len(n.Items) != len(names) {
		r.Errorf(n, "%s must be [%s]", what, strings.Join(names, ", "))
		return nil
	}
	v, before := make([]float64, len(names)), r.Len()
	for i, item := range n.Items {
		v[i] = r.Float(item, -1e15, 1e15)
	}
	if r.Len() > before {
		return nil
	}
	return v
}

func (r reader) bounds(n *yamlfile.Node) *grid.Bounds {
	v := r.numbers(n, "bounds", "west", "south", "east", "north")
	if v == nil {
		return nil
	}
	b := &grid.Bounds{West: v[0], South: v[1], East: v[2], North: v[3]}
	if b.East <= b.West {
		r.Errorf(n.Items[2], "east %v must be greater than west %v", b.East, b.West).Hint = "bounds are [west, south, east, north]"
	}
	if b.North <= b.South {
		r.Errorf(n.Items[3], "north %v must be greater than south %v", b.North, b.South).Hint = "bounds are [west, south, east, north]"
	}
	return b
}

func (r reader) origin(n *yamlfile.Node) *grid.Point {
	if v := r.numbers(n, "origin", "x", "y"); v != nil {
		return &grid.Point{X: v[0], Y: v[1]}
	}
	return nil
}

// oneCell is a grid to try a time axis on.
var oneCell = grid.Grid{Lattice: grid.Lattice{DX: 1, DY: 1}, Box: grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Hi: 1}}}

func (r reader) timeRange(n *yamlfile.Node) *TimeRange {
	t := &TimeRange{}
	before := r.Len()
	r.Fields(n, "time", yamlfile.Fields{
		"start":  yamlfile.Into(&t.Start, r.instant),
		"end":    yamlfile.Into(&t.End, r.instant),
		"step":   yamlfile.Into(&t.Step, r.step),
		"origin": yamlfile.Into(&t.Origin, r.instant),
	}, "start", "end", "step")
	if n.Get("origin") == nil {
		t.Origin = t.Start
	}
	if r.Len() > before {
		return t
	}
	if _, err := oneCell.WithTimeAxis(grid.TimeAxis{Origin: t.Origin, Step: t.Step}, t.Start, t.End); err != nil {
		r.Errorf(n, "%s", strings.TrimPrefix(err.Error(), "grid: "))
	}
	return t
}

func (r reader) producers(f *File, n *yamlfile.Node) {
	for _, e := range r.Entries(n, "producers") {
		f.Producers = append(f.Producers, r.producer(r.name(e.Name), e.Value))
	}
}

// producer reads an instance: a map, or its image alone.
func (r reader) producer(name string, n *yamlfile.Node) Producer {
	p := Producer{Name: name}
	if n.Kind == yamlfile.String {
		p.Image = r.image(n)
		return p
	}
	r.Fields(n, "a producer", yamlfile.Fields{
		"image":   yamlfile.Into(&p.Image, r.image),
		"sources": func(n *yamlfile.Node) { p.Sources = r.renames(n, "sources", r.name) },
		"secrets": func(n *yamlfile.Node) { p.Secrets = r.renames(n, "secrets", r.name) },
		"network": func(n *yamlfile.Node) { p.Network = yamlfile.ListOf(r.Report, n, "network", r.host) },
		"params":  func(n *yamlfile.Node) { r.Entries(n, "params") },
		"grid":    yamlfile.Into(&p.Grid, r.name),
		"in":      func(n *yamlfile.Node) { p.In = r.renames(n, "in", r.variable) },
		"out":     func(n *yamlfile.Node) { p.Out = r.renames(n, "out", r.variable) },
		"tiles":   func(n *yamlfile.Node) { t := r.tiling(n); p.Tiles = &t },
		"limits":  func(n *yamlfile.Node) { r.limits(&p, n) },
		"retry":   yamlfile.Into(&p.Retry, r.retry),
	}, "image")
	return p
}

// host reads the name of a host, or of all below one.
func (r reader) host(n *yamlfile.Node) string {
	s := r.String(n)
	if s != "" && !isHost(s) {
		r.Errorf(n, "%q is no host name", clip(s)).Hint = "write it like data.example.org, *.example.org or data.example.org:8443"
	}
	return s
}

func (r reader) limits(p *Producer, n *yamlfile.Node) {
	fields := r.resources(&p.Resources)
	r.scarce(&p.Scarce, fields)
	fields["cpus"] = yamlfile.Into(&p.CPUs, r.cpus)
	r.Fields(n, "limits", fields)
}

// renames reads a map of role → name.
func (r reader) renames(n *yamlfile.Node, what string, read func(*yamlfile.Node) string) map[string]string {
	m := make(map[string]string)
	for _, e := range r.Entries(n, what) {
		if e.Value.Kind == yamlfile.Null {
			r.Errorf(e.Name, "%s has no value", e.Key)
			continue
		}
		m[e.Key] = read(e.Value)
	}
	return m
}

// image reads a producer directory, builtin:<name>, or an image reference.
func (r reader) image(n *yamlfile.Node) string {
	s := r.String(n)
	name, builtin := strings.CutPrefix(s, "builtin:")
	switch {
	case s == "":
	case builtin && !plainName.MatchString(name):
		r.Errorf(n, "%q is no name of a shipped producer", clip(name))
	case strings.HasPrefix(s, "/"):
		r.Errorf(n, "a producer's path must be relative to the workspace").Hint = "write it like ./producers/slope"
	case strings.ContainsAny(s, " \\"):
		r.Errorf(n, "%q is neither a path nor an image", clip(s)).Hint = imageHint
	case !builtin && !IsPath(s) && strings.ContainsRune(s, '/') && !strings.ContainsAny(s, ".:"):
		r.Errorf(n, "%q is neither a path nor an image", clip(s)).Hint = "for a path write ./" + s + "; an image names its registry"
	case !builtin && !IsPath(s) && !strings.Contains(s, "/"):
		r.Errorf(n, "%q is neither a path nor an image", clip(s)).Hint = "for a path write ./" + s + "; for a shipped producer builtin:" + s
	default:
		return s
	}
	return ""
}

const imageHint = "a path like ./producers/slope, builtin:<name>, or an image like ghcr.io/org/model:1.2"

// IsPath reports whether the image of an instance is a producer directory.
func IsPath(image string) bool {
	return image == "." || image == ".." || strings.HasPrefix(image, "./") || strings.HasPrefix(image, "../")
}

// Builtin returns the name of a shipped producer.
func Builtin(image string) (name string, ok bool) { return strings.CutPrefix(image, "builtin:") }

func (r reader) storage(s *Storage, n *yamlfile.Node) {
	r.Fields(n, "storage", yamlfile.Fields{
		"codec": func(n *yamlfile.Node) {
			s.Codec = yamlfile.OneOf(r.Report, n, "codec", []string{"zstd", "lz4", "none"})
		},
		"level":  func(n *yamlfile.Node) { s.Level = int(r.Int(n, 1, 19)) },
		"chunks": yamlfile.Into(&s.Chunks, r.tiling),
	})
}

func (r reader) staging(s *Staging, n *yamlfile.Node) {
	r.Fields(n, "staging", yamlfile.Fields{
		"memory": yamlfile.Into(&s.Memory, r.size),
		"disk":   yamlfile.Into(&s.Disk, r.size),
	})
}

// Backends are the kinds of backends that there are.
var Backends = []string{"serial", "thread", "process"}

func (r reader) backend(b *Backend, n *yamlfile.Node) {
	if n.Kind == yamlfile.String {
		b.Kind = yamlfile.OneOf(r.Report, n, "backend", Backends)
		return
	}
	r.Fields(n, "backend", yamlfile.Fields{
		"kind":    func(n *yamlfile.Node) { b.Kind = yamlfile.OneOf(r.Report, n, "backend", Backends) },
		"workers": func(n *yamlfile.Node) { b.Workers = int(r.Int(n, 1, 4096)) },
		"cpus":    yamlfile.Into(&b.CPUs, r.cpus),
		"memory":  yamlfile.Into(&b.Memory, r.memory),
		"gpus":    func(n *yamlfile.Node) { v := int(r.Int(n, 0, maxPieces)); b.GPUs = &v },
		"tokens":  func(n *yamlfile.Node) { b.Tokens = r.tokens(n) },
	})
}

// retryReasons are what a failed action may be run again for, beside exit:N.
var retryReasons = []string{"exit", "signal", "timeout", "oom"}

func (r reader) retry(n *yamlfile.Node) (t graph.Retry) {
	r.Fields(n, "retry", yamlfile.Fields{
		"attempts":    func(n *yamlfile.Node) { t.Attempts = int(r.Int(n, 1, 100)) },
		"backoff":     yamlfile.Into(&t.Backoff, r.duration),
		"max_backoff": yamlfile.Into(&t.MaxBackoff, r.duration),
		"on": func(n *yamlfile.Node) {
			t.On = append([]string{}, yamlfile.ListOf(r.Report, n, "on", r.retryReason)...)
		},
		"memory_factor": func(n *yamlfile.Node) { t.MemoryFactor = r.Float(n, 1, 16) },
		"max_memory":    yamlfile.Into(&t.MaxMemory, r.memory),
	})
	return t
}

func (r reader) retryReason(n *yamlfile.Node) string {
	s := r.String(n)
	if s == "exit:65" {
		r.Errorf(n, "exit 65 says that the input is bad: another attempt would come to the same").Hint = "once its cause is mended: cube failed retry"
		return s
	}
	if code, ok := strings.CutPrefix(s, "exit:"); ok && exitCode(code) || s == "" || slices.Contains(retryReasons, s) {
		return s
	}
	e := r.Errorf(n, "unknown reason %q", clip(s))
	e.Hint = yamlfile.DidYouMean(s, retryReasons) + "; exit:N is the exit code N, from 1 to 255"
	return ""
}

func exitCode(s string) bool {
	var n int
	_, err := fmt.Sscanf(s, "%d", &n)
	return err == nil && n >= 1 && n <= 255 && s == fmt.Sprint(n)
}

// checkNames checks that what is named is there.
func (r reader) checkNames(f *File) {
	root := f.doc.Root
	grids, sources, secrets := gridNames(f), sourceNames(f), secretNames(f)
	for _, s := range f.Sources {
		for _, name := range SecretsOf(s.URI) {
			r.knownSecret(root.At("sources", s.Name, "uri"), name, secrets)
		}
	}
	for _, g := range f.Grids {
		n := root.At("grids", g.Name)
		if root.Get("grids").Get(g.Name) == nil {
			n = root.Get("grid")
		}
		r.known(n.Get("like"), "source", g.Like, sources)
		r.known(n.Get("of"), "grid", g.Of, grids)
		if n.Get("refine") != nil && (g.Of == g.Name || g.Of == "" && g.Name == graph.DefaultGrid) {
			r.Errorf(n.At("of"), "grid %s cannot refine itself", g.Name)
		}
	}
	for _, p := range f.Producers {
		n := root.At("producers", p.Name)
		r.known(n.Get("grid"), "grid", p.Grid, grids)
		for _, role := range slices.Sorted(maps.Keys(p.Sources)) {
			r.known(n.At("sources", role), "source", p.Sources[role], sources)
		}
		for _, role := range slices.Sorted(maps.Keys(p.Secrets)) {
			r.knownSecret(n.At("secrets", role), p.Secrets[role], secrets)
		}
	}
}

// known checks that a name is one of the choices; an empty one has been
// reported already.
func (r reader) known(n *yamlfile.Node, what, name string, choices []string) {
	if n != nil && name != "" && !slices.Contains(choices, name) {
		r.Unknown(n, what, name, choices)
	}
}

// knownSecret is known for a secret; where there is none, it says how to name one.
func (r reader) knownSecret(n *yamlfile.Node, name string, secrets []string) {
	if len(secrets) > 0 || name == "" {
		r.known(n, "secret", name, secrets)
		return
	}
	r.Errorf(n, "unknown secret %q", clip(name)).Hint = "say where its value is: secrets: {" + clip(name) + ": {env: NAME_OF_A_VARIABLE}}"
}

func gridNames(f *File) []string {
	var names []string
	for _, g := range f.Grids {
		names = append(names, g.Name)
	}
	return names
}

func sourceNames(f *File) []string {
	var names []string
	for _, s := range f.Sources {
		names = append(names, s.Name)
	}
	return names
}

// checkTiles checks that tiles are whole chunks.
func (r reader) checkTiles(f *File) {
	root := f.doc.Root
	r.wholeChunks(root.At("tiles"), f.Tiles, f.Storage.Chunks)
	for _, p := range f.Producers {
		if p.Tiles != nil {
			r.wholeChunks(root.At("producers", p.Name, "tiles"), *p.Tiles, f.Storage.Chunks)
		}
	}
}

func (r reader) wholeChunks(n *yamlfile.Node, tiles, chunks grid.Tiling) {
	for _, a := range []struct {
		axis         string
		tile, chunks int64
	}{{"t", tiles.T, chunks.T}, {"y", tiles.Y, chunks.Y}, {"x", tiles.X, chunks.X}} {
		if a.tile > 0 && a.chunks > 0 && a.tile%a.chunks != 0 {
			r.Errorf(n.At(a.axis), "tiles of %d along %s are not whole chunks of %d", a.tile, a.axis, a.chunks).Hint =
				fmt.Sprintf("a multiple of %d fits, such as %d", a.chunks, (a.tile/a.chunks+1)*a.chunks)
		}
	}
}
