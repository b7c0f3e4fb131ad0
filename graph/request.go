package graph

import (
	"encoding/json"

	"github.com/cubebuild/cube/cube/grid"
)

// Paths that a container sees.
const (
	RequestPath    = "/cube/request.json"
	InputDir       = "/cube/in"
	SourceDir      = "/cube/sources"
	SecretDir      = "/cube/secrets"
	OutputDir      = "/cube/out"
	ScratchDir     = "/cube/scratch"
	CheckpointDir  = "/cube/checkpoint" // where the contract asks for it; kept from one attempt to the next
	ArrayFile      = "data.npy"         // of a window or output in format npy
	InspectionRole = "inspection"       // the one output of operation inspect
	InspectionFile = "data.json"        // of the output "inspection" of operation inspect, and of "index" of operation index
	IndexRole      = "index"            // the two outputs of operation index
	PartsRole      = "parts"
	AuthorityPath  = "/cube/network/authority.pem" // whom operation fetch is to trust, in PEM
)

// RequestVersion is the version of [Request]; a producer refuses others.
const RequestVersion = 1

// Operations of a request.
const (
	OpRun     = "run"     // compute the outputs of one tile
	OpInspect = "inspect" // describe the source, as an [Inspection]
	OpFetch   = "fetch"   // bring in, over the network, the sources that the contract says it fetches
	OpIndex   = "index"   // split the source into parts, as an [Index] says
)

// Request is /cube/request.json: everything that a producer is told. Its bytes
// are canonical JSON and are hashed as they are. It knows roles and never
// variables, the tile and never the domain's extent (but for the sides where
// the domain's edge clipped a window).
type Request struct {
	Version   int                      `json:"version"`
	Operation string                   `json:"operation"`
	Params    json.RawMessage          `json:"params"`
	Seed      uint32                   `json:"seed"`
	Tile      *grid.Box                `json:"tile,omitempty"`
	Grid      *RequestGrid             `json:"grid,omitempty"`
	Inputs    map[string]RequestInput  `json:"inputs"`
	Sources   map[string]RequestSource `json:"sources"`
	Outputs   map[string]RequestOutput `json:"outputs"`
}

// RequestGrid places a block of cells on the ground and in time.
type RequestGrid struct {
	CRS       grid.CRS      `json:"crs"`
	Unit      string        `json:"unit,omitempty"` // of coordinates: metre or degree
	DX        float64       `json:"dx"`
	DY        float64       `json:"dy"`
	X0        float64       `json:"x0"` // north-west corner of cell (0, 0)
	Y0        float64       `json:"y0"`
	Transform [6]float64    `json:"transform"` // of the block, GDAL order
	Time      *RequestTimes `json:"time,omitempty"`
}

// RequestTimes is the time axis; step i starts at Origin + i·Step (Unix seconds).
type RequestTimes struct {
	Origin int64 `json:"origin"`
	Step   int64 `json:"step"`
}

// RequestInput says where a window is and what it holds.
type RequestInput struct {
	Path    string       `json:"path"`           // directory
	File    string       `json:"file,omitempty"` // the .npy file, or the file of kind: file
	Format  Format       `json:"format,omitempty"`
	Kind    Kind         `json:"kind"`
	Dims    []string     `json:"dims,omitempty"`
	DType   DType        `json:"dtype,omitempty"`
	Shape   []int64      `json:"shape,omitempty"`
	Units   string       `json:"units,omitempty"`
	Fill    *Number      `json:"fill,omitempty"` // nodata of an integer type; a float's is NaN
	Legend  []Class      `json:"legend,omitempty"`
	Method  CellMethod   `json:"cell_method,omitempty"`
	Further []Dim        `json:"further,omitempty"` // dims beside time, y and x, with their labels
	Window  *grid.Box    `json:"window,omitempty"`  // on Grid's lattice
	Clipped *grid.Clip   `json:"clipped,omitempty"`
	Grid    *RequestGrid `json:"grid,omitempty"` // of the window
}

// RequestSource says where a source's file is; of an indexed source, where the
// files of the parts are that the tile meets, which may be none.
type RequestSource struct {
	Path  string   `json:"path"`
	File  string   `json:"file,omitempty"`
	Parts []string `json:"parts,omitzero"`
}

// RequestOutput says what is to be written where.
type RequestOutput struct {
	Path    string       `json:"path"`
	File    string       `json:"file,omitempty"`
	Format  Format       `json:"format,omitempty"`
	Kind    Kind         `json:"kind"`
	Dims    []string     `json:"dims,omitempty"`
	DType   DType        `json:"dtype,omitempty"`
	Shape   []int64      `json:"shape,omitempty"`
	Units   string       `json:"units,omitempty"`
	Fill    *Number      `json:"fill,omitempty"`
	Legend  []Class      `json:"legend,omitempty"`
	Method  CellMethod   `json:"cell_method,omitempty"`
	Further []Dim        `json:"further,omitempty"`
	Box     *grid.Box    `json:"box,omitempty"` // on Grid's lattice; it differs from the tile where the output is refined
	Grid    *RequestGrid `json:"grid,omitempty"`
}

// NewRequestGrid describes a block of g.
func NewRequestGrid(g grid.Grid, b grid.Box) *RequestGrid {
	l := g.Lattice
	r := &RequestGrid{CRS: l.CRS, Unit: l.CRS.Unit(), DX: l.DX, DY: l.DY, X0: l.X0, Y0: l.Y0, Transform: l.GeoTransform(b)}
	if !g.Time.IsZero() && b.T.Len() > 0 {
		r.Time = &RequestTimes{g.Time.Origin, g.Time.Step}
	}
	return r
}

// DimsOf returns the names of a spec's dimensions in order.
func DimsOf(v VarSpec) []string {
	var dims []string
	if v.Kind == Time {
		dims = append(dims, "time")
	}
	for _, d := range v.Dims {
		dims = append(dims, d.Name)
	}
	return append(dims, "y", "x")
}

// ShapeOf returns the shape of a block of a variable: (time, further dims, y, x).
func ShapeOf(v VarSpec, b grid.Box) []int64 {
	var shape []int64
	if v.Kind == Time {
		shape = append(shape, b.T.Len())
	}
	for _, d := range v.Dims {
		shape = append(shape, d.Size)
	}
	return append(shape, b.Y.Len(), b.X.Len())
}
