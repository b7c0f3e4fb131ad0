package main

import (
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/cubebuild/cube/cube/catalog"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

func newQueryCommand(a *app) *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:     "query [SQL]",
		Short:   "ask the catalog",
		GroupID: groupLook,
		Long: `Query runs SQL (DuckDB's) over the catalog: variables, versions, runs, actions,
sources, packages. It only reads. Without SQL it lists the tables and their
columns; with - it reads SQL from standard input.`,
		Example: `  cube query
  cube query "SELECT variable, native_res_m, bytes FROM latest ORDER BY bytes DESC"
  cube query "SELECT * FROM costs"
  cube query "SELECT instance, count(*), sum(wall_s) FROM actions GROUP BY ALL" --format csv
  cube query "SELECT name, uri, digest FROM lineage WHERE \"from\" = 'source'" --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return runQuery(c.Context(), a, format, args) },
	}
	c.Flags().StringVar(&format, "format", "", "table, csv or json (default: table, or json with --json)")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"table", "csv", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// columnsQuery lists what there is to ask.
const columnsQuery = `SELECT c.table_name AS "table", c.column_name AS "column", c.data_type AS "type", t.table_type = 'VIEW' AS "view"
FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema = 'main' AND c.table_name NOT IN ('meta', 'marks') ORDER BY t.table_type DESC, c.table_name, c.ordinal_position`

func runQuery(ctx context.Context, a *app, format string, args []string) error {
	if format == "" {
		format = "table"
		if a.json {
			format = "json"
		}
	}
	write, ok := map[string]func(*app, *catalog.Rows) error{"table": writeTable, "csv": writeCSV, "json": writeJSON}[format]
	if !ok {
		return &usageError{fmt.Errorf("--format %s: want table, csv or json", format)}
	}
	query, err := a.querySQL(args)
	if err != nil {
		return err
	}
	if query == columnsQuery && format == "table" {
		write = writeColumns
	}
	g, err := a.look(ctx)
	if err != nil {
		return err
	}
	if g.cube == nil {
		return &usageError{errors.New("nothing is built yet, so there is nothing to ask\n  build with: cube build")}
	}
	cat := a.catalog(g.cube)
	defer cat.Close()
	if _, err := cat.Update(ctx); err != nil {
		return err
	}
	rows, err := cat.Query(ctx, query)
	if err != nil {
		return queryMistake(ctx, err)
	}
	defer rows.Close()
	return write(a, rows)
}

func (a *app) querySQL(args []string) (string, error) {
	switch {
	case len(args) == 0:
		return columnsQuery, nil
	case args[0] != "-":
		return args[0], nil
	}
	b, err := io.ReadAll(io.LimitReader(a.stdin, 1<<20))
	return string(b), err
}

// queryMistake tells a mistake in the SQL from trouble with the catalog.
func queryMistake(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, catalog.ErrDamaged) || errors.Is(err, catalog.ErrBusy) || errors.Is(err, catalog.ErrClosed) {
		return err
	}
	return &usageError{fmt.Errorf("%w\n  the tables and columns: cube query", err)}
}

// maxTableRows is how many rows a table shows: its columns are as wide as the
// widest cell, so that all of it is held.
const maxTableRows = 10_000

func writeTable(a *app, rows *catalog.Rows) error {
	t := &ui.Table{}
	for _, c := range rows.Columns {
		t.Header = append(t.Header, c.Name)
		t.Right = append(t.Right, numeric(c.Type))
	}
	more := 0
	for row, err := range rows.All() {
		if err != nil {
			return err
		}
		if t.Len() == maxTableRows {
			more++
			continue
		}
		var cells []string
		for _, v := range row {
			cells = append(cells, ui.Printable([]byte(cellOf(v))))
		}
		t.Add(cells...)
	}
	if err := t.Write(a.stdout, a.style(a.stdout)); err != nil {
		return err
	}
	if more > 0 {
		a.notice(fmt.Sprintf("%s more; --format csv or json prints all", plural(more, "row")))
	}
	return nil
}

func numeric(typ string) bool {
	switch typ {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT", "DOUBLE":
		return true
	}
	return strings.HasPrefix(typ, "DECIMAL")
}

// cellOf writes a value as text.
func cellOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case []byte:
		return hex.EncodeToString(v)
	case []any, map[string]any:
		b, err := json.Marshal(jsonOf(v))
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(b)
	}
	return fmt.Sprint(v)
}

// jsonOf is a value as JSON can hold it.
func jsonOf(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
	case *big.Int:
		return json.Number(v.String())
	case time.Time, []byte:
		return cellOf(v)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = jsonOf(e)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[k] = jsonOf(e)
		}
		return out
	}
	return v
}

func writeCSV(a *app, rows *catalog.Rows) error {
	w := csv.NewWriter(a.stdout)
	var cells []string
	for _, c := range rows.Columns {
		cells = append(cells, c.Name)
	}
	if err := w.Write(cells); err != nil {
		return err
	}
	for row, err := range rows.All() {
		if err != nil {
			return err
		}
		cells = cells[:0]
		for _, v := range row {
			cells = append(cells, cellOf(v))
		}
		if err := w.Write(cells); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// writeJSON writes an object a row, its fields in the order of the columns.
func writeJSON(a *app, rows *catalog.Rows) error {
	for row, err := range rows.All() {
		if err != nil {
			return err
		}
		line := []byte{'{'}
		for i, v := range row {
			if i > 0 {
				line = append(line, ',')
			}
			name, err := json.Marshal(rows.Columns[i].Name)
			if err != nil {
				return err
			}
			value, err := json.Marshal(jsonOf(v))
			if err != nil {
				return err
			}
			line = append(append(append(line, name...), ':'), value...)
		}
		if _, err := a.stdout.Write(append(line, '}', '\n')); err != nil {
			return err
		}
	}
	return nil
}

// writeColumns writes what there is to ask, a table a paragraph.
func writeColumns(a *app, rows *catalog.Rows) error {
	s, last := a.style(a.stdout), ""
	var line string
	for row, err := range rows.All() {
		if err != nil {
			return err
		}
		table, word := cellOf(row[0]), cellOf(row[1])+" "+s.Dim(strings.ToLower(cellOf(row[2])))
		switch {
		case table != last:
			kind := ""
			if row[3] == true {
				kind = s.Dim(" (view)")
			}
			if last != "" {
				fmt.Fprintln(a.stdout, line)
			}
			fmt.Fprintf(a.stdout, "%s%s\n", s.Bold(table), kind)
			last, line = table, "  "+word
		case ui.Width(line+", "+word) > 78:
			fmt.Fprintln(a.stdout, line+",")
			line = "  " + word
		default:
			line += ", " + word
		}
	}
	_, err := fmt.Fprintf(a.stdout, "%s\n\n%s\n", line, `cube query "SELECT variable, native_res_m, bytes FROM latest"
cube query "SELECT * FROM timeline LIMIT 10"
cube query "SELECT * FROM costs"`)
	return err
}
