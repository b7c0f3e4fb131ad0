package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/exchange"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/internal/yamlfile"
	"github.com/spf13/cobra"
)

type importOptions struct {
	projectFlags
	as       string
	layer    string
	band     int
	crs      string
	nodata   string
	units    string
	dtype    string
	longName string
	legend   string
	grid     string
	resample string
	license  string
	citation string
	force    bool
}

func newImportCommand(a *app) *cobra.Command {
	var o importOptions
	c := &cobra.Command{
		Use:     "import FILE --as VARIABLE",
		Short:   "bring a raster file in as a variable",
		GroupID: groupData,
		Long: `Import brings a raster in as a variable that producers can need: a GeoTIFF, a
NetCDF or another file that GDAL reads (through the image of builtin:dem), or a
folder of Zarr (version 2 or 3). The version that it becomes is pinned in cube.lock, with
the SHA-256 of the file.

It stays on the file's own cells, value for value, unless --grid names a grid of
cube.yaml. Of a file with several variables --var names one, of one with several
bands --band. A variable of Zarr may have a time; of a NetCDF file a band is one
time.`,
		Example: `  cube import dem.tif --as elevation
  cube import fuel.tif --as fuel_model --legend 1=grass,2=shrub,3=timber
  cube import era5.nc --as temperature --var t2m --band 3
  cube import moisture.zarr --as fuel_moisture --var fm100
  cube import lidar.tif --as canopy_height --units m --dtype float32 --grid default --resampling average`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return runImport(c.Context(), a, o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.as, "as", "", "the `variable` that it becomes")
	f.StringVar(&o.layer, "var", "", "which variable of the file")
	f.Var((*count)(&o.band), "band", "which band, from 1")
	f.StringVar(&o.crs, "crs", "", "the reference system, where the file does not say it")
	f.StringVar(&o.nodata, "nodata", "", "the value that means no data, where the file does not say it")
	f.StringVar(&o.units, "units", "", "the units of the values (UDUNITS), where the file does not say them")
	f.StringVar(&o.dtype, "dtype", "", "the type of the values (default: the file's; not of Zarr)")
	f.StringVar(&o.longName, "long-name", "", "the variable's name for people")
	f.StringVar(&o.legend, "legend", "", "the classes of categories: `value=name,…`, or a CSV file of value,name[,#rrggbb]")
	f.StringVar(&o.grid, "grid", "", "a grid of cube.yaml to bring it onto (default: its own cells)")
	f.StringVar(&o.resample, "resampling", "", "how, with --grid (default: what suits the values)")
	f.StringVar(&o.license, "license", "", "licence of the data, for the lineage")
	f.StringVar(&o.citation, "citation", "", "how to cite the data, for the lineage")
	f.BoolVarP(&o.force, "force", "f", false, "replace an import of that name")
	f.BoolVar(&o.offline, "offline", false, "fetch nothing")
	_ = c.MarkFlagRequired("as")
	_ = c.RegisterFlagCompletionFunc("dtype", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, d := range graph.DTypes {
			names = append(names, string(d))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	_ = c.RegisterFlagCompletionFunc("resampling", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, m := range grid.Resamplings() {
			names = append(names, string(m))
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

// importing is one import on its way.
type importing struct {
	importOptions
	app    *app
	proj   *project.Project
	cube   *cube.Cube
	path   string // of the file, absolute
	legend []graph.Class
}

func runImport(ctx context.Context, a *app, o importOptions, path string) (err error) {
	display := a.display()
	defer func() { err = errors.Join(err, display.Close()) }()
	p, err := a.open(o.projectFlags, display.Step)
	if err != nil {
		return err
	}
	im := importing{importOptions: o, app: a, proj: p}
	if err := im.check(ctx, path); err != nil {
		return err
	}
	if im.cube, err = p.Cube(); err != nil {
		return err
	}
	if err := a.sweep(ctx, im.cube); err != nil {
		return err
	}
	info, err := os.Stat(im.path)
	if err != nil {
		return &usageError{err}
	}
	var found *graph.Import
	if info.IsDir() {
		found, err = im.zarr(ctx, display)
	} else {
		found, err = im.file(ctx, display)
	}
	if err != nil {
		return fmt.Errorf("import %s: %w", path, err)
	}
	p.Lock.Imports[o.as] = *found
	if err := p.Lock.Write(filepath.Join(p.File.Dir(), config.LockName)); err != nil {
		return err
	}
	if err := errors.Join(im.cube.View(ctx), display.Close()); err != nil {
		return err
	}
	return im.report(found)
}

// unitGrid is a grid of one cell, which says nothing of any variable.
func unitGrid() grid.Grid {
	return grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:4326", DX: 1, DY: 1}, Box: grid.Box{Y: grid.Range{Hi: 1}, X: grid.Range{Hi: 1}}}
}

// importLine is the line of cube import --json.
type importLine struct {
	Type     string       `json:"type"` // import
	Variable string       `json:"variable"`
	Version  graph.Digest `json:"version"`
	Source   string       `json:"source"`
	SHA256   graph.Digest `json:"sha256"`
	Native   float64      `json:"native_res_m"`
}

func (im *importing) report(found *graph.Import) error {
	if im.app.json {
		return im.app.printLines(importLine{"import", im.as, found.Version, found.Source.URI, found.Source.SHA256, found.Native})
	}
	l := cube.Layout{Spec: found.Spec, Grid: found.Grid}
	_, err := fmt.Fprintf(im.app.stdout, "imported %s: %s [%s]  %s, version %s\n", im.as, found.Spec.DType, dimsText(l),
		latticeText(found.Grid.Lattice), found.Version.Short())
	return err
}

// variableName is what a variable may be called.
var variableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// check refuses what cannot be imported before anything is read.
func (im *importing) check(ctx context.Context, path string) (err error) {
	if !variableName.MatchString(im.as) {
		return &usageError{fmt.Errorf("--as %s: a variable is called by lower-case letters, digits and _, a letter first", im.as)}
	}
	if im.path, err = filepath.Abs(path); err != nil {
		return err
	}
	if _, err := os.Stat(im.path); errors.Is(err, fs.ErrNotExist) {
		return &usageError{fmt.Errorf("there is no file %s", path)}
	}
	ws, err := im.proj.Outline(ctx)
	if err != nil {
		return err
	}
	for i := range ws.Instances {
		inst := &ws.Instances[i]
		for _, spec := range inst.Manifest.Produces {
			if inst.Output(spec.Name) == im.as {
				return &usageError{fmt.Errorf("--as %s: producer %s makes it; an import needs a name of its own", im.as, inst.Name)}
			}
		}
	}
	if _, taken := im.proj.Lock.Imports[im.as]; taken && !im.force {
		return &usageError{fmt.Errorf("%s is imported already\n  to replace it: --force", im.as)}
	}
	if im.dtype != "" && !slices.Contains(graph.DTypes, graph.DType(im.dtype)) {
		return &usageError{fmt.Errorf("--dtype %s: want one of %v", im.dtype, graph.DTypes)}
	}
	if im.resample != "" {
		if im.grid == "" {
			return &usageError{errors.New("--resampling: only with --grid")}
		}
		if err := grid.Resampling(im.resample).Valid(); err != nil {
			return &usageError{fmt.Errorf("--resampling: %w", err)}
		}
	}
	if im.legend, err = parseLegend(im.importOptions.legend); err != nil {
		return &usageError{fmt.Errorf("--legend: %w", err)}
	}
	trial := graph.VarSpec{Name: im.as, Kind: graph.Static, DType: graph.Int32, Units: im.units, LongName: im.longName, Legend: im.legend}
	if len(im.legend) > 0 {
		trial.Units = ""
	}
	if err := im.pinnable(trial.WithDefaults(), unitGrid()); err != nil {
		return &usageError{err}
	}
	return im.checkGrid()
}

func (im *importing) checkGrid() error {
	if im.grid == "" || im.proj.File.Grid(im.grid) != nil {
		return nil
	}
	var names []string
	for _, g := range im.proj.File.Grids {
		names = append(names, g.Name)
	}
	return &usageError{fmt.Errorf("--grid %s: cube.yaml has: %s", im.grid, strings.Join(names, ", "))}
}

// target is the grid that is asked for.
func (im *importing) target() (grid.Grid, error) {
	ws, err := config.Workspace(im.proj.File, im.proj.Lock, nil)
	if err != nil {
		return grid.Grid{}, err
	}
	return ws.Grids[im.grid], nil
}

// uri is how cube.lock names the file: relative to the workspace where it lies
// in it.
func (im *importing) uri() string {
	if rel, err := filepath.Rel(im.proj.File.Dir(), im.path); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return im.path
}

// pinnable says why cube.lock could not hold a variable of that spec.
func (im *importing) pinnable(spec graph.VarSpec, g grid.Grid) error {
	trial := config.NewLock()
	trial.Imports[im.as] = graph.Import{Spec: spec, Grid: g, Version: graph.Sum(nil)}
	b, err := trial.Encode()
	if err != nil {
		return err
	}
	_, err = config.ParseLock(config.LockName, b)
	var list yamlfile.Errors
	var one *yamlfile.Error
	switch {
	case errors.As(err, &list) && len(list) > 0:
		return errors.New(list[0].Message)
	case errors.As(err, &one):
		return errors.New(one.Message)
	}
	return err
}

var legendEntry = regexp.MustCompile(`^(-?\d+)=(.+)$`)

// parseLegend reads value=name,… or a CSV file.
func parseLegend(text string) ([]graph.Class, error) {
	if text == "" {
		return nil, nil
	}
	if b, err := os.ReadFile(text); err == nil {
		return legendFile(string(b))
	}
	var out []graph.Class
	for part := range strings.SplitSeq(text, ",") {
		m := legendEntry.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf("%q is neither value=name nor a file", part)
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return nil, err
		}
		out = append(out, graph.Class{Value: n, Name: oneWord(m[2])})
	}
	return out, checkLegend(out)
}

// oneWord writes the name of a class as one word, as CF wants it.
func oneWord(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool {
		return r != '-' && r != '.' && r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}), "_")
}

var hexColorText = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

func legendFile(text string) ([]graph.Class, error) {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord, r.TrimLeadingSpace, r.Comment = -1, true, 0
	rows, err := r.ReadAll()
	if err != nil {
		return nil, err
	}
	var out []graph.Class
	for i, row := range rows {
		if len(row) < 2 {
			return nil, fmt.Errorf("line %d: want value,name", i+1)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(row[0]), 10, 64)
		if err != nil {
			if i == 0 {
				continue // a header
			}
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		c := graph.Class{Value: n, Name: oneWord(row[1])}
		if len(row) > 2 && row[2] != "" {
			if c.Color = strings.TrimSpace(row[2]); !hexColorText.MatchString(c.Color) {
				return nil, fmt.Errorf("line %d: %q is no #rrggbb", i+1, c.Color)
			}
		}
		out = append(out, c)
	}
	return out, checkLegend(out)
}

// checkLegend refuses a value or a name that comes twice, as nothing could
// tell which is meant.
func checkLegend(classes []graph.Class) error {
	for i, c := range classes {
		if c.Name == "" {
			return fmt.Errorf("class %d has no name", c.Value)
		}
		if slices.ContainsFunc(classes[:i], func(o graph.Class) bool { return o.Value == c.Value || o.Name == c.Name }) {
			return fmt.Errorf("%d=%s: the value or the name comes twice", c.Value, ui.Printable([]byte(c.Name)))
		}
	}
	return nil
}

// zarr imports an array of a Zarr group.
func (im *importing) zarr(ctx context.Context, display ui.Display) (*graph.Import, error) {
	o := exchange.ZarrImport{Variable: im.as, Array: im.layer, CRS: im.crs, Nodata: im.nodata, Units: im.units, LongName: im.longName,
		Legend: im.legend, Resampling: grid.Resampling(im.resample), Tiling: grid.Tiling{Y: importTile, X: importTile}}
	if im.band != 0 || im.dtype != "" {
		return nil, &usageError{errors.New("--band and --dtype: not of Zarr, whose variables --var names")}
	}
	if im.grid != "" {
		g, err := im.target()
		if err != nil {
			return nil, err
		}
		o.Grid = &g
	}
	display.Step("hash " + filepath.Base(im.path))
	digest, size, err := exchange.HashTree(ctx, im.path)
	if err != nil {
		return nil, err
	}
	display.Step("read " + filepath.Base(im.path))
	in, err := exchange.ImportZarr(ctx, im.cube, im.path, o)
	if wrong := (*exchange.InputError)(nil); errors.As(err, &wrong) {
		return nil, &usageError{err}
	}
	if err != nil {
		return nil, err
	}
	src := graph.Source{Name: importInstance, URI: im.uri(), SHA256: digest, Size: size, License: im.license, Citation: im.citation, Native: in.Native}
	found := &graph.Import{Spec: in.Layout.Spec, Grid: in.Layout.Grid, Version: in.Version.Digest(), Native: in.Native, Source: src}
	if err := im.pinnable(found.Spec, found.Grid); err != nil {
		return nil, &usageError{err}
	}
	return found, im.publish(ctx, found)
}

// publish makes an imported version the variable's head.
func (im *importing) publish(ctx context.Context, found *graph.Import) error {
	old, _, err := im.cube.Head(ctx, im.as)
	if err != nil {
		return err
	}
	if err := im.cube.Sync(ctx); err != nil {
		return err
	}
	head := cube.Head{Variable: im.as, Version: found.Version, Native: found.Native, Instance: importInstance, Role: im.as,
		Spec: found.Spec, Time: time.Now().Unix()}
	return im.cube.MoveHeads(ctx, map[string]graph.Digest{im.as: old.Version}, []cube.Head{head})
}
