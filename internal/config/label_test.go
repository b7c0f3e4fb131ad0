package config

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/graph"
)

func everything(t *testing.T) graph.Manifest {
	t.Helper()
	data, err := os.ReadFile("testdata/producer/good-all.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ParseProducer("producer.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	return p.Manifest
}

func TestAManifestSurvivesItsLabel(t *testing.T) {
	t.Parallel()
	m := everything(t)
	label, err := Label(m)
	if err != nil {
		t.Fatal(err)
	}
	back, err := ManifestFromLabel(label)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, back); diff != "" {
		t.Errorf("(-before +after)\n%s", diff)
	}
	again, err := Label(back)
	if err != nil || string(again) != string(label) {
		t.Errorf("a second label differs: %v\n%s\n%s", err, label, again)
	}
	golden(t, "testdata/label.json", string(label)+"\n")
}

func TestHostileLabelsAreRefused(t *testing.T) {
	t.Parallel()
	good := `"produces":[{"variable":"a","kind":"static"}],"capabilities":{"tiles":true},"command":["/p"]`
	var b strings.Builder
	for _, label := range []string{
		``, `null`, `[]`, `{}`, `{`, `{"name":"x",` + good + `} {}`,
		`{"name":"x","name":"y",` + good + `}`,
		`{"name":"x","unknown":1,` + good + `}`,
		`{"name":"../x",` + good + `}`,
		`{"name":"x","needs":[{"variable":"../../etc","kind":"static"}],` + good + `}`,
		`{"name":"x","needs":[{"variable":"a","kind":"static","halo":{"y":-1}}],` + good + `}`,
		`{"name":"x","needs":[{"variable":"a","kind":"static","halo":{"y":99999999}}],` + good + `}`,
		`{"name":"x","params":{"$ref":"file:///etc/passwd"},` + good + `}`,
		`{"name":"x","params":{"multipleOf":1e999999999},` + good + `}`,
		`{"name":"x","params":` + strings.Repeat(`{"not":`, 100) + `{}` + strings.Repeat(`}`, 100) + `,` + good + `}`,
		`{"name":"x","produces":[{"variable":"a","kind":"static","dims":[{"name":"k","size":9223372036854775807},{"name":"l","size":9}]}],"capabilities":{"tiles":true},"command":["/p"]}`,
		`{"name":"x","produces":[{"variable":"a","kind":"static","dtype":"int8","fill":1e400}],"capabilities":{"tiles":true},"command":["/p"]}`,
		`{"name":"x","produces":[{"variable":"a","kind":"static"}],"capabilities":{"tiles":true,"memory":-5},"command":["/p"]}`,
		`{"name":"x","produces":[{"variable":"a","kind":"static"}],"capabilities":{"tiles":true},"command":[]}`,
		`{"name":"x","produces":[],"capabilities":{"tiles":true},"command":["/p"]}`,
		strings.Repeat(" ", 2<<20),
	} {
		_, err := ManifestFromLabel([]byte(label))
		if err == nil {
			t.Errorf("%.80q: accepted", label)
			continue
		}
		b.WriteString(err.Error() + "\n")
	}
	golden(t, "testdata/labels.err", b.String())
}

func TestParamsGetTheDefaultsOfTheirSchema(t *testing.T) {
	t.Parallel()
	const schema = `{"type":"object","additionalProperties":false,"$defs":{"c":{"type":"object","default":{"p":1},"properties":{"q":{"default":[1.50]}}}},
		"properties":{"a":{"default":"x"},"b":{"type":"object","properties":{"d":{"default":true}}},"c":{"$ref":"#/$defs/c"},"n":{"type":"number"}},
		"allOf":[{"properties":{"e":{"default":1e2}}}]}`
	// additionalProperties knows nothing of allOf, so e is listed as well.
	m := graph.Manifest{Name: "x", Params: json.RawMessage(strings.Replace(schema, `"n":{`, `"e":{},"n":{`, 1))}
	for in, want := range map[string]string{
		"":                                   `{"a":"x","c":{"p":1,"q":[1.50]},"e":1e2}`,
		`{"b":{}}`:                           `{"a":"x","b":{"d":true},"c":{"p":1,"q":[1.50]},"e":1e2}`,
		`{"c":{},"a":null}`:                  `{"a":null,"c":{"q":[1.50]},"e":1e2}`,
		`{"n":12345678901234567890,"e":"<"}`: `{"a":"x","c":{"p":1,"q":[1.50]},"e":"<","n":12345678901234567890}`,
	} {
		got, err := Params(m, json.RawMessage(in))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{`{"z":1}`, `{"n":"x"}`, `[]`, `{"n":1e999999}`} {
		if got, err := Params(m, json.RawMessage(in)); err == nil {
			t.Errorf("%s: accepted as %s", in, got)
		}
	}
	endless := graph.Manifest{Name: "x", Params: json.RawMessage(`{"properties":{"a":{"default":{},"$ref":"#"}}}`)}
	if got, err := Params(endless, nil); err == nil {
		t.Errorf("defaults without end: %s", got)
	}
	if got, err := Params(graph.Manifest{Name: "x"}, nil); err != nil || string(got) != "{}" {
		t.Errorf("no schema: %s %v", got, err)
	}
}
