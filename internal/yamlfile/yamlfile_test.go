package yamlfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestScalarsAreWhatYAMLSaysTheyAre(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Node{
		"12": {Kind: Int, Text: "12"}, "-0": {Kind: Int, Text: "-0"}, "+7": {Kind: Int, Text: "7"},
		"0.10": {Kind: Float, Text: "0.10"}, ".5": {Kind: Float, Text: "0.5"}, "1e3": {Kind: Float, Text: "1e3"}, "5.": {Kind: Float, Text: "5"},
		"true": {Kind: Bool, Text: "true"}, "False": {Kind: Bool, Text: "false"}, "~": {Kind: Null}, "null": {Kind: Null},
		"0x1f": {Kind: String, Text: "0x1f"}, "007": {Kind: String, Text: "007"}, "1_000": {Kind: String, Text: "1_000"},
		"no": {Kind: String, Text: "no"}, ".inf": {Kind: String, Text: ".inf"}, "2020-09-27T11:00Z": {Kind: String, Text: "2020-09-27T11:00Z"},
		`"12"`: {Kind: String, Text: "12"}, "'it''s'": {Kind: String, Text: "it's"}, "EPSG:32613": {Kind: String, Text: "EPSG:32613"},
		"[exit:75]": {Kind: List}, "|\n  a\n  b\n": {Kind: String, Text: "a\nb\n"}, ">-\n  a\n  b\n": {Kind: String, Text: "a b"},
	} {
		doc, err := Parse("f.yaml", []byte("key: "+in), Limits{})
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		n := doc.Root.Get("key")
		if n.Kind != want.Kind || n.Text != want.Text {
			t.Errorf("%s: got %v %q, want %v %q", in, n.Kind, n.Text, want.Kind, want.Text)
		}
	}
}

func TestNodesKnowTheirPlace(t *testing.T) {
	t.Parallel()
	const text = "ñame: é\r\ngrid: {crs: EPSG:1, on: [exit:75, signal]}\nlist:\n  - a: 1\n    b:\n  - \"q\"\ntab:\tx\n"
	doc, err := Parse("f.yaml", []byte(text), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path []string
		want string
		text string
	}{
		{[]string{"ñame"}, "f.yaml:1:7", "é"},
		{[]string{"grid"}, "f.yaml:2:7", ""},
		{[]string{"grid", "crs"}, "f.yaml:2:13", "EPSG:1"},
		{[]string{"grid", "on", "0"}, "f.yaml:2:26", "exit:75"},
		{[]string{"grid", "on", "1"}, "f.yaml:2:35", "signal"},
		{[]string{"list", "0"}, "f.yaml:4:5", ""},
		{[]string{"list", "0", "b"}, "f.yaml:5:5", ""},
		{[]string{"list", "1"}, "f.yaml:6:5", "q"},
		{[]string{"tab"}, "f.yaml:7:6", "x"},
		{[]string{"tab", "none", "deeper"}, "f.yaml:7:6", "x"},
	} {
		n := doc.Root.At(c.path...)
		if got := n.Pos().String(); got != c.want || n.Text != c.text {
			t.Errorf("%v: at %s %q, want %s %q", c.path, got, n.Text, c.want, c.text)
		}
	}
}

func TestMistakesAreShownWithTheirLineAndACaret(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"duplicate key": {"a: 1\nb: 2\na: 3\n", `
f.yaml:3:1: key "a" stands here twice; first in line 1
    3 | a: 3
      | ^`},
		"colon in text": {"title: one: two\n", `
f.yaml:1:8: a colon does not belong here
    1 | title: one: two
      |        ^^^
        text with ": " in it needs quotes`},
		"alias":    {"a: &x [1]\nb: *x\n", "\nf.yaml:1:4: anchors (&) are not read here; write the value out\n    1 | a: &x [1]\n      |    ^"},
		"tag":      {"a: !!binary x\n", "\nf.yaml:1:4: tags (!) are not read here; quote the text if it begins with !\n    1 | a: !!binary x\n      |    ^^^^^^^^"},
		"merge":    {"<<: {a: 1}\n", "\nf.yaml:1:1: merge keys (<<) are not read here; write the keys out\n    1 | <<: {a: 1}\n      | ^^"},
		"two docs": {"a: 1\n---\nb: 1\n", "\nf.yaml:3:1: a second document begins here; only one is read\n    3 | b: 1\n      | ^"},
		"no space": {"a: {b:1}\n", "\nf.yaml:1:6: a space is missing after the colon\n    1 | a: {b:1}\n      |      ^\n        write b: 1"},
		"utf8":     {"a: \xff\n", "\nf.yaml:1:4: byte 0xff is not UTF-8\n    1 | a: \xff\n      |    ^\n        save the file as UTF-8"},
		"control":  {"a: \x00\n", "\nf.yaml:1:4: control character U+0000 does not belong here\n    1 | a: �\n      |    ^"},
		"huge int": {"a: 1e999999999\n", "\nf.yaml:1:4: number is out of range\n    1 | a: 1e999999999\n      |    ^^^^^^^^^^^"},
		"tiny":     {"a: 1e-999999999\n", "\nf.yaml:1:4: number is out of range\n    1 | a: 1e-999999999\n      |    ^^^^^^^^^^^^"},
		"size":     {strings.Repeat("#", 2000), "\nf.yaml: is 2000 bytes long; at most 1000 are read"},
	} {
		_, err := Parse("f.yaml", []byte(c.in), Limits{Bytes: 1000})
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		got := strings.ReplaceAll("\n"+err.Error(), "\ufffd", "\xff")
		if diff := cmp.Diff(strings.ReplaceAll(c.want, "\ufffd", "\xff"), got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
	}
}

func TestNestingIsBounded(t *testing.T) {
	t.Parallel()
	deepMap := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(strings.Repeat(" ", i) + "a:\n")
		}
		return b.String()
	}
	for name, in := range map[string]string{
		"flow lists": strings.Repeat("[", 100_000), "flow maps": strings.Repeat("{a: ", 50_000), "dashes": strings.Repeat("- ", 100_000) + "a",
		"maps": deepMap(900), "mixed": strings.Repeat("- [", 10_000),
	} {
		if _, err := Parse("f.yaml", []byte(in), Limits{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, in := range map[string]string{"flow": strings.Repeat("[", 60) + strings.Repeat("]", 60), "maps": deepMap(60), "dashes": strings.Repeat("- ", 60) + "a"} {
		if _, err := Parse("f.yaml", []byte(in), Limits{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
