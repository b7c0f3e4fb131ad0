package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// maxParamDepth bounds how deep defaults are applied: a schema may refer to
// itself.
const maxParamDepth = 32

// noLoader refuses to fetch a schema that another refers to.
type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("a schema may refer only to itself, not to %s", clip(url))
}

// compileParams compiles the schema of a producer's params; nil where it has
// none.
func compileParams(raw json.RawMessage) (schema *jsonschema.Schema, err error) {
	if len(raw) == 0 {
		return nil, nil
	}
	defer func() {
		if p := recover(); p != nil {
			schema, err = nil, fmt.Errorf("%v", p)
		}
	}()
	doc, err := decodeJSON(raw)
	if err != nil {
		return nil, err
	}
	if _, ok := doc.(map[string]any); !ok {
		return nil, errors.New("it must be an object")
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource("params.json", doc); err != nil {
		return nil, err
	}
	schema, err = c.Compile("params.json")
	if err != nil {
		return nil, errors.New(schemaTrouble(err))
	}
	return schema, nil
}

// schemaTrouble says what is wrong with a schema, without its address.
func schemaTrouble(err error) string {
	var sv *jsonschema.SchemaValidationError
	var ve *jsonschema.ValidationError
	var le *jsonschema.LoadURLError
	if errors.As(err, &le) {
		return le.Err.Error()
	}
	if errors.As(err, &sv) && errors.As(sv.Err, &ve) {
		for len(ve.Causes) > 0 {
			ve = ve.Causes[0]
		}
		at := strings.Join(ve.InstanceLocation, ".")
		if at != "" {
			at += ": "
		}
		return at + describe(ve)
	}
	return clip(err.Error())
}

// Params checks the params of an instance against the manifest's schema and
// returns them as JSON with the schema's defaults filled in, nested ones too.
// params may be nil.
func Params(m graph.Manifest, params json.RawMessage) (json.RawMessage, error) {
	var v any
	if len(params) > 0 {
		var err error
		if v, err = decodeJSON(params); err != nil {
			return nil, fmt.Errorf("params of %s: %w", m.Name, err)
		}
	}
	out, wrong, err := applyParams(m, v)
	if err != nil {
		return nil, err
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("params of %s: %s", m.Name, wrong[0].Error())
	}
	return out, nil
}

// applyParams fills in defaults and validates.
func applyParams(m graph.Manifest, v any) (json.RawMessage, []problem, error) {
	if v == nil {
		v = map[string]any{}
	}
	schema, err := compileParams(m.Params)
	if err != nil {
		return nil, nil, fmt.Errorf("params of %s are no JSON Schema: %w", m.Name, err)
	}
	if schema == nil {
		return noSchema(m, v)
	}
	if err := fillDefaults(schema, v, 0); err != nil {
		return nil, nil, fmt.Errorf("params of %s: %w", m.Name, err)
	}
	var ve *jsonschema.ValidationError
	if err := schema.Validate(v); errors.As(err, &ve) {
		return nil, paramProblems(schema, ve), nil
	} else if err != nil {
		return nil, nil, fmt.Errorf("params of %s: %w", m.Name, err)
	}
	raw, err := plainJSON(v)
	return raw, nil, err
}

// noSchema are the params of a producer that has none.
func noSchema(m graph.Manifest, v any) (json.RawMessage, []problem, error) {
	var wrong []problem
	if obj, ok := v.(map[string]any); ok {
		for key := range obj {
			wrong = append(wrong, problem{[]string{key}, fmt.Sprintf("producer %s has no params", m.Name), "remove it"})
		}
	}
	slices.SortFunc(wrong, func(a, b problem) int { return strings.Compare(a.path[0], b.path[0]) })
	return json.RawMessage("{}"), wrong, nil
}

// fillDefaults puts the defaults of a schema where a value is missing.
func fillDefaults(s *jsonschema.Schema, v any, depth int) error {
	if depth > maxParamDepth {
		return errors.New("the schema's defaults are nested too deep")
	}
	for _, sub := range append([]*jsonschema.Schema{s.Ref}, s.AllOf...) {
		if sub != nil {
			if err := fillDefaults(sub, v, depth+1); err != nil {
				return err
			}
		}
	}
	switch v := v.(type) {
	case map[string]any:
		return fillObject(s, v, depth)
	case []any:
		items := s.Items2020
		if one, ok := s.Items.(*jsonschema.Schema); ok {
			items = one
		}
		for _, item := range v {
			if items == nil {
				break
			}
			if err := fillDefaults(items, item, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func fillObject(s *jsonschema.Schema, v map[string]any, depth int) error {
	for key, sub := range s.Properties {
		if _, ok := v[key]; !ok {
			def := defaultOf(sub)
			if def == nil {
				continue
			}
			v[key] = cloneJSON(*def)
		}
		if err := fillDefaults(sub, v[key], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// defaultOf is the default of a schema, or of the one that it refers to.
func defaultOf(s *jsonschema.Schema) *any {
	for i := 0; s != nil && i < maxParamDepth; i++ {
		if s.Default != nil {
			return s.Default
		}
		s = s.Ref
	}
	return nil
}

func cloneJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[k] = cloneJSON(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = cloneJSON(e)
		}
		return l
	}
	return v
}

// paramProblems are the leaves of a validation error.
func paramProblems(schema *jsonschema.Schema, ve *jsonschema.ValidationError) []problem {
	if len(ve.Causes) > 0 {
		switch ve.ErrorKind.(type) {
		case *kind.AnyOf, *kind.OneOf, *kind.Not, *kind.Contains:
		default:
			var out []problem
			for _, c := range ve.Causes {
				out = append(out, paramProblems(schema, c)...)
			}
			return out
		}
	}
	p := problem{path: ve.InstanceLocation, message: describe(ve)}
	switch k := ve.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		return unknownParams(schema, ve.InstanceLocation, k.Properties)
	case *kind.Enum:
		if s, ok := k.Got.(string); ok {
			p.message = fmt.Sprintf("unknown value %q", clip(s))
			p.hint = yamlfile.DidYouMean(s, enumWords(k.Want))
		}
	}
	return []problem{p}
}

// unknownParams names params that the schema does not know.
func unknownParams(schema *jsonschema.Schema, at []string, names []string) []problem {
	known := propertiesAt(schema, at)
	var out []problem
	for _, name := range names {
		out = append(out, problem{append(slices.Clone(at), name), fmt.Sprintf("unknown param %q", clip(name)), yamlfile.DidYouMean(name, known)})
	}
	return out
}

// propertiesAt are the names that the schema knows at a place.
func propertiesAt(s *jsonschema.Schema, at []string) []string {
	for _, key := range at {
		for s != nil && s.Properties == nil && s.Ref != nil {
			s = s.Ref
		}
		if s == nil || s.Properties[key] == nil {
			return nil
		}
		s = s.Properties[key]
	}
	var names []string
	for i := 0; s != nil && i < maxParamDepth; i++ {
		for name := range s.Properties {
			names = append(names, name)
		}
		s = s.Ref
	}
	slices.Sort(names)
	return names
}

func enumWords(values []any) []string {
	var words []string
	for _, v := range values {
		if s, ok := v.(string); ok {
			words = append(words, s)
		}
	}
	return words
}

// describe is the message of a validation error.
func describe(ve *jsonschema.ValidationError) string {
	switch k := ve.ErrorKind.(type) {
	case *kind.Minimum:
		return fmt.Sprintf("must be at least %s, not %s", ratio(k.Want), ratio(k.Got))
	case *kind.Maximum:
		return fmt.Sprintf("must be at most %s, not %s", ratio(k.Want), ratio(k.Got))
	case *kind.ExclusiveMinimum:
		return fmt.Sprintf("must be greater than %s, not %s", ratio(k.Want), ratio(k.Got))
	case *kind.ExclusiveMaximum:
		return fmt.Sprintf("must be less than %s, not %s", ratio(k.Want), ratio(k.Got))
	case *kind.Type:
		return fmt.Sprintf("must be %s, not %s", strings.Join(k.Want, " or "), k.Got)
	}
	text := ve.ErrorKind.LocalizedString(message.NewPrinter(language.English))
	if r := []rune(text); len(r) > 300 {
		return string(r[:300]) + "…"
	}
	return text
}

// ratio prints a number of a schema.
func ratio(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// plainJSON encodes a value with sorted keys and no white space, every number
// as it was written.
func plainJSON(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
