package config

import (
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// checkManifest says what is wrong with a contract. It is the one judge of
// manifests, from producer.yaml or from an image's label.
func checkManifest(m graph.Manifest) []problem {
	c := &checker{}
	c.lists(m)
	if len(c.problems) > 0 {
		return c.problems
	}
	c.name([]string{"name"}, plainName, m.Name)
	roles := []string{}
	for i, n := range m.Needs {
		path := []string{"needs", strconv.Itoa(i)}
		c.once(append(path, "variable"), &roles, n.Variable, "need")
		c.need(path, n)
	}
	sources := []string{}
	for i, s := range m.Sources {
		path := []string{"sources", strconv.Itoa(i), "name"}
		c.name(path, plainName, s.Name)
		c.once(path, &sources, s.Name, "source")
		if s.Fetch && (s.Inspect || s.Index || s.Optional) {
			c.add(path, "remove inspect, index and optional", "source %s is fetched by the producer itself", clip(s.Name))
		}
	}
	secrets := []string{}
	for i, s := range m.Secrets {
		path := []string{"secrets", strconv.Itoa(i)}
		c.name(path, plainName, s)
		c.once(path, &secrets, s, "secret")
	}
	outputs := []string{}
	for i, v := range m.Produces {
		path := []string{"produces", strconv.Itoa(i)}
		c.once(append(path, "variable"), &outputs, v.Name, "output")
		c.output(path, v)
		c.nativeFrom(append(path, "native_from"), v, slices.Concat(roles, sources))
	}
	c.capabilities(m.Capabilities)
	c.network(m)
	c.command(m.Command)
	if _, err := compileParams(m.Params); err != nil {
		c.add([]string{"params"}, "", "params are no JSON Schema: %v", err)
	}
	return c.problems
}

// lists bounds the lengths of lists.
func (c *checker) lists(m graph.Manifest) {
	for _, l := range []struct {
		key string
		n   int
	}{{"needs", len(m.Needs)}, {"produces", len(m.Produces)}, {"sources", len(m.Sources)}, {"secrets", len(m.Secrets)}, {"command", len(m.Command)}} {
		if l.n > maxList {
			c.add([]string{l.key}, "", "%s has %d entries; at most %d are read", l.key, l.n, maxList)
		}
	}
	if len(m.Produces) == 0 {
		c.add([]string{"produces"}, "", "a producer must produce something")
	}
}

func (c *checker) name(path []string, form *regexp.Regexp, name string) {
	if !form.MatchString(name) {
		rule := "lower-case letters, digits, - and _, beginning with a letter, at most 64"
		if form == variableName {
			rule = strings.Replace(rule, ", - and _", " and _", 1)
		}
		c.add(path, rule, "%q is not a name", clip(name))
	}
}

// once checks that a name has not been seen.
func (c *checker) once(path []string, seen *[]string, name, what string) {
	if slices.Contains(*seen, name) {
		c.add(path, "", "%s %s stands here twice", what, name)
	}
	*seen = append(*seen, name)
}

func (c *checker) text(path []string, s, what string) {
	if s != "" && strings.TrimSpace(s) == "" {
		c.add(path, "leave it out if it is unknown", "%s are empty", what)
	}
}

func oneOf[T ~string](c *checker, path []string, v T, what string, choices []T) {
	if v == "" || slices.Contains(choices, v) {
		return
	}
	words := make([]string, len(choices))
	for i, w := range choices {
		words[i] = string(w)
	}
	c.add(path, yamlfile.DidYouMean(string(v), words), "unknown %s %q", what, clip(string(v)))
}

func (c *checker) variable(path []string, name string) {
	c.name(path, variableName, name)
	if slices.Contains(coordinates, name) {
		c.add(path, "", "%s is the name of a coordinate; a variable needs another", name)
	}
}

// need checks one need.
func (c *checker) need(path []string, n graph.DataNeed) {
	at := func(key string) []string { return append(slices.Clone(path), key) }
	c.variable(at("variable"), n.Variable)
	oneOf(c, at("kind"), n.Kind, "kind", kinds)
	oneOf(c, at("resampling"), n.Resample, "resampling", resamplings)
	oneOf(c, at("format"), n.Format, "format", formats)
	oneOf(c, at("grid"), n.Grid, "grid", needGrids)
	c.text(at("units"), n.Units, "units")
	c.legend(at("legend"), n.Legend, graph.Int64)
	if n.MaxRes < 0 || n.MinValid < 0 || n.MinValid > 1 || n.MaxStep < 0 {
		c.add(path, "", "max_native_res_m, min_valid and max_step must not be negative, and min_valid at most 1")
	}
	h := n.Halo
	if min(h.Y, h.X, n.Time.Before, n.Time.After) < 0 || max(h.Y, h.X, n.Time.Before, n.Time.After) > maxHalo || h.Before != 0 || h.After != 0 {
		c.add(at("halo"), "", "a halo is from 0 to %d in y and x", maxHalo)
	}
	if n.Time.All && (n.Time.Before != 0 || n.Time.After != 0) {
		c.add(at("time"), "", "all times have nothing before or after them")
	}
	kind := n.WithDefaults().Kind
	if kind != graph.Time && (n.Time != graph.TimeNeed{} || n.MaxStep != 0) {
		c.add(at("time"), "kind: time", "a need of kind %s has no time", kind)
	}
	if kind == graph.File && (h.Y != 0 || h.X != 0 || n.Resample != "" || n.Format != "" || n.MaxRes != 0 || n.Grid != "") {
		c.add(path, "", "a need of kind file has no halo, resampling, format, resolution or grid")
	}
}

// output checks one output.
func (c *checker) output(path []string, v graph.VarSpec) {
	at := func(key string) []string { return append(slices.Clone(path), key) }
	c.variable(at("variable"), v.Name)
	oneOf(c, at("kind"), v.Kind, "kind", kinds)
	oneOf(c, at("dtype"), v.DType, "dtype", graph.DTypes)
	oneOf(c, at("merge"), v.Merge, "merge policy", graph.MergePolicies)
	oneOf(c, at("cell_method"), v.CellMethod, "cell method", graph.CellMethods)
	oneOf(c, at("format"), v.Format, "format", formats)
	c.text(at("units"), v.Units, "units")
	if v.Schema < 0 || v.Refine < 0 || v.Refine > 1024 {
		c.add(path, "", "schema and refine must be positive")
	}
	d := v.WithDefaults()
	if d.Kind == graph.File {
		c.file(path, v)
		return
	}
	if v.MediaType != "" {
		c.add(at("media_type"), "kind: file", "only files have a media type")
	}
	if v.CellMethod != "" && d.Kind != graph.Time {
		c.add(at("cell_method"), "kind: time", "only a variable in time has a cell method")
	}
	c.dims(at("dims"), v.Dims)
	if slices.ContainsFunc(v.Dims, func(d graph.Dim) bool { return d.Name == v.Name }) {
		c.add(at("dims"), "", "%s cannot be a dimension of itself", v.Name)
	}
	c.legend(at("legend"), v.Legend, d.DType)
	c.fill(at("fill"), v.Fill, d.DType)
	if d.Categorical() && slices.Contains([]graph.MergePolicy{graph.SumOf, graph.MeanOf}, d.Merge) {
		c.add(at("merge"), "", "classes have no %s", d.Merge)
	}
}

// file checks an output of kind file.
func (c *checker) file(path []string, v graph.VarSpec) {
	if v.DType != "" || len(v.Dims) > 0 || v.Fill != nil || len(v.Legend) > 0 || v.Units != "" || v.CellMethod != "" || v.Format != "" || v.Refine > 1 {
		c.add(path, "", "an output of kind file has no dtype, dims, units, fill, legend, cell method, format or refinement")
	}
	if v.Merge != "" && v.Merge != graph.Replace {
		c.add(append(slices.Clone(path), "merge"), "", "files can only be replaced")
	}
}

// dims checks the dimensions beside time, y and x.
func (c *checker) dims(path []string, dims []graph.Dim) {
	var seen []string
	cells := int64(1)
	for i, d := range dims {
		at := append(slices.Clone(path), strconv.Itoa(i))
		c.name(append(at, "name"), variableName, d.Name)
		c.once(append(at, "name"), &seen, d.Name, "dimension")
		if slices.Contains([]string{"time", "y", "x"}, d.Name) {
			c.add(append(at, "name"), "kind: time has time, y and x; kind: static has y and x", "%s is a dimension already", d.Name)
		}
		if d.Size < 1 || d.Size > 1<<31 {
			c.add(append(at, "size"), "give its size, or its labels", "dimension %s has no size", d.Name)
			return
		}
		if len(d.Labels) > 0 && int64(len(d.Labels)) != d.Size {
			c.add(append(at, "labels"), "", "dimension %s has %d labels for a size of %d", d.Name, len(d.Labels), d.Size)
		}
		if cells *= d.Size; cells > 1<<31 {
			c.add(at, "", "the dimensions have more than %d cells together", 1<<31)
			return
		}
	}
}

var (
	className = regexp.MustCompile(`^[^\s\p{C}]+$`)
	hexColor  = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)
)

// legend checks the classes of a variable.
func (c *checker) legend(path []string, legend []graph.Class, dtype graph.DType) {
	if len(legend) > 0 && dtype.IsFloat() {
		c.add(path, "dtype: uint8", "classes need a whole-number dtype, not %s", dtype)
		return
	}
	if len(legend) > maxList {
		c.add(path, "", "the legend has %d classes; at most %d are read", len(legend), maxList)
		return
	}
	values, names := map[int64]bool{}, map[string]bool{}
	for i, k := range legend {
		at := append(slices.Clone(path), strconv.Itoa(i))
		if values[k.Value] {
			c.add(append(at, "value"), "", "value %d stands here twice", k.Value)
		}
		if names[k.Name] {
			c.add(append(at, "name"), "", "class %s stands here twice", k.Name)
		}
		values[k.Value], names[k.Name] = true, true
		if !className.MatchString(k.Name) {
			c.add(append(at, "name"), "write "+strings.ReplaceAll(strings.TrimSpace(k.Name), " ", "_"), "%q is not a class: a class is one word", clip(k.Name))
		}
		if k.Color != "" && !hexColor.MatchString(k.Color) {
			c.add(append(at, "color"), "write it like #1b9e77, in quotes", "%q is no colour", clip(k.Color))
		}
		if !fits(strconv.FormatInt(k.Value, 10), dtype) {
			c.add(append(at, "value"), "", "%d does not fit %s", k.Value, dtype)
		}
	}
}

// fill checks the nodata value.
func (c *checker) fill(path []string, fill *graph.Number, dtype graph.DType) {
	switch {
	case fill == nil:
	case dtype.IsFloat():
		c.add(path, "leave fill out", "nodata of %s is always NaN", dtype)
	case !fits(string(*fill), dtype):
		c.add(path, "", "%s does not fit %s", clip(string(*fill)), dtype)
	}
}

// fits reports whether a whole number is a value of an integer type.
func fits(number string, dtype graph.DType) bool {
	v, ok := new(big.Int).SetString(number, 10)
	if !ok || len(number) > 40 {
		return false
	}
	bits := dtype.Size() * 8
	lo, hi := new(big.Int), new(big.Int).Lsh(big.NewInt(1), uint(bits))
	switch {
	case dtype == graph.Bool:
		hi.SetInt64(2)
	case strings.HasPrefix(string(dtype), "int"):
		hi.Rsh(hi, 1)
		lo.Neg(hi)
	}
	return v.Cmp(lo) >= 0 && v.Cmp(hi) < 0
}

func (c *checker) nativeFrom(path []string, v graph.VarSpec, roles []string) {
	for i, role := range v.NativeFrom {
		if !slices.Contains(roles, role) {
			c.add(append(slices.Clone(path), strconv.Itoa(i)), yamlfile.DidYouMean(role, roles), "%q is neither a need nor a source", clip(role))
		}
	}
}

var hostName = regexp.MustCompile(`^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:[0-9]{1,5})?$`)

func isHost(s string) bool { return len(s) <= 253 && hostName.MatchString(s) }

func (c *checker) capabilities(k graph.Capabilities) {
	at := func(key string) []string { return []string{"capabilities", key} }
	oneOf(c, at("cost"), k.Cost, "cost", costs)
	if k.Batch < 0 || k.Batch > maxBatch || k.CPUs < 0 || k.CPUs > 4096 || k.CPUs != k.CPUs {
		c.add([]string{"capabilities"}, "", "batch and cpus must be positive and small")
	}
	if min(k.Memory, k.Disk, int64(k.PIDs), int64(k.Timeout)) < 0 {
		c.add([]string{"capabilities"}, "", "limits must not be negative")
	}
	if max(k.Memory, k.Disk) > maxSize || k.PIDs > 1<<22 || k.Timeout > maxDuration {
		c.add([]string{"capabilities"}, "", "limits are larger than any machine")
	}
	if k.GPUs < 0 || k.GPUs > maxPieces || len(k.Tokens) > maxTokens {
		c.add([]string{"capabilities"}, "", "gpu and tokens must be positive and few")
	}
	for _, name := range slices.Sorted(maps.Keys(k.Tokens)) {
		if n := k.Tokens[name]; !plainName.MatchString(name) || n < 1 || n > maxPieces {
			c.add(append(at("tokens"), clip(name)), "write it like tokens: {matlab: 1}", "%q is no token, or %d no number of them", clip(name), n)
		}
	}
	if k.Batch > 1 && !k.Tiles {
		c.add(at("batch"), "tiles: true", "a batch is of tiles, and this producer has none")
	}
	for i, host := range k.Network {
		if !isHost(host) {
			c.add(append(at("network"), strconv.Itoa(i)), "write it like data.example.org", "%q is no host name", clip(host))
		}
	}
}

// network checks that hosts and sources to fetch go together.
func (c *checker) network(m graph.Manifest) {
	hosts, fetched := m.Capabilities.Network, m.Fetched()
	switch {
	case len(hosts) > maxHosts:
		c.add([]string{"capabilities", "network"}, "", "%d hosts; at most %d may be named", len(hosts), maxHosts)
	case len(hosts) > 0 && len(fetched) == 0:
		c.add([]string{"capabilities", "network"}, "sources: [{name: data, fetch: true}]",
			"only sources that the producer fetches come over the network, and it has none")
	case len(hosts) == 0 && len(fetched) > 0:
		c.add([]string{"sources"}, "capabilities: {network: [data.example.org]}", "source %s is to be fetched, and no host is named", fetched[0])
	}
}

func (c *checker) command(command []string) {
	if len(command) == 0 || command[0] == "" {
		c.add([]string{"command"}, "command: [/producer]", "what the container runs is missing")
		return
	}
	for i, word := range command {
		if strings.ContainsRune(word, 0) {
			c.add([]string{"command", strconv.Itoa(i)}, "", "a word of the command holds a zero byte")
		}
	}
	if !strings.HasPrefix(command[0], "/") {
		c.add([]string{"command", "0"}, "write its absolute path in the image", "%q is not absolute", clip(command[0]))
	}
}

// problems joins problems to one error.
func joinProblems(where string, ps []problem) error {
	if len(ps) == 0 {
		return nil
	}
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return fmt.Errorf("%s: %s", where, strings.Join(lines, "; "))
}
