package yamlfile

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "a: 1\nb: [x, {y: z}]\n", "- - a\n  - b\n", "a: |\n  x\n", "a: &b c\n", "[exit:75, a:b:c]", "{a:b}", "? a\n: b",
		"\"\\u0041\": '''", "a:\t1\r\n", "%YAML 1.2\n---\na\n...\n", "\ufeffa: 1", "é: ñ", "a: >-\n  x\n\n  y\n", "a: 1e5\nb: +.5\nc: 007", "- a:\n   - b:\n     c"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := Parse("f.yaml", data, Limits{Bytes: 1 << 16})
		if err != nil {
			var one *Error
			if !errors.As(err, &one) || err.Error() == "" {
				t.Fatalf("an error of another sort: %v", err)
			}
			return
		}
		checkPlaces(t, doc, doc.Root)
		text := Encode(doc.Root)
		back, err := Parse("g.yaml", text, Limits{})
		if err != nil {
			t.Fatalf("what was encoded does not parse: %v\n%q", err, text)
		}
		if diff := cmp.Diff(doc.Root.JSON(), back.Root.JSON()); diff != "" {
			t.Fatalf("changed by encoding: %s\n%q", diff, text)
		}
	})
}

// checkPlaces checks that every node lies in the document.
func checkPlaces(t *testing.T, doc *Document, n *Node) {
	p := n.Pos()
	if p.Line < 1 || p.Line > len(doc.lines) || p.Column < 1 {
		t.Fatalf("%v %q lies at %s of %d lines", n.Kind, n.Text, p, len(doc.lines))
	}
	for _, e := range n.Entries {
		checkPlaces(t, doc, e.Name)
		checkPlaces(t, doc, e.Value)
	}
	for _, item := range n.Items {
		checkPlaces(t, doc, item)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("a.b=1", 4)
	f.Add("é=[x, y]", 3)
	f.Fuzz(func(t *testing.T, line string, at int) {
		if at < 0 || at > len(line) {
			return
		}
		if doc, err := ParseLine("--set", line, at); err == nil {
			_ = Encode(doc.Root)
		} else if err.Error() == "" {
			t.Fatal("an empty error")
		}
	})
}
