package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

func digest(s string) graph.Digest { return graph.Sum([]byte(s)) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// counter is a source of n actions, numbered from 0.
type counter struct {
	mu sync.Mutex
	n  int64
}

func (c *counter) add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *counter) Feed(ctx context.Context, b *Batch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	m, _ := b.Mark("counter")
	for ; m.At < c.n; m.At++ {
		if err := b.Add(anAction(m.At)); err != nil {
			return err
		}
	}
	b.SetMark("counter", m)
	return nil
}

func anAction(n int64) Action {
	return Action{Action: digest(fmt.Sprint(n)), Made: Made{"run", "slope", "default"}, Status: "succeeded",
		Tile:    grid.Box{Y: grid.Range{Lo: n, Hi: n + 1}},
		Outputs: map[string]graph.Digest{"slope": digest("tile")}, Started: time.Unix(n, 0)}
}

// ask returns the rows of a query as text.
func ask(t testing.TB, c *Catalog, query string, args ...any) string {
	t.Helper()
	rows, err := c.Query(t.Context(), query, args...)
	must(t, err)
	return read(t, rows)
}

func read(t testing.TB, rows *Rows) string {
	t.Helper()
	var b strings.Builder
	for row, err := range rows.All() {
		must(t, err)
		for i, v := range row {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprint(&b, v)
		}
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func open(t testing.TB, cfg Config) *Catalog {
	t.Helper()
	c := Open(filepath.Join(t.TempDir(), "it's a %cube", "catalog.duckdb"), cfg)
	t.Cleanup(func() { must(t, c.Close()) })
	return c
}

// alone fails the test where something is left beside the catalog.
func alone(t testing.TB, c *Catalog, others ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(c.path))
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	want := append([]string{"catalog.duckdb"}, others...)
	if d := cmp.Diff(append(want, "catalog.duckdb.lock"), got); d != "" {
		t.Errorf("left behind: %s", d)
	}
}

func TestACatalogIsMadeWhenItIsFirstAsked(t *testing.T) {
	t.Parallel()
	source := &counter{n: 3}
	c := open(t, Config{Sources: []Source{source}})
	if _, err := os.Stat(c.path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("before: %v", err)
	}
	if got := ask(t, c, "SELECT count(*), sum(y0) FROM actions"); got != "3 3" {
		t.Errorf("got %s", got)
	}
	alone(t, c)
}

func TestAnUpdateAddsEachRowOnce(t *testing.T) {
	t.Parallel()
	source := &counter{}
	c := open(t, Config{Sources: []Source{source}})
	for i, n := range []int64{0, 1, 0, 5000, 0, 2} {
		source.add(n)
		stats, err := c.Update(t.Context())
		must(t, err)
		if stats.Rows != n {
			t.Errorf("update %d added %d rows, want %d", i, stats.Rows, n)
		}
	}
	if got := ask(t, c, "SELECT count(*), count(DISTINCT action), max(y0) FROM actions"); got != "5003 5003 5002" {
		t.Errorf("got %s", got)
	}
	_, err := c.Rebuild(t.Context())
	must(t, err)
	if got := ask(t, c, "SELECT count(*), count(DISTINCT action), max(y0) FROM actions"); got != "5003 5003 5002" {
		t.Errorf("rebuilt: %s", got)
	}
	alone(t, c)
}

func TestAnUpdateWithNothingNewWritesNothing(t *testing.T) {
	t.Parallel()
	c := open(t, Config{Sources: []Source{&counter{n: 1}}})
	_, err := c.Update(t.Context())
	must(t, err)
	before, err := os.Stat(c.path)
	must(t, err)
	_, err = c.Update(t.Context())
	must(t, err)
	after, err := os.Stat(c.path)
	must(t, err)
	if !os.SameFile(before, after) {
		t.Error("the file was replaced")
	}
}

func TestAReaderGoesOnBesideUpdates(t *testing.T) {
	t.Parallel()
	source := &counter{n: 10000}
	c := open(t, Config{Sources: []Source{source}})
	rows, err := c.Query(t.Context(), "SELECT y0 FROM actions ORDER BY y0")
	must(t, err)
	n := 0
	for _, err := range rows.All() {
		must(t, err)
		if n++; n%2500 == 0 {
			source.add(1)
			_, err := c.Update(t.Context())
			must(t, err)
			if got := ask(t, c, "SELECT count(*) FROM actions"); got != fmt.Sprint(10000+n/2500) {
				t.Errorf("beside: %s", got)
			}
		}
	}
	if n != 10000 {
		t.Errorf("read %d rows", n)
	}
}

// failing fails once rows are there.
type failing struct{ counter }

func (f *failing) Feed(ctx context.Context, b *Batch) error {
	return errors.Join(f.counter.Feed(ctx, b), errors.New("the disk is gone"))
}

func TestAFailedUpdateChangesNothing(t *testing.T) {
	t.Parallel()
	good := &counter{n: 3}
	c := open(t, Config{Sources: []Source{good}})
	_, err := c.Update(t.Context())
	must(t, err)
	bad := Open(c.path, Config{Sources: []Source{&failing{counter{n: 100}}}})
	defer bad.Close()
	if _, err := bad.Update(t.Context()); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
		t.Errorf("update: %v", err)
	}
	if got := ask(t, c, "SELECT count(*) FROM actions"); got != "3" {
		t.Errorf("got %s", got)
	}
	alone(t, c)
}

func TestWhatSQLMayNotDo(t *testing.T) {
	t.Parallel()
	c := open(t, Config{})
	secret := filepath.Join(t.TempDir(), "secret.csv")
	must(t, os.WriteFile(secret, []byte("a,b\n1,2\n"), 0o644))
	for _, q := range []string{
		"DELETE FROM actions", "DROP TABLE actions", "CREATE TABLE x (a INT)", "INSERT INTO heads VALUES ('a', 'b')",
		"SELECT * FROM read_csv(" + quote(secret) + ")", "SELECT * FROM " + quote(secret), "SELECT * FROM glob('/*')",
		"SELECT * FROM read_text(" + quote(secret) + ")",
		"COPY heads TO " + quote(secret), "EXPORT DATABASE " + quote(filepath.Dir(secret)),
		"ATTACH " + quote(filepath.Join(filepath.Dir(secret), "other.duckdb")), "ATTACH " + quote(c.path) + " AS again",
		"SET enable_external_access = true", "SET memory_limit = '100GB'", "SET lock_configuration = false", "RESET threads",
		"INSTALL httpfs", "LOAD '" + secret + "'", "SELECT 1; DELETE FROM actions",
	} {
		rows, err := c.Query(t.Context(), q)
		if err == nil {
			for _, err = range rows.All() {
				if err != nil {
					break
				}
			}
		}
		if err == nil {
			t.Errorf("%s was done", q)
		}
	}
	if b, err := os.ReadFile(secret); err != nil || !bytes.HasPrefix(b, []byte("a,b")) {
		t.Errorf("the file was changed: %q, %v", b, err)
	}
	if got := ask(t, c, "SELECT 1 + 1"); got != "2" {
		t.Errorf("afterwards: %s", got)
	}
}

func TestValuesAreOfAFewTypes(t *testing.T) {
	t.Parallel()
	c := open(t, Config{})
	huge, _ := new(big.Int).SetString("170141183460469231731687303715884105727", 10)
	for _, v := range []struct {
		sql  string
		want any
	}{
		{"NULL", nil}, {"true", true}, {"1::UTINYINT", uint64(1)}, {"-1::SMALLINT", int64(-1)}, {"sum(1)", int64(1)},
		{huge.String() + "::HUGEINT", huge}, {"1.5", 1.5}, {"0.1::FLOAT", float64(float32(0.1))}, {"'é'", "é"}, {"'ab'::BLOB", []byte("ab")},
		{"TIMESTAMP '2020-09-27 11:00:00'", time.Date(2020, 9, 27, 11, 0, 0, 0, time.UTC)},
		{"DATE '2020-09-27'", time.Date(2020, 9, 27, 0, 0, 0, 0, time.UTC)},
		{"[1, NULL]", []any{int64(1), nil}}, {"{'a': 1, 'b': [2]}", map[string]any{"a": int64(1), "b": []any{int64(2)}}},
		{"map {'k': 1.5}", map[string]any{"k": 1.5}}, {"INTERVAL 1 DAY", "0 months 1 days 0s"},
		{"'5b5cf0d4-86d1-4f0b-8c1d-000000000001'::UUID", "5b5cf0d4-86d1-4f0b-8c1d-000000000001"},
	} {
		rows, err := c.Query(t.Context(), "SELECT "+v.sql)
		must(t, err)
		for row, err := range rows.All() {
			must(t, err)
			if d := cmp.Diff([]any{v.want}, row, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })); d != "" {
				t.Errorf("%s: %s", v.sql, d)
			}
		}
	}
}

func TestColumnsAreNamedAndTyped(t *testing.T) {
	t.Parallel()
	c := open(t, Config{})
	rows, err := c.Query(t.Context(), "SELECT variable, 1::BIGINT AS n FROM heads WHERE variable = ?", "x")
	must(t, err)
	defer rows.Close()
	if d := cmp.Diff([]Column{{"variable", "VARCHAR"}, {"n", "BIGINT"}}, rows.Columns); d != "" {
		t.Error(d)
	}
}

func TestAMistakeInSQLIsNoDamage(t *testing.T) {
	t.Parallel()
	c := open(t, Config{Notice: func(s string) { t.Errorf("notice: %s", s) }})
	if _, err := c.Query(t.Context(), "SELECT nope FROM heads"); err == nil || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "nope") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Query(ctx, "SELECT 1"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestADamagedCatalogIsSetAsideAndMadeAnew(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func([]byte) []byte{
		"empty":     func(b []byte) []byte { return nil },
		"garbage":   func(b []byte) []byte { return bytes.Repeat([]byte("not a database "), 5000) },
		"cut":       func(b []byte) []byte { return b[:len(b)/2] },
		"headless":  func(b []byte) []byte { clear(b[:12288]); return b },
		"zeroed":    func(b []byte) []byte { clear(b[12288:]); return b },
		"bit flips": func(b []byte) []byte { flip(b); return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var notices []string
			c := open(t, Config{Sources: []Source{&counter{n: 5000}}, Notice: func(s string) { notices = append(notices, s) }})
			_, err := c.Update(t.Context())
			must(t, err)
			b, err := os.ReadFile(c.path)
			must(t, err)
			must(t, os.WriteFile(c.path+".new", damage(b), 0o644))
			must(t, os.Rename(c.path+".new", c.path))
			for range 2 {
				if got := ask(t, c, "SELECT count(*), sum(y0) FROM actions"); got != "5000 12497500" {
					t.Errorf("got %s", got)
				}
			}
			if len(notices) != 1 {
				t.Errorf("%d notices: %q", len(notices), notices)
			}
			alone(t, c, "catalog.duckdb.bad")
		})
	}
}

// flip damages one byte in every KiB behind the headers.
func flip(b []byte) {
	for i := 12288 + 100; i < len(b); i += 1024 {
		b[i] ^= 0x10
	}
}

func TestACatalogOfAnotherSchemaIsMadeAnew(t *testing.T) {
	t.Parallel()
	c := open(t, Config{Sources: []Source{&counter{n: 7}}, Notice: func(s string) { t.Errorf("notice: %s", s) }})
	_, err := c.Update(t.Context())
	must(t, err)
	w, err := c.newWriter(t.Context(), false)
	must(t, err)
	must(t, w.exec(t.Context(), "UPDATE meta SET schema_version = 99"))
	must(t, w.exec(t.Context(), "DELETE FROM actions"))
	must(t, w.commit(t.Context()))
	must(t, w.publish(c))
	if got := ask(t, c, "SELECT count(*), (SELECT schema_version FROM meta) FROM actions"); got != fmt.Sprint("7 ", SchemaVersion) {
		t.Errorf("got %s", got)
	}
}

func TestAWriterWaitsForAnotherAndGivesUp(t *testing.T) {
	t.Parallel()
	c := open(t, Config{Sources: []Source{&counter{n: 1}}, Wait: 30 * time.Millisecond})
	must(t, os.MkdirAll(filepath.Dir(c.path), 0o755))
	f, err := os.Create(c.path + ".lock")
	must(t, err)
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	if _, err := c.Update(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("while it is held: %v", err)
	}
	must(t, f.Close())
	_, err = c.Update(t.Context())
	must(t, err)
}

func TestAClosedCatalogSaysSo(t *testing.T) {
	t.Parallel()
	c := open(t, Config{})
	must(t, c.Close())
	if _, err := c.Query(t.Context(), "SELECT 1"); !errors.Is(err, ErrClosed) {
		t.Errorf("query: %v", err)
	}
}

func TestALargeSortSpillsAndLeavesNothing(t *testing.T) {
	t.Parallel()
	c := open(t, Config{Memory: 64 << 20, Threads: 2})
	got := ask(t, c, "SELECT count(*) FROM (SELECT i, hash(i)::VARCHAR || hash(i + 1)::VARCHAR AS s FROM range(3000000) t(i) ORDER BY s)")
	if got != "3000000" {
		t.Errorf("got %s", got)
	}
	must(t, c.Close())
	alone(t, c)
}

func TestVersionsAreFoundByVariable(t *testing.T) {
	t.Parallel()
	made := time.Date(2020, 9, 27, 11, 0, 0, 0, time.UTC)
	lattice := grid.Lattice{CRS: "EPSG:32613", DX: 250, DY: 250, X0: 1000, Y0: 2000}
	wind := Version{Variable: "wind", Version: digest("wind"), Spec: graph.VarSpec{Name: "wind", Kind: graph.Time, DType: graph.Float32, Units: "m/s", Schema: 2},
		Grid:   grid.Grid{Lattice: lattice, Time: grid.TimeAxis{Origin: made.Unix(), Step: 3600}, Box: grid.Box{T: grid.Range{Hi: 24}, Y: grid.Range{Hi: 4}, X: grid.Range{Lo: 1, Hi: 9}}},
		Native: 3000, Complete: true, Bytes: 3072, Created: made}
	table := Version{Variable: "table", Version: digest("table"), Spec: graph.VarSpec{Name: "table", Kind: graph.File, Schema: 1}, Bytes: 12, Created: made}
	c := open(t, Config{Sources: []Source{rows{wind, table, Head{"wind", digest("wind")}}}})
	got, err := c.Versions(t.Context(), "wind")
	must(t, err)
	want := []Found{{Version: digest("wind"), Kind: graph.Time, DType: graph.Float32, Units: "m/s", CRS: "EPSG:32613", DX: 250, DY: 250,
		West: 1250, South: 1000, East: 3250, North: 2000, Start: made.Unix(), End: made.Unix() + 86400, Step: 3600,
		Native: 3000, Schema: 2, Complete: true, Bytes: 3072, Created: made}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	got, err = c.Versions(t.Context(), "table")
	must(t, err)
	if d := cmp.Diff([]Found{{Version: digest("table"), Kind: graph.File, Schema: 1, Bytes: 12, Created: made}}, got); d != "" {
		t.Error(d)
	}
	if got, err := c.Versions(t.Context(), "nothing"); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if got := ask(t, c, "SELECT variable, dims, shape, start_time FROM latest"); got != "wind [time y x] [24 4 8] 2020-09-27 11:00:00 +0000 UTC" {
		t.Errorf("latest: %s", got)
	}
}

// rows is a source of rows that are added once.
type rows []Row

func (r rows) Feed(ctx context.Context, b *Batch) error {
	if _, done := b.Mark("rows"); done {
		return nil
	}
	for _, row := range r {
		if err := b.Add(row); err != nil {
			return err
		}
	}
	b.SetMark("rows", Mark{At: int64(len(r))})
	return nil
}

func TestManyUseOneCatalogAtOnce(t *testing.T) {
	t.Parallel()
	source := &counter{}
	c := open(t, Config{Sources: []Source{source}})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				source.add(10)
				if _, err := c.Update(t.Context()); err != nil {
					t.Error(err)
				}
				rows, err := c.Query(t.Context(), "SELECT count(*) - count(DISTINCT action) FROM actions")
				if err != nil {
					t.Error(err)
					continue
				}
				if got := read(t, rows); got != "0" {
					t.Errorf("rows that are there twice: %s", got)
				}
				if _, err := c.Versions(t.Context(), "x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := ask(t, c, "SELECT count(*) FROM actions"); got != "200" {
		t.Errorf("got %s", got)
	}
}
