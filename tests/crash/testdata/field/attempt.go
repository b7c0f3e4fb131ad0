package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// attempt fails where the params say so: the tile of the first cell for good, or
// any tile until it has asked for another attempt often enough. How often that
// was is in the checkpoint, which grows by a letter a time.
func (r *request) attempt() error {
	if r.Params.Fail && r.Tile.Y.Lo == 0 && r.Tile.X.Lo == 0 {
		return errors.New("told to fail")
	}
	if r.Params.Again == 0 {
		return nil
	}
	const state = "/cube/checkpoint/attempts"
	before, err := os.ReadFile(state)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(bytes.Trim(before, "x")) > 0 {
		return fmt.Errorf("the checkpoint holds %q", before)
	}
	if len(before) >= r.Params.Again {
		return nil
	}
	if err := os.WriteFile(state, append(before, 'x'), 0o644); err != nil {
		return err
	}
	os.Exit(75)
	return nil
}
