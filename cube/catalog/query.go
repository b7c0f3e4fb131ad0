package catalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/big"
	"time"

	duckdb "github.com/marcboeker/go-duckdb/v2"

	"github.com/cubebuild/cube/graph"
)

// Column is a column of a result.
type Column struct {
	Name string
	Type string // as DuckDB names it: VARCHAR, BIGINT, …
}

// Rows is the result of a query. It must be closed; it is the state of the
// catalog at the time of the query, whatever is updated meanwhile.
type Rows struct {
	Columns []Column

	rows   *sql.Rows
	reader *reader
	path   string
	closed bool
}

// Query runs SQL that only reads. It is the user's own SQL: it reaches no file
// and no network, and cannot change the catalog. A damaged catalog is made anew
// and asked again. Call [Catalog.Update] before to see what is new.
func (c *Catalog) Query(ctx context.Context, query string, args ...any) (*Rows, error) {
	for try := 0; ; try++ {
		r, err := c.acquire(ctx)
		if err != nil {
			return nil, err
		}
		rows, err := r.query(ctx, c.path, query, args)
		if err == nil {
			return rows, nil
		}
		r.release()
		if try > 0 || !errors.Is(err, ErrDamaged) {
			return nil, err
		}
		if err := c.remake(ctx, err, r.file); err != nil {
			return nil, err
		}
	}
}

func (r *reader) query(ctx context.Context, path, query string, args []any) (*Rows, error) {
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, queryError(path, err)
	}
	types, err := rows.ColumnTypes()
	if err != nil {
		rows.Close()
		return nil, queryError(path, err)
	}
	out := &Rows{rows: rows, reader: r, path: path, Columns: make([]Column, len(types))}
	for i, t := range types {
		out.Columns[i] = Column{t.Name(), t.DatabaseTypeName()}
	}
	return out, nil
}

func queryError(path string, err error) error {
	if damaged(err) {
		return fmt.Errorf("query catalog %s: %w: %v", path, ErrDamaged, err)
	}
	return fmt.Errorf("query: %w", err)
}

// All yields the rows. A value is nil, bool, int64, uint64, *big.Int, float64,
// string, []byte, time.Time (UTC), []any or map[string]any. The slice is valid
// until the next row. All closes Rows when it ends.
func (r *Rows) All() iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		defer r.Close()
		values, into := make([]any, len(r.Columns)), make([]any, len(r.Columns))
		for i := range values {
			into[i] = &values[i]
		}
		for r.rows.Next() {
			if err := r.rows.Scan(into...); err != nil {
				yield(nil, queryError(r.path, err))
				return
			}
			for i := range values {
				values[i] = plain(typed(values[i], r.Columns[i].Type))
			}
			if !yield(values, nil) {
				return
			}
		}
		if err := r.rows.Err(); err != nil {
			yield(nil, queryError(r.path, err))
		}
	}
}

// Close ends the query. It may be called more than once.
func (r *Rows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	return errors.Join(r.rows.Close(), r.reader.release())
}

// typed tells a UUID, which comes as bytes, from bytes.
func typed(v any, columnType string) any {
	if b, ok := v.([]byte); ok && columnType == "UUID" && len(b) == len(duckdb.UUID{}) {
		id := duckdb.UUID(b)
		return id.String()
	}
	return v
}

// plain turns DuckDB's values into those of Rows.All.
func plain(v any) any {
	switch v := v.(type) {
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return uint64(v)
	case uint16:
		return uint64(v)
	case uint32:
		return uint64(v)
	case float32:
		return float64(v)
	case *big.Int:
		if v != nil && v.IsInt64() {
			return v.Int64()
		}
		return v
	case time.Time:
		return v.UTC()
	}
	return plainDuckDB(v)
}

func plainDuckDB(v any) any {
	switch v := v.(type) {
	case duckdb.Decimal:
		return v.Float64()
	case duckdb.Interval:
		return fmt.Sprintf("%d months %d days %s", v.Months, v.Days, time.Duration(v.Micros)*time.Microsecond)
	case duckdb.Union:
		return plain(v.Value)
	case duckdb.Map:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[fmt.Sprint(plain(k))] = plain(e)
		}
		return out
	case map[string]any:
		for k, e := range v {
			v[k] = plain(e)
		}
		return v
	case []any:
		for i, e := range v {
			v[i] = plain(e)
		}
		return v
	}
	return v
}

// lookup is the query of Versions.
const lookup = `SELECT version, kind, dtype, units, crs, dx, dy, west, south, east, north,
	epoch(start_time)::BIGINT, epoch(end_time)::BIGINT, step_s, native_res_m, schema, complete, bytes, created
	FROM versions WHERE variable = ?`

// Found is what the catalog knows of a version.
type Found struct {
	Version                  graph.Digest
	Kind                     graph.Kind
	DType                    graph.DType
	Units                    string
	CRS                      string
	DX, DY                   float64
	West, South, East, North float64
	Start, End, Step         int64   // Unix seconds; Step is 0 without time
	Native                   float64 // ground metres; 0: unknown
	Schema                   int
	Complete                 bool
	Bytes                    int64
	Created                  time.Time
}

// Versions returns the versions of a variable, in no order.
func (c *Catalog) Versions(ctx context.Context, variable string) ([]Found, error) {
	r, err := c.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer r.release()
	stmt, err := r.lookupStmt(ctx)
	if err != nil {
		return nil, queryError(c.path, err)
	}
	rows, err := stmt.QueryContext(ctx, variable)
	if err != nil {
		return nil, queryError(c.path, err)
	}
	defer rows.Close()
	var found []Found
	for rows.Next() {
		f, err := scanFound(rows)
		if err != nil {
			return nil, queryError(c.path, err)
		}
		found = append(found, f)
	}
	if err := rows.Err(); err != nil {
		return nil, queryError(c.path, err)
	}
	return found, nil
}

// lookupStmt prepares lookup once for each opened state.
func (r *reader) lookupStmt(ctx context.Context) (*sql.Stmt, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lookup == nil {
		stmt, err := r.db.PrepareContext(ctx, lookup)
		if err != nil {
			return nil, err
		}
		r.lookup = stmt // closed with the database
	}
	return r.lookup, nil
}

func scanFound(rows *sql.Rows) (Found, error) {
	var f Found
	var version string
	var kind, dtype, units, crs sql.NullString
	var dx, dy, west, south, east, north, native sql.NullFloat64
	var start, end, step, schema, size sql.NullInt64
	var complete sql.NullBool
	var created sql.NullTime
	err := rows.Scan(&version, &kind, &dtype, &units, &crs, &dx, &dy, &west, &south, &east, &north,
		&start, &end, &step, &native, &schema, &complete, &size, &created)
	if err != nil {
		return f, err
	}
	f = Found{Kind: graph.Kind(kind.String), DType: graph.DType(dtype.String), Units: units.String, CRS: crs.String,
		DX: dx.Float64, DY: dy.Float64, West: west.Float64, South: south.Float64, East: east.Float64, North: north.Float64,
		Start: start.Int64, End: end.Int64, Step: step.Int64, Native: native.Float64,
		Schema: int(min(schema.Int64, math.MaxInt32)), Complete: complete.Bool, Bytes: size.Int64, Created: created.Time}
	f.Version, err = graph.ParseDigest(version)
	return f, err
}
