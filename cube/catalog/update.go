package catalog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	duckdb "github.com/marcboeker/go-duckdb/v2"
)

// Source feeds a catalog from records.
type Source interface {
	// Feed adds to the batch what is newer than its marks, and moves the marks.
	// Rows and marks become visible together or not at all. Feed is called
	// again and again and must add each record once.
	Feed(ctx context.Context, b *Batch) error
}

// Mark says how far a record was read; its meaning is the source's own.
type Mark struct {
	At    int64
	State string
}

// Stats say what an update did.
type Stats struct {
	Rows int64
	Took time.Duration
}

// Batch is one update. It is used by one goroutine.
type Batch struct {
	c     *Catalog
	ctx   context.Context // of the update that the batch is an argument of
	marks map[string]Mark
	moved map[string]bool // marks to be written
	rows  int64

	w *writer // nil until something is written
}

// Mark returns a mark.
func (b *Batch) Mark(name string) (Mark, bool) {
	m, ok := b.marks[name]
	return m, ok
}

// Marks returns the marks whose names have a prefix. The map is the caller's.
func (b *Batch) Marks(prefix string) map[string]Mark {
	out := map[string]Mark{}
	for name, m := range b.marks {
		if strings.HasPrefix(name, prefix) {
			out[name] = m
		}
	}
	return out
}

// SetMark moves a mark.
func (b *Batch) SetMark(name string, m Mark) {
	if b.marks[name] != m {
		b.marks[name], b.moved[name] = m, true
	}
}

// DropMark removes a mark.
func (b *Batch) DropMark(name string) {
	delete(b.marks, name)
	b.moved[name] = true
}

// Add adds a row.
func (b *Batch) Add(row Row) error {
	w, err := b.writer()
	if err != nil {
		return err
	}
	b.rows++
	return w.add(row)
}

// forgettable are the tables whose rows belong to a run.
var forgettable = []string{"runs", "vertices", "inputs", "outputs", "sources", "actions"}

// Forget removes the rows of a run.
func (b *Batch) Forget(run string) error {
	for _, table := range forgettable {
		if err := b.delete("DELETE FROM "+table+" WHERE run = ?", run); err != nil {
			return err
		}
	}
	return nil
}

// ForgetRun removes the row of a run from runs, so that a newer one can be
// added.
func (b *Batch) ForgetRun(run string) error { return b.delete("DELETE FROM runs WHERE run = ?", run) }

// ForgetHeads removes all heads.
func (b *Batch) ForgetHeads() error { return b.delete("DELETE FROM heads") }

// ForgetVersions removes the rows of a variable's versions.
func (b *Batch) ForgetVersions(variable string) error {
	return b.delete("DELETE FROM versions WHERE variable = ?", variable)
}

func (b *Batch) delete(query string, args ...any) error {
	w, err := b.writer()
	if err != nil {
		return err
	}
	return w.exec(b.ctx, query, args...)
}

// writer makes the copy that is written to, once something is.
func (b *Batch) writer() (*writer, error) {
	if b.w == nil {
		w, err := b.c.newWriter(b.ctx, false)
		if err != nil {
			return nil, err
		}
		b.w = w
	}
	return b.w, nil
}

// Update adds what the sources have that is new. Where there is nothing it
// writes nothing.
func (c *Catalog) Update(ctx context.Context) (Stats, error) {
	start := time.Now()
	c.writing.Lock()
	defer c.writing.Unlock()
	unlock, err := c.lock(ctx)
	if err != nil {
		return Stats{}, err
	}
	defer unlock()
	rows, err := c.update(ctx)
	if remakable(err) {
		rows, err = c.rebuild(ctx, err)
	}
	return Stats{rows, time.Since(start)}, err
}

// Rebuild makes the catalog anew.
func (c *Catalog) Rebuild(ctx context.Context) (Stats, error) {
	start := time.Now()
	c.writing.Lock()
	defer c.writing.Unlock()
	unlock, err := c.lock(ctx)
	if err != nil {
		return Stats{}, err
	}
	defer unlock()
	rows, err := c.rebuild(ctx, nil)
	return Stats{rows, time.Since(start)}, err
}

// remake makes the catalog anew because of what is wrong with it, unless
// another process has done so meanwhile: where bad names the file that is
// damaged, another file has taken its place, or else it can be opened now.
func (c *Catalog) remake(ctx context.Context, cause error, bad os.FileInfo) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if r, err := c.current(ctx); err == nil {
		defer r.release()
		if bad == nil || !os.SameFile(bad, r.file) {
			return nil
		}
	}
	_, err = c.rebuild(ctx, cause)
	return err
}

// update is Update under the lock.
func (c *Catalog) update(ctx context.Context) (int64, error) {
	marks, err := c.readMarks(ctx)
	if err != nil {
		return 0, err
	}
	b := &Batch{c: c, ctx: ctx, marks: marks, moved: map[string]bool{}}
	return b.run()
}

// rebuild makes a new file under the lock. Where cause says that the present
// one is damaged it is set aside first.
func (c *Catalog) rebuild(ctx context.Context, cause error) (int64, error) {
	if errors.Is(cause, ErrDamaged) {
		bad := c.path + ".bad"
		if err := os.Rename(c.path, bad); err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, fmt.Errorf("set damaged catalog aside: %w", err)
		}
		c.cfg.Notice(fmt.Sprintf("the catalog was damaged (%v); it was set aside as %s and is made anew", cause, filepath.Base(bad)))
	}
	w, err := c.newWriter(ctx, true)
	if err != nil {
		return 0, err
	}
	b := &Batch{c: c, ctx: ctx, marks: map[string]Mark{}, moved: map[string]bool{}, w: w}
	return b.run()
}

// run has the sources feed the batch and publishes it.
func (b *Batch) run() (int64, error) {
	err := b.feed()
	if b.w == nil {
		return 0, err
	}
	if err == nil {
		err = b.w.commit(b.ctx)
	}
	if err == nil {
		err = b.w.publish(b.c)
	} else {
		b.w.discard()
	}
	if err != nil {
		return 0, fmt.Errorf("update catalog: %w", err)
	}
	return b.rows, nil
}

func (b *Batch) feed() error {
	for _, s := range b.c.cfg.Sources {
		if err := s.Feed(b.ctx, b); err != nil {
			return err
		}
	}
	for name := range b.moved {
		if err := b.delete("DELETE FROM marks WHERE name = ?", name); err != nil {
			return err
		}
	}
	for name := range b.moved {
		if m, ok := b.marks[name]; ok {
			if err := b.w.add(mark{name, m}); err != nil {
				return err
			}
		}
	}
	return b.ctx.Err()
}

func (c *Catalog) readMarks(ctx context.Context) (map[string]Mark, error) {
	r, err := c.current(ctx)
	if err != nil {
		return nil, err
	}
	defer r.release()
	rows, err := r.db.QueryContext(ctx, "SELECT name, pos, state FROM marks")
	if err != nil {
		return nil, classify(c.path, err)
	}
	defer rows.Close()
	marks := map[string]Mark{}
	for rows.Next() {
		var m mark
		if err := rows.Scan(&m.name, &m.At, &m.State); err != nil {
			return nil, classify(c.path, err)
		}
		marks[m.name] = m.Mark
	}
	if err := rows.Err(); err != nil {
		return nil, classify(c.path, err)
	}
	return marks, nil
}

// writer is a copy of the catalog that is written to, in one transaction.
type writer struct {
	tmp       string
	db        *sql.DB
	conn      *sql.Conn
	appenders map[string]*duckdb.Appender
}

// newWriter begins a transaction on a copy of the catalog, or on an empty one.
func (c *Catalog) newWriter(ctx context.Context, empty bool) (_ *writer, err error) {
	w := &writer{appenders: map[string]*duckdb.Appender{}}
	if w.tmp, err = c.temp(empty); err != nil {
		return nil, fmt.Errorf("update catalog: %w", err)
	}
	defer func() {
		if err != nil {
			w.discard()
		}
	}()
	if w.db, err = c.openFile(ctx, w.tmp, false); err != nil {
		return nil, err
	}
	if w.conn, err = w.db.Conn(ctx); err != nil {
		return nil, classify(w.tmp, err)
	}
	if err := w.exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return nil, classify(w.tmp, err)
	}
	if empty {
		err = w.exec(ctx, Schema+fmt.Sprintf("INSERT INTO meta VALUES (%d);", SchemaVersion))
	}
	return w, err
}

func (w *writer) exec(ctx context.Context, query string, args ...any) error {
	if err := w.flush(); err != nil {
		return err
	}
	_, err := w.conn.ExecContext(ctx, query, args...)
	return err
}

func (w *writer) add(row Row) error {
	table := row.table()
	a := w.appenders[table]
	if a == nil {
		err := w.conn.Raw(func(conn any) (err error) {
			a, err = duckdb.NewAppender(conn.(driver.Conn), "cube", "main", table)
			return err
		})
		if err != nil {
			return fmt.Errorf("append to %s: %w", table, err)
		}
		w.appenders[table] = a
	}
	if err := a.AppendRow(row.values()...); err != nil {
		return fmt.Errorf("append to %s: %w", table, err)
	}
	return nil
}

// flush closes the appenders, so that statements see their rows.
func (w *writer) flush() error {
	var errs []error
	for table, a := range w.appenders {
		if err := a.Close(); err != nil {
			errs = append(errs, fmt.Errorf("append to %s: %w", table, err))
		}
	}
	clear(w.appenders)
	return errors.Join(errs...)
}

// commit ends the transaction and brings all of it into the file.
func (w *writer) commit(ctx context.Context) error {
	if err := w.exec(ctx, "COMMIT"); err != nil {
		return err
	}
	return w.exec(ctx, "CHECKPOINT cube")
}

// publish gives the copy the catalog's name.
func (w *writer) publish(c *Catalog) error {
	if err := errors.Join(w.conn.Close(), w.db.Close()); err != nil {
		return errors.Join(err, removeTemp(w.tmp))
	}
	if err := os.Rename(w.tmp, c.path); err != nil {
		return errors.Join(err, removeTemp(w.tmp))
	}
	return nil
}

// discard gives the copy up.
func (w *writer) discard() {
	w.flush() // what it could not append is not wanted
	if w.conn != nil {
		w.conn.Close()
	}
	if w.db != nil {
		w.db.Close()
	}
	removeTemp(w.tmp)
}

// temp makes a copy of the catalog under a temporary name; an empty one is no
// file yet.
func (c *Catalog) temp(empty bool) (string, error) {
	if err := os.MkdirAll(filepath.Dir(c.path), 0o777); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), filepath.Base(c.path)+tempWord+"*")
	if err != nil {
		return "", err
	}
	if empty {
		// DuckDB makes the file itself.
		return f.Name(), errors.Join(f.Close(), os.Remove(f.Name()))
	}
	err = copyFile(f, c.path)
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func copyFile(to *os.File, path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	if reflink(to, from) == nil {
		return nil
	}
	_, err = io.Copy(to, from)
	return err
}
