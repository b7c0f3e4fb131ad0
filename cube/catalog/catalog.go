package catalog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	duckdb "github.com/marcboeker/go-duckdb/v2"
)

// Errors of this package.
var (
	// ErrBusy is another writer that did not finish within Config.Wait.
	ErrBusy = errors.New("another process is updating the catalog")
	// ErrDamaged is a catalog that cannot be read.
	ErrDamaged = errors.New("catalog is damaged")
	// ErrClosed is a catalog that was closed.
	ErrClosed = errors.New("catalog is closed")

	// errSchema is a catalog of another schema, which is made anew.
	errSchema = errors.New("catalog has another schema")
)

// Config says how to open a catalog. The zero value is useful where nothing is
// to be fed.
type Config struct {
	// Sources feed the catalog, in this order.
	Sources []Source
	// Memory bounds what DuckDB uses, in bytes. Zero is 512 MiB.
	Memory int64
	// Threads is how many it runs. Zero is the number of processors, at most 4.
	Threads int
	// Wait is how long an update waits for another process's. Zero is 30 s.
	Wait time.Duration
	// Notice, if not nil, is told what a person should know: that a damaged
	// catalog was set aside.
	Notice func(string)
}

func (c Config) withDefaults() Config {
	if c.Memory <= 0 {
		c.Memory = 512 << 20
	}
	if c.Threads <= 0 {
		c.Threads = min(4, runtime.NumCPU())
	}
	if c.Wait <= 0 {
		c.Wait = 30 * time.Second
	}
	if c.Notice == nil {
		c.Notice = func(string) {}
	}
	return c
}

// Catalog is the index of a cube. Its methods may be called at once.
type Catalog struct {
	path string
	cfg  Config

	writing sync.Mutex // one update at a time

	mu     sync.Mutex
	reader *reader // nil until it is needed
	closed bool
}

// Open returns the catalog at path. It touches no disk: DuckDB is opened, and a
// catalog that is not there is made, when it is first asked.
func Open(path string, cfg Config) *Catalog {
	return &Catalog{path: path, cfg: cfg.withDefaults()}
}

// Close closes the catalog. Rows that are still read stay valid.
func (c *Catalog) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.dropReader()
}

// reader is one opened state of the catalog. It is closed when nobody reads
// from it any more.
type reader struct {
	db   *sql.DB
	file os.FileInfo

	mu     sync.Mutex
	users  int
	retire bool
	lookup *sql.Stmt // prepared when it is first needed
}

// acquire returns the current state of the catalog, and makes the catalog where
// there is none. The caller must release it.
func (c *Catalog) acquire(ctx context.Context) (*reader, error) {
	for range 3 {
		r, err := c.current(ctx)
		if err == nil {
			return r, nil
		}
		if !remakable(err) {
			return nil, err
		}
		if err := c.remake(ctx, err, nil); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("open catalog %s: %w again and again", c.path, ErrDamaged)
}

// remakable reports whether an error goes away when the catalog is made anew.
func remakable(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, errSchema) || errors.Is(err, ErrDamaged)
}

// current opens the catalog's file, unless it is the one that is open.
func (c *Catalog) current(ctx context.Context) (*reader, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	fi, err := os.Stat(c.path)
	if err != nil {
		return nil, fmt.Errorf("open catalog: %w", err)
	}
	if c.reader == nil || !os.SameFile(fi, c.reader.file) {
		if err := c.dropReader(); err != nil {
			return nil, err
		}
		db, err := c.openFile(ctx, c.path, true)
		if err != nil {
			return nil, err
		}
		c.reader = &reader{db: db, file: fi}
	}
	c.reader.mu.Lock()
	defer c.reader.mu.Unlock()
	c.reader.users++
	return c.reader, nil
}

// dropReader closes the open state as soon as nobody uses it.
func (c *Catalog) dropReader() error {
	r := c.reader
	if r == nil {
		return nil
	}
	c.reader = nil
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retire = true
	return r.closeIfUnused()
}

func (r *reader) release() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users--
	return r.closeIfUnused()
}

func (r *reader) closeIfUnused() error {
	if r.users > 0 || !r.retire {
		return nil
	}
	return r.db.Close()
}

// openFile opens a catalog's file in a DuckDB of its own, and checks that it is
// one. No SQL reaches any other file, the network or an extension.
func (c *Catalog) openFile(ctx context.Context, path string, readOnly bool) (*sql.DB, error) {
	db, err := c.attach(path, readOnly)
	if err != nil {
		return nil, err
	}
	if readOnly {
		if err := check(ctx, db); err != nil {
			return nil, errors.Join(classify(path, err), db.Close())
		}
	} else if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(classify(path, err), db.Close())
	}
	return db, nil
}

// attach opens path beside an empty database in memory, because DuckDB would
// otherwise share one open file between all that use the same path, and a file
// that was renamed over it would not be seen.
func (c *Catalog) attach(path string, readOnly bool) (*sql.DB, error) {
	if strings.ContainsRune(path, '?') {
		return nil, fmt.Errorf("open catalog %s: DuckDB cannot use a path with a question mark", path)
	}
	mode := ""
	if readOnly {
		mode = " (READ_ONLY)"
	}
	once := []string{
		fmt.Sprintf("SET memory_limit = '%dMiB'", max(1, c.cfg.Memory>>20)),
		fmt.Sprintf("SET threads = %d", c.cfg.Threads),
		"SET temp_directory = " + quote(fmt.Sprintf("%s%s%016x", c.path, spillWord, rand.Uint64())),
		"SET autoinstall_known_extensions = false",
		"SET autoload_known_extensions = false",
		"ATTACH " + quote(path) + " AS cube" + mode,
		"SET enable_external_access = false",
		"SET lock_configuration = true",
	}
	var attached bool // the connector makes its connections one after the other
	var mu sync.Mutex
	connector, err := duckdb.NewConnector("", func(conn driver.ExecerContext) error {
		mu.Lock()
		defer mu.Unlock()
		if !attached {
			for _, q := range once {
				if _, err := conn.ExecContext(context.Background(), q, nil); err != nil {
					return err
				}
			}
			attached = true
		}
		_, err := conn.ExecContext(context.Background(), "USE cube", nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open catalog %s: %w", path, err)
	}
	return sql.OpenDB(connector), nil
}

func check(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "SELECT schema_version FROM meta").Scan(&version); err != nil {
		return err
	}
	if version != SchemaVersion {
		return fmt.Errorf("schema %d: %w", version, errSchema)
	}
	return nil
}

// classify says whether DuckDB's error is about a file that it cannot read.
func classify(path string, err error) error {
	switch {
	case errors.Is(err, errSchema), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("open catalog %s: %w", path, err)
	case errors.Is(err, sql.ErrNoRows), damaged(err), missingTable(err):
		return fmt.Errorf("open catalog %s: %w: %v", path, ErrDamaged, err)
	}
	return fmt.Errorf("open catalog %s: %w", path, err)
}

// damaged reports whether an error of DuckDB says that the file is not as it
// was written.
func damaged(err error) bool {
	var e *duckdb.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Type {
	case duckdb.ErrorTypeSerialization, duckdb.ErrorTypeInternal, duckdb.ErrorTypeFatal, duckdb.ErrorTypeStat:
		return true
	case duckdb.ErrorTypeIO:
		for _, s := range []string{"orrupt", "not a valid DuckDB", "checksum", "could not read", "Could not read", "different version", "version number", "storage version"} {
			if strings.Contains(e.Msg, s) {
				return true
			}
		}
	}
	return false
}

func missingTable(err error) bool {
	var e *duckdb.Error
	return errors.As(err, &e) && e.Type == duckdb.ErrorTypeCatalog
}

// quote is an SQL string.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
