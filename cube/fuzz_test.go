package cube

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

var someRefs = []ChunkRef{
	{Value: graph.Digest{1}, Object: graph.Digest{2}, Size: 3},
	{Value: graph.Digest{4}},
	{Value: graph.Digest{5}, Object: graph.Digest{6}, Size: 1 << 40},
}

func FuzzRefs(f *testing.F) {
	f.Add(EncodeRefs(nil))
	f.Add(EncodeRefs(someRefs))
	f.Add(EncodeRefs(someRefs)[:40])
	f.Add(append(EncodeRefs(someRefs), 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		refs, err := DecodeRefs(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(EncodeRefs(refs), b) {
			t.Fatal("two forms of one list")
		}
	})
}

func FuzzPage(f *testing.F) {
	f.Add(appendRefs(nil, pageMagic, someRefs, []bool{true, true, false}))
	f.Add(appendRefs(nil, pageMagic, someRefs, nil))
	f.Add([]byte(pageMagic + "\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePage(b)
		if err != nil {
			return
		}
		if !bytes.Equal(appendRefs(nil, pageMagic, p.refs, p.covered), b) {
			t.Fatal("two forms of one page")
		}
		p.digest()
	})
}

func FuzzHeads(f *testing.F) {
	whole, err := formatHeads(map[string]Head{"a": {Variable: "a", Version: graph.Digest{1}, Native: 30, Spec: graph.VarSpec{Name: "a"}}, "b": {Variable: "b", Version: graph.Digest{2}}})
	if err != nil {
		f.Fatal(err)
	}
	_, rest, _ := bytes.Cut(whole, []byte("\n"))
	f.Add(rest)
	f.Add([]byte(`{"heads":[]}`))
	f.Add([]byte(`{"heads":[{"variable":"../x","version":"sha256:00"}]}`))
	f.Fuzz(func(t *testing.T, rest []byte) {
		// The digest is made to fit, so that what lies behind it is reached.
		b := append([]byte(headsFormat+" "+graph.Sum(rest).String()+"\n"), rest...)
		heads, err := parseHeads(b)
		if err != nil {
			return
		}
		again, err := formatHeads(heads)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseHeads(again); err != nil {
			t.Fatalf("written again, it is not read: %v", err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	c := newTestCube(f, Config{})
	v := smallVersion(f, c, "dem", 1)
	b, err := os.ReadFile(c.Path("versions", v.Digest().Hex()))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"cube-version/1","spec":{"variable":"x","kind":"file"},"file":{"sha256":"","size":1}}`))
	l := Layout{Spec: graph.VarSpec{Kind: graph.Time}.WithDefaults(), Grid: testGrid(0, 0, 4, 4, 2), Chunk: grid.Tiling{T: 1, Y: 2, X: 2}}
	m, err := json.Marshal(manifest{Format: manifestFormat, Spec: l.Spec, Grid: &l.Grid, Chunk: &l.Chunk, PageSize: pageSize, Pages: make([]pageInfo, 1)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(m)
	f.Fuzz(func(t *testing.T, b []byte) {
		// The digest is made to fit, so that what lies behind it is reached.
		var m manifest
		if json.Unmarshal(b, &m) == nil && m.Grid != nil && m.Chunk != nil {
			var pages []graph.Digest
			for _, p := range m.Pages {
				pages = append(pages, p.Values)
			}
			m.Digest, _ = arrayDigest(Layout{m.Spec, *m.Grid, *m.Chunk}, pages)
			if fixed, err := json.Marshal(m); err == nil {
				b = fixed
			}
		}
		v, err := parseManifest(b)
		if err != nil {
			return
		}
		v.cube = c
		if v.file == nil && v.layout.Chunks() > 0 {
			ti, yi, xi := v.layout.At(v.layout.Chunks() - 1)
			_, _, _ = v.Ref(t.Context(), ti, yi, xi)
		}
	})
}
