package cube

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cubebuild/cube/graph"
)

// goneSuffix ends the name of a checkpoint that is being removed.
const goneSuffix = ".gone"

// Checkpoint returns the folder in which an action may leave, for its next
// attempt, how far it came. It makes it where there is none; whoever uses it has
// claimed the action. It stays until DropCheckpoint, whatever becomes of the
// process.
func (c *Cube) Checkpoint(id graph.ActionID) (dir string, err error) {
	if err := os.MkdirAll(c.Path("checkpoints"), 0o777); err != nil {
		return "", fmt.Errorf("checkpoint: %w", err)
	}
	dir, err = filepath.Abs(c.Path("checkpoints", id.Hex()))
	if err == nil {
		err = os.Mkdir(dir, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("checkpoint: %w", err)
	}
	return dir, nil
}

// DropCheckpoint removes an action's checkpoint, if there is one: at once as far
// as the next attempt is concerned, whatever interrupts the removal.
func (c *Cube) DropCheckpoint(id graph.ActionID) error {
	gone := c.Path("checkpoints", id.Hex()+"."+rand.Text()+goneSuffix)
	err := os.Rename(c.Path("checkpoints", id.Hex()), gone)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = removeAll(gone)
	}
	if err != nil {
		return fmt.Errorf("drop checkpoint: %w", err)
	}
	return nil
}

// HasCheckpoint reports whether an action left a checkpoint.
func (c *Cube) HasCheckpoint(id graph.ActionID) bool {
	_, err := os.Lstat(c.Path("checkpoints", id.Hex()))
	return err == nil
}

// CollectCheckpoints drops the checkpoints that keep does not want. It is given
// when something last changed at the top of each. Nobody else may use the cube.
func (c *Cube) CollectCheckpoints(keep func(id graph.ActionID, changed time.Time) (bool, error)) (dropped int, err error) {
	entries, err := readDir(c.Path("checkpoints"))
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		id, err := graph.ParseDigest(e.Name())
		if err != nil {
			continue // on its way out
		}
		info, err := e.Info()
		if err != nil {
			return dropped, err
		}
		wanted, err := keep(id, info.ModTime())
		if err != nil {
			return dropped, err
		}
		if wanted {
			continue
		}
		if err := c.DropCheckpoint(id); err != nil {
			return dropped, err
		}
		dropped++
	}
	return dropped, nil
}

// sweepCheckpoints removes the checkpoints whose removal was interrupted. Who
// removes one at this moment does not mind.
func (c *Cube) sweepCheckpoints() error {
	entries, err := readDir(c.Path("checkpoints"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), goneSuffix) {
			if err := removeAll(c.Path("checkpoints", e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
