package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// Names: of variables and roles, which are also folders and Python words; and
// of grids, sources and producers.
var (
	variableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	plainName    = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)
)

// coordinates are what an array's coordinates are called beside it, in every
// Zarr group; no variable can have such a name.
var coordinates = []string{"time", "y", "x", "spatial_ref"}

// reader reads the words of cube.yaml and producer.yaml.
type reader struct{ *yamlfile.Report }

// variable reads the name of a variable or role.
func (r reader) variable(n *yamlfile.Node) string {
	if slices.Contains(coordinates, n.Text) {
		r.Errorf(n, "%s is the name of a coordinate; a variable needs another", n.Text)
		return ""
	}
	return r.named(n, n, "a variable's name", variableName, "lower-case letters, digits and _, beginning with a letter")
}

// name reads the name of a grid, source or producer.
func (r reader) name(n *yamlfile.Node) string {
	return r.named(n, n, "a name", plainName, "lower-case letters, digits, - and _, beginning with a letter")
}

func (r reader) named(n, at *yamlfile.Node, what string, form *regexp.Regexp, rule string) string {
	s := r.String(n)
	if s == "" || form.MatchString(s) {
		return s
	}
	e := r.Errorf(at, "%q is not %s", clip(s), what)
	e.Hint = rule + ", at most 64"
	if fixed := strings.ToLower(strings.ReplaceAll(s, " ", "_")); form.MatchString(fixed) {
		e.Hint += ": " + fixed
	}
	return ""
}

// sizeUnits are the units of a size in bytes.
var sizeUnits = map[string]int64{"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}

var sizeText = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)$`)

// maxSize bounds a size to a pebibyte.
const maxSize = 1 << 50

// size reads a number of bytes, such as 512MiB.
func (r reader) size(n *yamlfile.Node) int64 {
	s := r.Scalar(n)
	if s == "" {
		return 0
	}
	m := sizeText.FindStringSubmatch(s)
	if m == nil {
		r.Errorf(n, "%q is no size", clip(s)).Hint = "write it like 512MiB or 2GB"
		return 0
	}
	unit, ok := sizeUnits[m[2]]
	if m[2] == "" {
		unit, ok = 1, !strings.Contains(m[1], ".")
	}
	if !ok {
		r.Errorf(n, "%q is no size: unit %q is unknown", clip(s), m[2]).Hint = sizeHint(m[1], m[2])
		return 0
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil || v*float64(unit) < 1 || v*float64(unit) > maxSize {
		r.Errorf(n, "%q must be from 1 B to 1024 TiB", clip(s))
		return 0
	}
	return int64(v * float64(unit))
}

func sizeHint(number, unit string) string {
	for _, known := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if strings.EqualFold(unit, known) || strings.EqualFold(unit, known[:1]) || strings.EqualFold(unit, known[:2]) {
			return fmt.Sprintf("write %s%s, or %s%sB for the power of ten", number, known, number, known[:1])
		}
	}
	return "units are B, KiB, MiB, GiB, TiB, and kB, MB, GB, TB"
}

// maxDuration bounds a duration to a year.
const maxDuration = 366 * 24 * time.Hour

var dayText = regexp.MustCompile(`^([0-9]{1,4})d(.*)$`)

// duration reads a length of time, such as 10m, 1h30m, 2d or 500ms.
func (r reader) duration(n *yamlfile.Node) time.Duration {
	s := r.Scalar(n)
	if s == "" {
		return 0
	}
	if n.Kind != yamlfile.String {
		r.Errorf(n, "%s has no unit", clip(s)).Hint = "write it like 10s, 15m or 2h: " + clip(s) + "s"
		return 0
	}
	d, err := parseDuration(s)
	if err != nil {
		r.Errorf(n, "%q is no length of time", clip(s)).Hint = "write it like 10s, 15m, 1h30m or 2d"
		return 0
	}
	if d <= 0 || d > maxDuration {
		r.Errorf(n, "%q must be more than nothing and at most a year", clip(s))
		return 0
	}
	return d
}

func parseDuration(s string) (time.Duration, error) {
	var days time.Duration
	if m := dayText.FindStringSubmatch(s); m != nil {
		v, err := strconv.Atoi(m[1])
		if err != nil {
			return 0, err
		}
		days, s = time.Duration(v)*24*time.Hour, m[2]
		if s == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > maxDuration {
		return 0, fmt.Errorf("%q is no length of time", s)
	}
	return days + d, nil
}

// step reads a time step, such as 1h, in seconds.
func (r reader) step(n *yamlfile.Node) int64 { return parsed(r, n, grid.ParseStep) }

// instant reads a time, such as 2020-09-27T11:00Z, in Unix seconds.
func (r reader) instant(n *yamlfile.Node) int64 { return parsed(r, n, grid.ParseTime) }

// parsed reads text with a parser; its error is the mistake.
func parsed[T any](r reader, n *yamlfile.Node, parse func(string) (T, error)) T {
	var v T
	s := r.String(n)
	if s == "" {
		return v
	}
	v, err := parse(s)
	if err != nil {
		r.Errorf(n, "%v", err)
	}
	return v
}

// digest reads a SHA-256.
func (r reader) digest(n *yamlfile.Node) graph.Digest {
	s := r.Scalar(n)
	if s == "" {
		return graph.Digest{}
	}
	d, err := graph.ParseDigest(s)
	if err != nil {
		r.Errorf(n, "%q is no SHA-256", clip(s)).Hint = "64 lower-case hex digits, with or without sha256: before them"
	} else if d.IsZero() {
		r.Errorf(n, "no file has a SHA-256 of zeros alone").Hint = "leave it out, and cube.lock pins what is there"
	}
	return d
}

// tiling reads {t, y, x}, or one number for y and x.
func (r reader) tiling(n *yamlfile.Node) grid.Tiling {
	var t grid.Tiling
	cells := func(n *yamlfile.Node) int64 { return r.Int(n, 1, grid.MaxIndex) }
	if n.Kind == yamlfile.Int {
		t.Y = cells(n)
		t.X = t.Y
		return t
	}
	r.Fields(n, "a size in cells", yamlfile.Fields{
		"t": yamlfile.Into(&t.T, cells),
		"y": yamlfile.Into(&t.Y, cells),
		"x": yamlfile.Into(&t.X, cells),
	})
	return t
}

// minMemory is less than any program runs in: whoever writes less meant MiB.
const minMemory = 1 << 20

// memory reads the memory of an action.
func (r reader) memory(n *yamlfile.Node) int64 {
	v := r.size(n)
	if v > 0 && v < minMemory {
		hint := "write it like 512MiB or 2GB"
		if n.Kind == yamlfile.Int {
			hint = "a number alone is in bytes; write " + n.Text + "MiB"
		}
		r.Errorf(n, "%q is less memory than any program runs in", n.Written()).Hint = hint
	}
	return v
}

// resources returns the readers of the limits of an action.
func (r reader) resources(res *graph.Resources) yamlfile.Fields {
	return yamlfile.Fields{
		"memory":  yamlfile.Into(&res.Memory, r.memory),
		"disk":    yamlfile.Into(&res.Disk, r.size),
		"pids":    func(n *yamlfile.Node) { res.PIDs = int(r.Int(n, 1, 1<<22)) },
		"timeout": yamlfile.Into(&res.Timeout, r.duration),
	}
}

// Bounds of GPUs and tokens.
const (
	maxPieces = 1 << 16
	maxTokens = 16 // names
)

// scarce adds the readers of what is scarce to those of limits.
func (r reader) scarce(s *graph.Scarce, fields yamlfile.Fields) {
	fields["gpu"] = func(n *yamlfile.Node) { s.GPUs = int(r.Int(n, 1, maxPieces)) }
	fields["tokens"] = func(n *yamlfile.Node) { s.Tokens = r.tokens(n) }
}

// tokens reads a map of a token's name → how many.
func (r reader) tokens(n *yamlfile.Node) map[string]int {
	m := map[string]int{}
	for _, e := range r.Entries(n, "tokens") {
		m[r.name(e.Name)] = int(r.Int(e.Value, 1, maxPieces))
	}
	if len(m) > maxTokens {
		r.Errorf(n, "%d sorts of tokens; at most %d are told apart", len(m), maxTokens)
	}
	return m
}

// cpus reads a number of threads.
func (r reader) cpus(n *yamlfile.Node) float64 {
	v := r.Positive(n)
	if v > 4096 {
		r.Errorf(n, "%v threads are more than any machine has", v)
	}
	return v
}

// metres reads a resolution on the ground.
func (r reader) metres(n *yamlfile.Node) float64 {
	v := r.Positive(n)
	if v > math.MaxInt32 {
		r.Errorf(n, "%v m is more than the earth has", v)
	}
	return v
}

// clip shortens text from outside.
func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
