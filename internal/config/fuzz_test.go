package config

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/graph"
)

// seed adds the files of a pattern to the corpus.
func seed(f *testing.F, pattern string) {
	paths, _ := filepath.Glob(pattern)
	if len(paths) == 0 {
		f.Fatalf("no files match %s", pattern)
	}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

func FuzzParse(f *testing.F) {
	seed(f, "testdata/cube/*.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("cube.yaml", data)
		if err != nil {
			if mistakes(err) == nil {
				t.Fatalf("an error without a place: %v", err)
			}
			return
		}
		_, _ = Workspace(file, nil, nil)
		_ = file.Set("producers.slope.tiles=3")
	})
}

func FuzzParseProducer(f *testing.F) {
	seed(f, "testdata/producer/*.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProducer("producer.yaml", data)
		if err != nil {
			if mistakes(err) == nil {
				t.Fatalf("an error without a place: %v", err)
			}
			return
		}
		label, err := Label(p.Manifest)
		if err != nil {
			t.Fatalf("label: %v", err)
		}
		if _, err := ManifestFromLabel(label); err != nil {
			t.Fatalf("what producer.yaml may say its label may not: %v\n%s", err, label)
		}
		_, _ = Params(p.Manifest, nil)
	})
}

func FuzzManifestFromLabel(f *testing.F) {
	seed(f, "testdata/label.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ManifestFromLabel(data)
		if err != nil {
			return
		}
		label, err := Label(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ManifestFromLabel(label)
		if err != nil {
			t.Fatalf("%v\n%s", err, label)
		}
		if again, err := Label(back); err != nil || !bytes.Equal(again, label) {
			t.Fatalf("label changed: %v\n%s\n%s", err, label, again)
		}
	})
}

func FuzzParseLock(f *testing.F) {
	seed(f, "testdata/*.lock")
	seed(f, "testdata/workspace/*.lock")
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := ParseLock("cube.lock", data)
		if err != nil {
			return
		}
		text, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseLock("cube.lock", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		a, _ := l.Encode()
		b, _ := back.Encode()
		if diff := cmp.Diff(string(a), string(b)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzParams(f *testing.F) {
	f.Add([]byte(`{"properties":{"a":{"default":1}}}`), []byte(`{"b":2}`))
	f.Add([]byte(`{"$defs":{"x":{"$ref":"#"}},"properties":{"a":{"$ref":"#/$defs/x","default":{}}}}`), []byte(`{}`))
	f.Add([]byte(`{"pattern":"(a+)+$","type":["string","object"]}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, schema, params []byte) {
		m := graph.Manifest{Name: "x", Params: schema}
		out, err := Params(m, params)
		if err != nil {
			return
		}
		again, err := Params(m, out)
		if err != nil || !bytes.Equal(out, again) {
			t.Fatalf("filled in twice: %s, then %s %v", out, again, err)
		}
	})
}
