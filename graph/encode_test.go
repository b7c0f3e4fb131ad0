package graph

import (
	"encoding/json"
	"math"
	oldrand "math/rand"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"
)

// byJSON is what Canonical is defined by: encoding/json, put into order.
func byJSON(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return appendCanonical(nil, raw)
}

func agrees(t *testing.T, v any) {
	t.Helper()
	got, err := Canonical(v)
	want, wantErr := byJSON(v)
	if (err == nil) != (wantErr == nil) || err == nil && string(got) != string(want) {
		t.Errorf("%T:\n got %s (%v)\nwant %s (%v)", v, got, err, want, wantErr)
	}
}

func TestValuesAreWrittenAsEncodingJSONWritesThem(t *testing.T) {
	t.Parallel()
	type own struct {
		B, A  int
		Last  *own                 `json:"last,omitempty"`
		Zero  time.Time            `json:"zero,omitzero"`
		Empty struct{ X int }      `json:"empty,omitempty"`
		Raw   json.RawMessage      `json:"raw"`
		Any   any                  `json:"any"`
		Bytes []byte               `json:"bytes"`
		Map   map[string]float64   `json:"map"`
		Text  map[Digest]bool      `json:"text"`
		Left  string               `json:"-"`
		Dash  string               `json:"-,"`
		Fixed [2]int8              `json:"fixed"`
		List  []Number             `json:"list,omitempty"`
		Deep  map[string][]*uint64 `json:"deep,omitempty"`
		small int
	}
	big := uint64(math.MaxUint64)
	for _, v := range []any{
		nil, true, "a\"<&>\u2028\x01\xff", 1.5, 0.0, math.Copysign(0, -1), 1e21, 1e-7, 1 << 53, 1<<53 + 1, float64(1 << 60), -float64(1 << 60),
		math.Inf(1), math.NaN(), math.MaxUint64 / 3, big, float32(0.1), []int(nil), []int{}, map[string]int(nil), (*int)(nil), Digest{}, Sum(nil), json.RawMessage(`{"b":1,"a":2}`),
		map[string]int{"€": 1, "\r": 2, "\ufb33": 3, "1": 4, "😀": 5}, map[Kind]Number{"b": "1e2", "a": "9007199254740993"}, Number("x"),
		own{B: 1, A: 2, Last: &own{small: 3}, Any: map[string]any{"z": []any{1, nil}, "a": 2.5}, Bytes: []byte{1, 2}, Text: map[Digest]bool{{}: true},
			Map: map[string]float64{"b": 1e300, "a": 0.1}, Left: "x", Dash: "y", Raw: json.RawMessage(" [ 1.0 ] "), List: []Number{"1.50"}, Deep: map[string][]*uint64{"k": {&big, nil}}},
		&own{Zero: time.Unix(1, 0).UTC()}, Capabilities{Resources: Resources{Memory: 5}}, []own{{Raw: json.RawMessage("{")}},
	} {
		agrees(t, v)
	}
}

func TestTheNounsOfKeysAreWrittenAsEncodingJSONWritesThem(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, noun := range []any{Request{}, Cover{}, Action{}, Shared{}, Derivation{}, Manifest{}, VarSpec{}, DataNeed{}, Inspection{}} {
		for range 200 {
			agrees(t, random(r, reflect.TypeOf(noun), 0).Interface())
		}
	}
}

func TestWhatIsWrittenForEveryTileIsCanonical(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	written := func(v any) ([]byte, error) {
		w := writer{b: []byte("before")}
		switch v := v.(type) {
		case Request:
			w.request(&v)
		case Cover:
			w.cover(&v)
		case Action:
			w.action(&v)
		}
		return w.b[len("before"):], w.err
	}
	for _, noun := range []any{Request{}, Cover{}, Action{}} {
		for range 2000 {
			v := random(r, reflect.TypeOf(noun), 0).Interface()
			got, err := written(v)
			want, wantErr := Canonical(v)
			if (err == nil) != (wantErr == nil) || err == nil && string(got) != string(want) {
				t.Fatalf("%T:\n got %s (%v)\nwant %s (%v)", v, got, err, want, wantErr)
			}
		}
	}
	if _, err := written(Request{Grid: &RequestGrid{DX: math.NaN()}}); err == nil {
		t.Error("a NaN is written")
	}
	if _, err := written(Request{Params: json.RawMessage("{")}); err == nil {
		t.Error("params that are no JSON are written")
	}
}

// random is a value of a type, a third of whose fields are zero.
var seeded = oldrand.New(oldrand.NewSource(1))

func random(r *rand.Rand, typ reflect.Type, depth int) reflect.Value {
	v := reflect.New(typ).Elem()
	if r.IntN(3) == 0 || depth > 6 {
		return v
	}
	switch {
	case typ == reflect.TypeFor[json.RawMessage]():
		return reflect.ValueOf(json.RawMessage([]string{`{"b":1.0,"a":[]}`, `null`, `"x"`}[r.IntN(3)]))
	case typ == reflect.TypeFor[Number]():
		return reflect.ValueOf(Number([]string{"1", "-1.50", "9007199254740993"}[r.IntN(3)]))
	case typ == reflect.TypeFor[Digest]():
		return reflect.ValueOf(Sum([]byte{byte(r.Uint32())}))
	}
	switch typ.Kind() {
	case reflect.Struct:
		for i := range typ.NumField() {
			v.Field(i).Set(random(r, typ.Field(i).Type, depth+1))
		}
	case reflect.Pointer:
		p := reflect.New(typ.Elem())
		p.Elem().Set(random(r, typ.Elem(), depth+1))
		return p
	case reflect.Slice:
		for range r.IntN(3) {
			v = reflect.Append(v, random(r, typ.Elem(), depth+1))
		}
	case reflect.Map:
		v = reflect.MakeMap(typ)
		for range r.IntN(4) {
			v.SetMapIndex(random(r, typ.Key(), depth), random(r, typ.Elem(), depth+1))
		}
	case reflect.String:
		v.SetString(strings.Repeat(string([]rune{'a' + rune(r.IntN(26)), '"', '€', 0xfb33, '<'}[r.IntN(5)]), r.IntN(3)))
	default:
		if q, ok := quick.Value(typ, seeded); ok {
			return q
		}
	}
	return v
}

func TestEncodersAreMadeForManyAtOnce(t *testing.T) {
	t.Parallel()
	type list struct {
		Next *list `json:"next"`
		N    int   `json:"n"`
	}
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() { agrees(t, list{&list{nil, 1}, 2}) })
	}
	all.Wait()
}

func BenchmarkCanonicalRequest(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	req := random(r, reflect.TypeFor[Request](), 0)
	for req.IsZero() || req.FieldByName("Grid").IsNil() || req.FieldByName("Outputs").Len() == 0 {
		req = random(r, reflect.TypeFor[Request](), 0)
	}
	for b.Loop() {
		if _, err := Canonical(req.Interface()); err != nil {
			b.Fatal(err)
		}
	}
}
