package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cubebuild/cube/internal/yamlfile"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares text with a file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func compileSchema(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	raw, err := Schema(name)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(name, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// parsers are what reads the files under testdata, by folder.
var parsers = map[string]func(name string, data []byte) error{
	"cube":     func(name string, data []byte) error { _, err := Parse(name, data); return err },
	"producer": func(name string, data []byte) error { _, err := ParseProducer(name, data); return err },
}

// A file under testdata whose name begins with good- is accepted. The error of
// any other stands beside it, in a file of the same name with .err at its end.
func TestMistakesAreReportedAsTheGoldenFilesSay(t *testing.T) {
	t.Parallel()
	for dir, parse := range parsers {
		files, err := filepath.Glob("testdata/" + dir + "/*.yaml")
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in %s: %v", dir, err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name := dir + ".yaml"
			err = parse(name, data)
			if strings.HasPrefix(filepath.Base(path), "good-") {
				if err != nil {
					t.Errorf("%s: %v", path, err)
				}
				continue
			}
			if err == nil {
				t.Errorf("%s: accepted", path)
				continue
			}
			golden(t, strings.TrimSuffix(path, ".yaml")+".err", err.Error()+"\n")
		}
	}
}

// What the parser accepts the schema accepts. What the parser refuses the
// schema refuses, but for the files that begin with "# schema: accepts", which
// no schema can tell, and those that are no YAML at all.
func TestSchemaAndParserAgree(t *testing.T) {
	t.Parallel()
	for dir := range parsers {
		schema := compileSchema(t, dir)
		files, _ := filepath.Glob("testdata/" + dir + "/*.yaml")
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := yamlfile.Parse(path, data, yamlfile.Limits{})
			if noYAML := bytes.HasPrefix(data, []byte("# schema: no YAML")); noYAML || err != nil {
				if err == nil || !noYAML {
					t.Errorf("%s: YAML: %v", path, err)
				}
				continue
			}
			value := doc.Root.JSON()
			if value == nil {
				value = map[string]any{}
			}
			good := strings.HasPrefix(filepath.Base(path), "good-") || bytes.HasPrefix(data, []byte("# schema: accepts"))
			if err := schema.Validate(value); (err == nil) != good {
				t.Errorf("%s: the schema says %v", path, err)
			}
		}
	}
}

// The good-all files hold every key that the schema knows, so that the test
// above compares all of them; and at each place the parser knows the same keys
// as the schema.
func TestParserKnowsTheKeysOfTheSchema(t *testing.T) {
	t.Parallel()
	for dir, parse := range parsers {
		raw, err := Schema(dir)
		if err != nil {
			t.Fatal(err)
		}
		var schema map[string]any
		if err := json.Unmarshal(raw, &schema); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile("testdata/" + dir + "/good-all.yaml")
		if err != nil {
			t.Fatal(err)
		}
		doc, err := yamlfile.Parse("all", data, yamlfile.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]bool{}
		schemaKeys(schema, schema, want, "")
		got := map[string]bool{}
		parserKeys(t, doc.Root, doc.Root, parse, got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: keys (-schema +parser):\n%s", dir, diff)
		}
	}
}

// schemaKeys collects the key sets of all closed objects of a schema.
func schemaKeys(root, s map[string]any, into map[string]bool, _ string) {
	if props, ok := s["properties"].(map[string]any); ok && s["additionalProperties"] == false {
		var keys []string
		for k := range props {
			keys = append(keys, k)
		}
		into[joinSorted(keys)] = true
	}
	for _, v := range s {
		walkSchemas(root, v, into)
	}
}

func walkSchemas(root map[string]any, v any, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		schemaKeys(root, v, into, "")
	case []any:
		for _, e := range v {
			walkSchemas(root, e, into)
		}
	}
}

// parserKeys plants an unknown key in every map of a file and collects the
// choices that the parser then names.
func parserKeys(t *testing.T, root, n *yamlfile.Node, parse func(string, []byte) error, into map[string]bool) {
	for _, e := range n.Entries {
		parserKeys(t, root, e.Value, parse, into)
	}
	for _, item := range n.Items {
		parserKeys(t, root, item, parse, into)
	}
	if n.Kind != yamlfile.Map {
		return
	}
	const planted = "zzz_planted"
	n.Entries = append(n.Entries, yamlfile.Entry{Key: planted, Name: n, Value: yamlfile.NewNumber("1")})
	err := parse("planted", yamlfile.Encode(root))
	n.Entries = n.Entries[:len(n.Entries)-1]
	for _, e := range mistakes(err) {
		if strings.Contains(e.Message, "unknown key \""+planted) {
			into[joinSorted(e.Choices)] = true
		}
	}
}
