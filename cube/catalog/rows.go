package catalog

import (
	"database/sql/driver"
	"time"

	duckdb "github.com/marcboeker/go-duckdb/v2"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// Row is a row of one of the tables.
type Row interface {
	table() string
	values() []driver.Value
}

// Head is a row of heads.
type Head struct {
	Variable string
	Version  graph.Digest
}

// Version is a row of versions.
type Version struct {
	Variable string
	Version  graph.Digest
	Spec     graph.VarSpec
	Grid     grid.Grid // that it is stored on; zero for kind: file
	Native   float64   // ground metres; 0: unknown
	Complete bool      // it covers its whole domain
	Bytes    int64     // of its values, decoded
	Created  time.Time
}

// Run is a row of runs.
type Run struct {
	Run               string
	Started, Finished time.Time
	Status, Error     string
	Targets, Command  []string
	Workspace         string
	Config, Lock      graph.Digest
	GitCommit         string
	GitDirty          bool
	GitDescribe       string
	Host, OS, Kernel  string
	Arch              string
	CPUModel          string
	CPUClass          string
	Cores             int
	Memory            int64
	Engine, Go        string
	KeyVersion        int
	Counts
}

// Counts are of actions.
type Counts struct{ Actions, Ran, Hits, Failed int64 }

// Vertex is a row of vertices.
type Vertex struct {
	Made
	Derivation                           graph.Digest
	Started                              time.Time
	Status                               string
	Producer, License, Citation          string
	ImageRef, ImageConfig, ImageManifest string
	Platform                             string
	Params                               string // JSON
	Counts
	Wall time.Duration
}

// Made names the vertex that a row belongs to.
type Made struct{ Run, Instance, Grid string }

// Input is a row of inputs.
type Input struct {
	Made
	Role, Variable string
	Version        graph.Digest
	Held           bool
}

// Output is a row of outputs.
type Output struct {
	Made
	Role, Variable string
	Version        graph.Digest
	Native         float64
	Partial        bool
}

// SourceRow is a row of sources.
type SourceRow struct {
	Made
	Role, Name, URI   string
	SHA256            graph.Digest
	Bytes             int64
	License, Citation string
}

// Package is a row of packages.
type Package struct{ ImageConfig, Kind, Name, Version string }

// Action is a row of actions.
type Action struct {
	Action graph.Digest
	Made
	Tile               grid.Box
	Started            time.Time
	Status             string
	Attempts, Exit     int
	Reason             string
	Wall, User, System time.Duration
	MaxRSS             int64
	Sandbox, Host      string
	Windows, Outputs   map[string]graph.Digest
	Unenforced         []string
	LogBytes           int64
}

// mark is a row of marks.
type mark struct {
	name string
	Mark
}

func (Head) table() string      { return "heads" }
func (Version) table() string   { return "versions" }
func (Run) table() string       { return "runs" }
func (Vertex) table() string    { return "vertices" }
func (Input) table() string     { return "inputs" }
func (Output) table() string    { return "outputs" }
func (SourceRow) table() string { return "sources" }
func (Package) table() string   { return "packages" }
func (Action) table() string    { return "actions" }
func (mark) table() string      { return "marks" }

func (h Head) values() []driver.Value { return []driver.Value{h.Variable, h.Version.String()} }

func (m mark) values() []driver.Value { return []driver.Value{m.name, m.At, m.State} }

func (v Version) values() []driver.Value {
	row := []driver.Value{v.Variable, v.Version.String(), text(string(v.Spec.Kind)), text(string(v.Spec.DType)), text(v.Spec.Units)}
	if v.Spec.Kind == graph.File {
		row = append(row, nil, nil, nil, nil, nil, nil, nil, nil, nil)
	} else {
		l := v.Grid.Lattice
		west, south, east, north := l.Edge(v.Grid.Box)
		row = append(row, graph.DimsOf(v.Spec), graph.ShapeOf(v.Spec, v.Grid.Box),
			text(string(l.CRS)), l.DX, l.DY, west, south, east, north)
	}
	if v.Spec.Kind == graph.Time {
		axis, steps := v.Grid.Time, v.Grid.Box.T
		row = append(row, second(axis.At(steps.Lo)), second(axis.At(steps.Hi)), axis.Step)
	} else {
		row = append(row, nil, nil, nil)
	}
	return append(row, number(v.Native), int32(v.Spec.Schema), v.Complete, v.Bytes, stamp(v.Created))
}

func (r Run) values() []driver.Value {
	return []driver.Value{r.Run, stamp(r.Started), stamp(r.Finished), r.Status, text(r.Error),
		texts(r.Targets), texts(r.Command), text(r.Workspace), text(r.Config.String()), text(r.Lock.String()),
		text(r.GitCommit), r.GitDirty, text(r.GitDescribe), text(r.Host), text(r.OS), text(r.Kernel), text(r.Arch),
		text(r.CPUModel), text(r.CPUClass), int32(r.Cores), r.Memory, text(r.Engine), text(r.Go), int32(r.KeyVersion),
		r.Actions, r.Ran, r.Hits, r.Failed}
}

func (v Vertex) values() []driver.Value {
	return []driver.Value{v.Run, v.Instance, v.Grid, text(v.Derivation.String()), stamp(v.Started), text(v.Status),
		text(v.Producer), text(v.License), text(v.Citation), text(v.ImageRef), text(v.ImageConfig), text(v.ImageManifest),
		text(v.Platform), text(v.Params), v.Actions, v.Ran, v.Hits, v.Failed, v.Wall.Seconds()}
}

func (i Input) values() []driver.Value {
	return []driver.Value{i.Run, i.Instance, i.Grid, text(i.Role), i.Variable, i.Version.String(), i.Held}
}

func (o Output) values() []driver.Value {
	return []driver.Value{o.Run, o.Instance, o.Grid, text(o.Role), o.Variable, o.Version.String(), number(o.Native), o.Partial}
}

func (s SourceRow) values() []driver.Value {
	return []driver.Value{s.Run, s.Instance, s.Grid, text(s.Role), s.Name, text(s.URI), text(s.SHA256.String()),
		s.Bytes, text(s.License), text(s.Citation)}
}

func (p Package) values() []driver.Value {
	return []driver.Value{p.ImageConfig, p.Kind, p.Name, p.Version}
}

func (a Action) values() []driver.Value {
	return []driver.Value{a.Action.String(), a.Run, a.Instance, a.Grid,
		a.Tile.T.Lo, a.Tile.T.Hi, a.Tile.Y.Lo, a.Tile.Y.Hi, a.Tile.X.Lo, a.Tile.X.Hi,
		stamp(a.Started), a.Status, int32(a.Attempts), int32(a.Exit), text(a.Reason),
		a.Wall.Seconds(), a.User.Seconds(), a.System.Seconds(), a.MaxRSS, text(a.Sandbox), text(a.Host),
		digests(a.Windows), digests(a.Outputs), texts(a.Unenforced), a.LogBytes}
}

// text is s, or NULL where there is none.
func text(s string) driver.Value {
	if s == "" {
		return nil
	}
	return s
}

func texts(s []string) driver.Value {
	if s == nil {
		return []string{}
	}
	return s
}

func number(f float64) driver.Value {
	if f == 0 {
		return nil
	}
	return f
}

func stamp(t time.Time) driver.Value {
	if t.IsZero() {
		return nil
	}
	return t.UTC()
}

func second(sec int64) driver.Value { return time.Unix(sec, 0).UTC() }

func digests(m map[string]graph.Digest) driver.Value {
	out := make(duckdb.Map, len(m))
	for role, d := range m {
		out[role] = d.String()
	}
	return out
}
