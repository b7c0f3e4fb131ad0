package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/exchange"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/source"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
)

// describe is what the image of the importer runs to describe a file.
//
//go:embed describe.py
var describe string

const (
	importDriver   = "builtin:dem"
	importPython   = "/usr/bin/python3.11"
	importInstance = "import"
	importTile     = 1024
)

// fileFacts is what a file says of itself.
type fileFacts struct {
	graph.Inspection
	Nodata       *float64          `json:"nodata"`
	Scaled       bool              `json:"scaled"`
	Units        string            `json:"units"`
	LongName     string            `json:"long_name"`
	Standard     string            `json:"standard_name"`
	FlagValues   string            `json:"flag_values"`
	FlagMeanings string            `json:"flag_meanings"`
	Colors       map[string]string `json:"colors"`
}

// file imports through the image of a driver: it is a build of one vertex.
func (im *importing) file(ctx context.Context, display ui.Display) (*graph.Import, error) {
	manifest, image, err := im.proj.Borrow(ctx, importDriver)
	if err != nil {
		return nil, err
	}
	pin, err := im.proj.Sources.Pin(ctx, filepath.Dir(im.path), source.Want{URI: im.path})
	if err != nil {
		return nil, err
	}
	src := graph.Source{Name: importInstance, URI: im.uri(), SHA256: pin.SHA256, Size: pin.Size, Ext: config.Ext(im.path),
		License: im.license, Citation: im.citation}
	display.Step("describe " + filepath.Base(im.path))
	d, err := im.describe(ctx, manifest, image, src)
	if err != nil {
		return nil, err
	}
	src.Native = d.NativeRes
	spec, err := im.spec(d)
	if err != nil {
		return nil, &usageError{err}
	}
	g, err := im.gridOf(d)
	if err != nil {
		return nil, err
	}
	if err := im.pinnable(spec, g); err != nil {
		return nil, &usageError{err}
	}
	ws, err := im.workspace(manifest, image, src, spec, g)
	if err != nil {
		return nil, err
	}
	plan, err := graph.Resolve(ws, im.as)
	if err != nil {
		return nil, err
	}
	version, err := im.build(ctx, display, &project.Prepared{Workspace: ws, Plan: plan})
	if err != nil {
		return nil, err
	}
	out := plan.Output(im.as)
	out.Spec.Format = graph.Zarr // as the driver hands it over is nobody's business
	return &graph.Import{Spec: out.Spec, Grid: out.Grid, Version: version, Native: out.Native, Source: src}, nil
}

// params are the driver's, as the options say.
func (im *importing) params() (json.RawMessage, error) {
	p := map[string]any{}
	if im.band > 0 {
		p["band"] = im.band
	}
	if im.layer != "" {
		p["layer"] = im.layer
	}
	if im.crs != "" {
		p["crs"] = im.crs
	}
	if im.nodata != "" {
		n, err := strconv.ParseFloat(im.nodata, 64)
		if err != nil {
			return nil, &usageError{fmt.Errorf("--nodata %s is not a number", im.nodata)}
		}
		p["nodata"] = n
	}
	return json.Marshal(p)
}

// describe runs the description of a file in the driver's image.
func (im *importing) describe(ctx context.Context, m graph.Manifest, image graph.Image, src graph.Source) (*fileFacts, error) {
	params, err := im.params()
	if err != nil {
		return nil, err
	}
	role := m.Sources[0].Name
	request, err := graph.InspectRequest(graph.Shared{KeyVersion: graph.KeyVersion, Params: params, CPUs: 1,
		Sources: map[string]graph.SourceKey{role: {SHA256: src.SHA256, Ext: src.Ext}}})
	if err != nil {
		return nil, err
	}
	layers, err := im.proj.Layers(ctx, &graph.Instance{Name: importInstance, Image: image})
	if err != nil {
		return nil, err
	}
	x, err := im.proj.Executor(ctx)
	if err != nil {
		return nil, err
	}
	path, err := im.proj.Source(ctx, src)
	if err != nil {
		return nil, err
	}
	image.Command = []string{importPython, "-c", describe}
	var log bytes.Buffer
	result, err := x.Run(ctx, containers.Action{Name: "describe", Layers: layers, Image: image, Request: request, CPUs: 1, Log: &log,
		Outputs: graph.InspectOutputs(), Limits: m.Capabilities.Resources.WithDefaults(),
		Sources: []containers.SourceFile{{Path: path, Target: graph.SourceDir + "/" + role + "/data" + src.Ext}}})
	if f := (*containers.Failure)(nil); errors.As(err, &f) {
		return nil, &usageError{im.said(f, log.Bytes())}
	}
	if err != nil {
		return nil, err
	}
	defer result.Close()
	b, err := io.ReadAll(io.LimitReader(result.Outputs[graph.InspectionRole].File, 1<<20))
	if err != nil {
		return nil, err
	}
	var d fileFacts
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("description of the file: %w", err)
	}
	return &d, nil
}

// said is the last line of what the driver printed, in the words of the
// options.
func (im *importing) said(f *containers.Failure, log []byte) error {
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	text := ui.Printable([]byte(lines[len(lines)-1]))
	if text == "" {
		text = f.Error()
	}
	return errors.New(strings.NewReplacer("params.layer", "--var", "params.band", "--band", "params.crs", "--crs", "params.nodata", "--nodata",
		"params.units", "--units").Replace(text))
}

// spec is what the variable means, from the file and the options.
func (im *importing) spec(d *fileFacts) (graph.VarSpec, error) {
	s := graph.VarSpec{Name: im.as, Kind: graph.Static, DType: graph.DType(d.DType), Units: d.Units, LongName: d.LongName,
		Standard: d.Standard, Format: graph.NPY, Legend: im.legend}
	if d.Scaled && !s.DType.IsFloat() {
		s.DType = graph.Float64 // what is stored is not the value
		if s.DType.Size() <= 2 {
			s.DType = graph.Float32
		}
	}
	if im.dtype != "" {
		s.DType = graph.DType(im.dtype)
	}
	if s.DType.Size() == 0 {
		return s, fmt.Errorf("the file holds %s, which no variable can", d.DType)
	}
	if im.units != "" {
		s.Units = im.units
	}
	if im.longName != "" {
		s.LongName = im.longName
	}
	if s.Legend == nil && !s.DType.IsFloat() {
		s.Legend = exchange.Flags(d.FlagValues, d.FlagMeanings, d.Colors)
	}
	if len(s.Legend) > 0 && s.DType.IsFloat() {
		return s, errors.New("--legend: the file holds numbers with a fraction, which are no classes")
	}
	if len(s.Legend) > 0 {
		s.Units = ""
	}
	if !s.DType.IsFloat() {
		s.Fill = im.fill(d)
	}
	return s.WithDefaults(), nil
}

// fill is the value that stands for no data in an integer type.
func (im *importing) fill(d *fileFacts) *graph.Number {
	if im.nodata != "" {
		n := graph.Number(im.nodata)
		return &n
	}
	if d.Nodata == nil || *d.Nodata != float64(int64(*d.Nodata)) {
		return nil
	}
	n := graph.Number(strconv.FormatInt(int64(*d.Nodata), 10))
	return &n
}

// gridOf is the grid that the variable will lie on.
func (im *importing) gridOf(d *fileFacts) (grid.Grid, error) {
	if im.grid != "" {
		g, err := im.target()
		g.Time, g.Box.T = grid.TimeAxis{}, grid.Range{}
		return g, err
	}
	crs, err := grid.ParseCRS(d.CRS)
	if err != nil {
		return grid.Grid{}, &usageError{fmt.Errorf("%w\n  a file in another system can be brought onto a grid of cube.yaml: --grid", err)}
	}
	g, err := grid.Like(crs, d.Transform, d.Width, d.Height)
	if err != nil {
		return g, &usageError{fmt.Errorf("%w\n  such a file can be brought onto a grid of cube.yaml: --grid", err)}
	}
	return g, nil
}

// workspace is one of a single instance: the driver, which makes the variable.
func (im *importing) workspace(m graph.Manifest, image graph.Image, src graph.Source, spec graph.VarSpec, g grid.Grid) (graph.Workspace, error) {
	params, err := im.runParams(spec, g, src)
	if err != nil {
		return graph.Workspace{}, err
	}
	m.Produces = []graph.VarSpec{spec}
	inst := graph.Instance{Name: importInstance, Image: image, Manifest: m.WithDefaults(), Params: params,
		Sources: map[string]string{m.Sources[0].Name: src.Name}}
	return graph.Workspace{Name: im.proj.File.Name, Grids: map[string]grid.Grid{graph.DefaultGrid: g},
		Sources: map[string]graph.Source{src.Name: src}, Instances: []graph.Instance{inst},
		Tiling: grid.Tiling{Y: importTile, X: importTile}}, nil
}

// runParams are the driver's params with how it resamples: on the file's own
// cells not at all.
func (im *importing) runParams(spec graph.VarSpec, g grid.Grid, src graph.Source) (json.RawMessage, error) {
	raw, err := im.params()
	if err != nil {
		return nil, err
	}
	var p map[string]any
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, err
	}
	coarser := src.Native > 0 && grid.ResolutionMetres(g.Lattice, g.Box) > src.Native*1.5
	method := string(grid.Default(spec.Categorical(), coarser))
	switch {
	case im.grid == "":
		method = string(grid.Nearest)
	case im.resample != "":
		method = im.resample
	}
	p["resampling"], p["min_valid"] = method, 0.5
	return json.Marshal(p)
}

// build runs the plan and returns the variable's version.
func (im *importing) build(ctx context.Context, display ui.Display, prep *project.Prepared) (graph.Digest, error) {
	rec := newRecording(ctx, im.app, im.proj, prep, im.cube, []string{im.as})
	began := time.Now()
	var failed solve.TileDone
	backend := lazyBackend{im.proj.Executor}
	shared := im.app.sharing(im.proj.File.Name, machineTotal(im.proj.File.Backend, im.proj.File.Backend.Workers), backend.endIdle)
	defer shared.Close()
	result, err := solve.Run(ctx, &prep.Workspace, prep.Plan, solve.Config{
		Cube: im.cube, Backend: backend, Provider: im.proj, RunID: rec.run.ID, Reserver: shared,
		Workers: workers(0, im.proj.File.Backend.Workers), Chunks: im.proj.File.Storage.Chunks,
		Events: func(e solve.Event) error {
			if done, ok := e.(solve.TileDone); ok && done.Outcome.Unmade() {
				failed = done
				return rec.event(e) // its last words become the error
			}
			return errors.Join(display.Event(e), rec.event(e))
		},
	})
	if result == nil {
		return graph.Digest{}, err
	}
	status := lineage.Succeeded
	if err != nil {
		status = lineage.Failed
	}
	err = errors.Join(err, rec.end(status, result, time.Since(began), err))
	if f := (*containers.Failure)(nil); errors.As(failed.Err, &f) {
		return graph.Digest{}, &usageError{im.said(f, failed.Log)}
	}
	return result.Versions[im.as], err
}
