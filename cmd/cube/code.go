package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
)

// shownFiles is how many changed files of a producer are named.
const shownFiles = 3

// nameFiles says of changes of a producer's own code which files are others than
// before, where both are on this machine.
func (x *foresight) nameFiles(ctx context.Context, v *graph.Vertex, before json.RawMessage, found []cause) error {
	for i := range found {
		c := &found[i]
		if !c.code {
			continue
		}
		var was struct {
			Shared struct{ Image graph.Image }
		}
		if err := json.Unmarshal(before, &was); err != nil {
			return err
		}
		old, now := was.Shared.Image.DiffIDs, v.Instance.Image.DiffIDs
		if len(old) == 0 || len(now) == 0 {
			continue
		}
		differ, err := x.proj.Images.Differ(ctx, old[len(old)-1], now[len(now)-1])
		if err != nil {
			return err
		}
		c.Sentence = strings.Replace(c.Sentence, " changed (", " changed"+filesText(differ)+" (", 1)
	}
	return nil
}

// filesText names files that differ: ": /app/main.py from line 3 on".
func filesText(all []images.Difference) string {
	var names []string
	for _, d := range all[:min(len(all), shownFiles)] {
		name := d.Path
		if d.Line > 0 {
			name += fmt.Sprintf(" from line %d on", d.Line)
		}
		names = append(names, name)
	}
	switch more := len(all) - len(names); {
	case len(names) == 0:
		return ""
	case more > 0:
		names = append(names, plural(more, "other file"))
	}
	return ": " + strings.Join(names, ", ")
}
