package source

import (
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/cubebuild/cube/graph"
)

// Whereabouts is what a machine knows of a pinned source without reading it.
type Whereabouts struct {
	// Here says that its bytes are in the cache, or are the file that it names.
	Here bool
	// Changed says that the file that it names is not what is pinned.
	Changed bool
	// Fetched is when it came over the network; zero: it did not, or to another
	// machine.
	Fetched time.Time
}

// Locate says where a source is that is pinned as told, by what is remembered of
// it: a file of the same size is taken for the same, where nobody has read it since.
func (c *Cache) Locate(base, uri string, p Pin) (w Whereabouts, err error) {
	_, w.Here = c.Path(p.SHA256)
	path, local, err := localPath(base, uri)
	switch {
	case err != nil:
		return w, err
	case !local:
		if last, ok := c.hint(graph.Sum([]byte(uri)).Hex()); ok && last.SHA256 == p.SHA256 {
			w.Fetched = time.Unix(0, last.Time)
		}
		return w, nil
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return w, nil
	}
	if err != nil {
		return w, err
	}
	known, ok := c.stats.get(path, info)
	w.Changed = !p.SHA256.IsZero() && (info.Size() != p.Size && p.Size > 0 || ok && known.SHA256 != p.SHA256)
	w.Here = w.Here || !w.Changed
	return w, nil
}
