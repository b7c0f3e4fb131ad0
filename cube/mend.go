package cube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// MendHeads makes the heads anew where their file is damaged, and reports
// whether it was: each variable shows the last version that the history says
// it moved to, if that is still there; a removed one is among them, since the
// history does not tell. The damaged file is kept beside, as heads.damaged. A file of a format that this program does not know is left as
// it is, and ErrFormat.
func (c *Cube) MendHeads(ctx context.Context) (mended bool, err error) {
	lock, err := c.lockHeads(ctx)
	if err != nil {
		return false, fmt.Errorf("mend heads: %w", err)
	}
	defer lock.Close()
	c.forgetHeads()
	defer c.forgetHeads()
	if _, err := c.readHeads(); err == nil || !errors.Is(err, ErrFormat) {
		return false, err
	}
	if err := c.mendHeads(ctx); err != nil {
		return false, fmt.Errorf("mend heads: %w", err)
	}
	return true, nil
}

// mendHeads does it. The heads' lock is held.
func (c *Cube) mendHeads(ctx context.Context) error {
	b, err := readFile(c.Path("heads"), maxHeads)
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(b, []byte(headsFormat+" ")) {
		return fmt.Errorf("it begins with %.20q: %w", b, ErrFormat)
	}
	heads, err := c.lastMoves(ctx)
	if err != nil {
		return err
	}
	text, err := formatHeads(heads)
	if err != nil {
		return err
	}
	if err := os.Link(c.Path("heads"), c.Path("heads.damaged")); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return writeFile(c.Path("heads"), text, !c.conf.NoSync)
}

// lastMoves returns the last head of each variable in the history whose version
// is there and whole.
func (c *Cube) lastMoves(ctx context.Context) (map[string]Head, error) {
	b, err := readFile(c.Path("history"), maxHistory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	heads := map[string]Head{}
	for line := range bytes.Lines(b) {
		var h Head
		if json.Unmarshal(line, &h) != nil || validHead(h) != nil {
			continue
		}
		v, err := c.LoadVersion(ctx, h.Version)
		if err != nil || !v.Coverage().Complete() {
			continue
		}
		h.Spec = v.Layout().Spec
		heads[h.Variable] = h
	}
	return heads, nil
}
