package catalog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

const (
	benchVariables = 10_000
	benchVersions  = 100 // of each
)

// versions is a source of a million versions.
type versions struct{}

func (versions) Feed(ctx context.Context, b *Batch) error {
	if _, done := b.Mark("versions"); done {
		return nil
	}
	for n := range benchVersions {
		for v := range benchVariables {
			name := fmt.Sprint("variable_", v)
			err := b.Add(Version{Variable: name, Version: digest(fmt.Sprint(v, n)), Spec: graph.VarSpec{Name: name, Kind: graph.Static, DType: graph.Float32, Units: "m", Schema: 1},
				Grid:   grid.Grid{Lattice: grid.Lattice{CRS: "EPSG:32613", DX: 30, DY: 30}, Box: grid.Box{Y: grid.Range{Hi: 4096}, X: grid.Range{Hi: 4096}}},
				Native: 30, Complete: true, Bytes: 4096 * 4096 * 4, Created: time.Unix(int64(n), 0)})
			if err != nil {
				return err
			}
		}
	}
	b.SetMark("versions", Mark{At: 1})
	return nil
}

// BenchmarkVersionsOfAVariableAmongAMillion compares the catalog's lookup with
// DuckDB's own, the same statement prepared once on the same file.
func BenchmarkVersionsOfAVariableAmongAMillion(b *testing.B) {
	c := Open(filepath.Join(b.TempDir(), "catalog.duckdb"), Config{Sources: []Source{versions{}}})
	defer c.Close()
	stats, err := c.Update(b.Context())
	must(b, err)
	b.Logf("%d rows in %v", stats.Rows, stats.Took)
	random := func() string { return fmt.Sprint("variable_", rand.IntN(benchVariables)) }

	b.Run("cube", func(b *testing.B) {
		for b.Loop() {
			found, err := c.Versions(b.Context(), random())
			must(b, err)
			if len(found) != benchVersions {
				b.Fatalf("%d versions", len(found))
			}
		}
	})
	b.Run("duckdb", func(b *testing.B) {
		db, err := c.openFile(b.Context(), c.path, true)
		must(b, err)
		defer db.Close()
		stmt, err := db.PrepareContext(b.Context(), lookup)
		must(b, err)
		for b.Loop() {
			rows, err := stmt.QueryContext(b.Context(), random())
			must(b, err)
			n := 0
			for rows.Next() {
				n++
			}
			must(b, rows.Close())
			if n != benchVersions {
				b.Fatalf("%d versions", n)
			}
		}
	})
}

// BenchmarkUpdate is of a catalog of 10,000 actions.
func BenchmarkUpdate(b *testing.B) {
	for name, n := range map[string]int64{"nothing new": 0, "one action": 1} {
		b.Run(name, func(b *testing.B) {
			source := &counter{n: 10_000}
			path := filepath.Join(b.TempDir(), "catalog.duckdb")
			for b.Loop() {
				c := Open(path, Config{Sources: []Source{source}})
				source.add(n)
				_, err := c.Update(b.Context())
				must(b, err)
				must(b, c.Close())
			}
		})
	}
}
