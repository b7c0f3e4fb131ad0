package graph

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
)

// eachLeaf calls f for every field of what v points to, however deep: change
// gives the field another value.
func eachLeaf(v any, f func(name string, change func())) { leaf("", reflect.ValueOf(v).Elem(), f) }

func leaf(name string, v reflect.Value, f func(string, func())) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			field := name + "." + v.Type().Field(i).Name
			if name == "" {
				field = field[1:]
			}
			leaf(field, v.Field(i), f)
		}
	case reflect.Slice:
		f(name, func() { v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem()))) })
		elements(name, v, f)
	case reflect.Array:
		elements(name, v, f)
	case reflect.Pointer:
		if !v.IsNil() {
			leaf(name, v.Elem(), f)
			return
		}
		f(name, func() { v.Set(reflect.New(v.Type().Elem())); change(v.Elem()) })
	default:
		f(name, func() { change(v) })
	}
}

func elements(name string, v reflect.Value, f func(string, func())) {
	for i := range v.Len() {
		leaf(name+"[]", v.Index(i), f)
	}
}

func change(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.String:
		v.SetString(v.String() + "7")
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 0.25)
	default:
		panic(fmt.Sprint("no other value of a ", v.Type()))
	}
}

// What a producer asks for, what it makes and what it runs in is keyed, field by
// field, but for what decides no value. Who adds a field says here which it is.
func TestEveryFieldThatDecidesAValueIsInAKey(t *testing.T) {
	t.Parallel()
	fresh := func() (*Vertex, *Workspace) {
		ws := terrain()
		ws.Instances[1].Image = Image{Platform: "linux/amd64", DiffIDs: []string{"sha256:1"}, Env: []string{"A=1"}, Command: []string{"/x"}}
		p, err := Resolve(ws, "slope")
		if err != nil {
			t.Fatal(err)
		}
		v := p.Vertices[1]
		v.Outputs[0].Spec.Legend = []Class{{Value: 1, Name: "one"}}
		v.Outputs[0].Spec.Dims = []Dim{{Name: "level", Size: 2}}
		return v, &ws
	}
	derivation := func(v *Vertex, ws *Workspace) Digest {
		s, err := v.Shared(ws, Host{})
		if err != nil {
			t.Fatal(err)
		}
		d, _, err := v.Derivation(s, make([]Digest, len(v.Inputs))).Key()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for what, c := range map[string]struct {
		of    func(*Vertex) any
		apart []string // from all keys
	}{
		"need":   {func(v *Vertex) any { return &v.Inputs[0].Need }, []string{"MaxRes", "MaxStep"}},
		"output": {func(v *Vertex) any { return &v.Outputs[0].Spec }, []string{"LongName", "Standard", "NativeFrom", "Merge", "Legend[].Color"}},
		"image":  {func(v *Vertex) any { return &v.Instance.Image }, []string{"Ref", "Config", "Manifest"}},
		"grid":   {func(v *Vertex) any { return &v.Grid }, []string{"Box.Y.Lo", "Box.Y.Hi", "Box.X.Lo", "Box.X.Hi"}}, // the vertex's own box is
		"box":    {func(v *Vertex) any { return &v.Box }, nil},
		"tiling": {func(v *Vertex) any { return &v.Tiling }, nil},
	} {
		v, ws := fresh()
		was := derivation(v, ws)
		var names []string
		eachLeaf(c.of(v), func(name string, _ func()) { names = append(names, name) })
		if len(names) == 0 {
			t.Fatalf("%s: no fields", what)
		}
		for i, name := range names {
			v, ws := fresh()
			n := 0
			eachLeaf(c.of(v), func(_ string, change func()) {
				if n == i {
					change()
				}
				n++
			})
			if is := derivation(v, ws); (is == was) != slices.Contains(c.apart, name) {
				t.Errorf("%s: the key changes with %s: %v", what, name, is != was)
			}
		}
	}
}

// What a container is told of a window and an output is in the request's bytes,
// and so in the action's key, field by field.
func TestEveryFieldOfARequestIsInItsBytes(t *testing.T) {
	t.Parallel()
	fresh := func() *Request {
		grids := func() *RequestGrid { return &RequestGrid{Time: &RequestTimes{}} }
		one := RequestInput{Window: &grid.Box{}, Clipped: &grid.Clip{}, Grid: grids(), Further: []Dim{{}}, Legend: []Class{{}}, Dims: []string{""}, Shape: []int64{0}}
		out := RequestOutput{Box: &grid.Box{}, Grid: grids(), Further: []Dim{{}}, Legend: []Class{{}}, Dims: []string{""}, Shape: []int64{0}}
		return &Request{Params: []byte("{}"), Tile: &grid.Box{}, Grid: grids(), Inputs: map[string]RequestInput{"in": one},
			Outputs: map[string]RequestOutput{"out": out}, Sources: map[string]RequestSource{"src": {Parts: []string{""}}}}
	}
	bytesOf := func(r *Request) string {
		b, err := written(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	was := bytesOf(fresh())
	check := func(what string, put func(r *Request) (any, func())) {
		var names []string
		of, _ := put(fresh())
		eachLeaf(of, func(name string, _ func()) { names = append(names, name) })
		for i, name := range names {
			r := fresh()
			of, done := put(r)
			n := 0
			eachLeaf(of, func(_ string, change func()) {
				if n == i {
					change()
				}
				n++
			})
			if done(); bytesOf(r) == was {
				t.Errorf("%s: %s is not in the bytes", what, name)
			}
		}
	}
	check("input", func(r *Request) (any, func()) {
		in := r.Inputs["in"]
		return &in, func() { r.Inputs["in"] = in }
	})
	check("output", func(r *Request) (any, func()) {
		out := r.Outputs["out"]
		return &out, func() { r.Outputs["out"] = out }
	})
	check("source", func(r *Request) (any, func()) {
		src := r.Sources["src"]
		return &src, func() { r.Sources["src"] = src }
	})
	check("tile", func(r *Request) (any, func()) { return r.Tile, func() {} })
	check("grid", func(r *Request) (any, func()) { return r.Grid, func() {} })
}
