package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// randomPicture has edges from earlier to later nodes only.
func randomPicture(r *rand.Rand) *picture {
	p := &picture{byID: map[string]*pictureNode{}}
	for i := range 2 + r.IntN(30) {
		kind := []nodeKind{nodeSource, nodeProducer, nodeVariable, nodeImport}[r.IntN(4)]
		n := p.node(kind, fmt.Sprintf("n%d%s", i, strings.Repeat("x", r.IntN(20))))
		n.State = []state{"", stateClean, stateDirty, stateNone, stateUnknown}[r.IntN(5)]
		for _, m := range p.Nodes[:i] {
			if r.IntN(i+1) < 2 {
				p.edge(m, n)
			}
		}
	}
	return p
}

func TestNodesNeverOverlapAndEdgesLeadToTheRight(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		p := randomPicture(rand.New(rand.NewPCG(seed, 1)))
		l := p.layOut()
		for _, column := range l.columns {
			for i := 1; i < len(column); i++ {
				a, b := column[i-1], column[i]
				if a.y+a.height()/2 > b.y-b.height()/2+1e-6 {
					t.Fatalf("seed %d: %v and %v overlap", seed, a, b)
				}
			}
		}
		for _, n := range p.Nodes {
			at := l.of[n]
			if at.x-at.width/2 < 0 || at.x+at.width/2 > l.width || at.y < 0 || at.y > l.height {
				t.Errorf("seed %d: %s lies outside", seed, n.Label)
			}
			for _, m := range n.to {
				if at.x+at.width/2 >= l.of[m].x-l.of[m].width/2 {
					t.Errorf("seed %d: %s does not lie left of %s", seed, n.Label, m.Label)
				}
			}
		}
	}
}

func TestAPictureIsTheSameEveryTimeAndWellFormed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		var one, two bytes.Buffer
		for _, b := range []*bytes.Buffer{&one, &two} {
			p := randomPicture(rand.New(rand.NewPCG(seed, 1)))
			p.Nodes[0].Label, p.Nodes[0].Detail = `<&">`, "a\nb"
			if err := p.writeSVG(b); err != nil {
				t.Fatal(err)
			}
		}
		if one.String() != two.String() {
			t.Errorf("seed %d: two pictures of one graph differ", seed)
		}
		d := xml.NewDecoder(&one)
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
}

func TestACycleOfContractsIsDrawnAllTheSame(t *testing.T) {
	t.Parallel()
	p := &picture{byID: map[string]*pictureNode{}}
	a, b := p.node(nodeVariable, "a"), p.node(nodeProducer, "b")
	p.edge(a, b)
	p.edge(b, a)
	var out bytes.Buffer
	if err := p.writeSVG(&out); err != nil || !strings.Contains(out.String(), ">a</text>") {
		t.Errorf("%v\n%s", err, out.String())
	}
	p.targets, a.target = []string{"a"}, true
	if err := p.writeText(&out); err != nil {
		t.Error(err)
	}
}

func TestLabelsAreQuotedInEveryLanguage(t *testing.T) {
	t.Parallel()
	p := &picture{byID: map[string]*pictureNode{}}
	p.edge(p.node(nodeSource, `a"b\c`), p.node(nodeProducer, "<x>"))
	var dot, mermaid bytes.Buffer
	if err := errors.Join(p.writeDot(&dot), p.writeMermaid(&mermaid)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(dot.String(), `label="a\"b\\c"`) {
		t.Error(dot.String())
	}
	if !strings.Contains(mermaid.String(), `[("a#quot;b\c")]`) || !strings.Contains(mermaid.String(), `["#lt;x#gt;"]`) {
		t.Error(mermaid.String())
	}
}
