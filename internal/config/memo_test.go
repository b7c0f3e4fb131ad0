package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/wholefile"
)

// contracts are the texts of every good producer.yaml at hand.
func contracts(t *testing.T) map[string][]byte {
	t.Helper()
	texts := map[string][]byte{}
	for _, pattern := range []string{"testdata/producer/good-*.yaml", "../../images/drivers/*/producer.yaml", "../../examples/*/producers/*/producer.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v %v", pattern, files, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			texts[f] = text
		}
	}
	return texts
}

func producerFS(text []byte) fstest.MapFS { return fstest.MapFS{ProducerName: {Data: text}} }

func TestAMemoGivesWhatReadingGives(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "contracts", "memo.json")
	m := OpenMemo(path, "this one")
	texts := contracts(t)
	read := map[string]*Contract{}
	for name, text := range texts {
		c, err := m.LoadContract(producerFS(text), name)
		if err != nil {
			t.Fatal(err)
		}
		read[name] = c
	}
	if err := m.Save(); err != nil {
		t.Fatal(err)
	}
	again := OpenMemo(path, "this one")
	for name, text := range texts {
		for what, memo := range map[string]*Memo{"the memo": again, "no memo": nil} {
			c, err := memo.LoadContract(producerFS(text), name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(read[name], c); diff != "" {
				t.Errorf("%s: %s (-read +got)\n%s", name, what, diff)
			}
			if a, b := marshalled(t, read[name].Recipe), marshalled(t, c.Recipe); a != b {
				t.Errorf("%s: %s: the recipe has another digest: %s, %s", name, what, a, b)
			}
		}
	}
	if again.dirty || len(again.used) != len(texts) {
		t.Errorf("%d of %d were remembered", len(again.used), len(texts))
	}
}

func marshalled(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestParamsAreRememberedWithTheirDefaults(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "memo.json")
	manifest := graph.Manifest{Name: "x", Params: []byte(`{"type":"object","properties":{"a":{"type":"string","default":"<&>\u2028"},"n":{"type":"integer"}},"additionalProperties":false}`)}
	given := map[string]any{"n": json.Number("123456789012345678")}
	want, wrong, err := applyParams(manifest, map[string]any{"n": json.Number("123456789012345678")})
	if err != nil || len(wrong) > 0 {
		t.Fatal(wrong, err)
	}
	for i := range 3 {
		m := OpenMemo(path, "p")
		got, wrong, err := m.params(manifest, map[string]any{"n": given["n"]})
		if err != nil || len(wrong) > 0 || string(got) != string(want) {
			t.Errorf("time %d: %s, want %s: %v %v", i, got, want, wrong, err)
		}
		if _, wrong, err := m.params(manifest, map[string]any{"m": 1}); err != nil || len(wrong) != 1 {
			t.Errorf("time %d: a mistake was missed: %v %v", i, wrong, err)
		}
		if m.dirty != (i == 0) {
			t.Errorf("time %d: dirty is %v", i, m.dirty)
		}
		if err := m.Save(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAMistakeIsFoundEachTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "memo.json")
	for range 2 {
		m := OpenMemo(path, "p")
		if _, err := m.LoadContract(producerFS([]byte("name: x\nproduces: [{variable: X!}]\n")), "x"); err == nil || !strings.Contains(err.Error(), "x/producer.yaml:2") {
			t.Errorf("got %v", err)
		}
		if _, err := m.LoadContract(fstest.MapFS{}, "y"); err == nil || !strings.Contains(err.Error(), "y: no producer.yaml") {
			t.Errorf("got %v", err)
		}
		if err := m.Save(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("there was something to remember")
	}
}

func TestAMemoOfAnotherProgramOrADamagedOneIsEmpty(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := contracts(t)["../../images/drivers/dem/producer.yaml"]
	path := filepath.Join(dir, "memo.json")
	fill := func() {
		m := OpenMemo(path, "p")
		if _, err := m.LoadContract(producerFS(text), "dem"); err != nil {
			t.Fatal(err)
		}
		m.dirty = true
		if err := m.Save(); err != nil {
			t.Fatal(err)
		}
	}
	for name, damage := range map[string]func(whole []byte) (program string, text []byte){
		"whole":           func(b []byte) (string, []byte) { return "p", b },
		"another program": func(b []byte) (string, []byte) { return "q", b },
		"cut":             func(b []byte) (string, []byte) { return "p", b[:len(b)/2] },
		"empty":           func([]byte) (string, []byte) { return "p", nil },
		"another form":    func([]byte) (string, []byte) { return "p", wholefile.Seal([]byte(`{"program":"p","entries":[1]}`)) },
		"null":            func([]byte) (string, []byte) { return "p", wholefile.Seal([]byte(`{"program":"p","entries":null}`)) },
		"a bit": func(b []byte) (string, []byte) {
			b[bytes.Index(b, []byte(`"Label":"`))+100] ^= 1
			return "p", b
		},
		"other entries": func(b []byte) (string, []byte) {
			text, _, _ := wholefile.Unseal(b)
			return "p", wholefile.Seal([]byte(strings.Replace(string(text), `"Label":"`, `"Label":"AAAA`, 1)))
		},
	} {
		fill()
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		program, b := damage(whole)
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		m := OpenMemo(path, program)
		c, err := m.LoadContract(producerFS(text), "dem")
		if err != nil || c.Manifest.Name != "dem" || m.dirty != (name != "whole") {
			t.Errorf("%s: %v, dirty %v", name, err, m.dirty)
		}
	}
}

func TestAMemoForgetsWhatIsOfNoUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "memo.json")
	for i := range 100 {
		m := OpenMemo(path, "p")
		text := fmt.Appendf(nil, "name: x%d\nproduces: [{variable: v}]\ncommand: [/x]\n", i)
		if _, err := m.LoadContract(producerFS(text), "x"); err != nil {
			t.Fatal(err)
		}
		if err := m.Save(); err != nil {
			t.Fatal(err)
		}
	}
	m := OpenMemo(path, "p")
	if m.get("", nil); len(m.have) > 20 {
		t.Errorf("it remembers %d contracts of one", len(m.have))
	}
	files, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(files) != 1 {
		t.Errorf("left behind: %v %v", files, err)
	}
}

func BenchmarkLoadContractFromAMemo(b *testing.B) {
	text, err := os.ReadFile("testdata/producer/good-all.yaml")
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "memo.json")
	m := OpenMemo(path, "p")
	for b.Loop() {
		if _, err := m.LoadContract(producerFS(text), "x"); err != nil {
			b.Fatal(err)
		}
		if err := m.Save(); err != nil {
			b.Fatal(err)
		}
		m = OpenMemo(path, "p")
	}
}
