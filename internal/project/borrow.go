package project

import (
	"context"
	"fmt"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
)

// Borrow makes the image of a shipped producer (builtin:<name>) or of a
// producer directory ready, for a command that runs it on its own: the plan and
// cube.lock know nothing of it.
func (p *Project) Borrow(ctx context.Context, ref string) (graph.Manifest, graph.Image, error) {
	src, manifest, err := p.Producer(ref)
	if err != nil {
		return manifest, graph.Image{}, err
	}
	pr := &preparation{Project: p}
	made := &producer{manifest: manifest, source: src}
	if err := pr.image(ctx, ref, made, map[string]*images.Image{}); err != nil {
		return manifest, graph.Image{}, fmt.Errorf("image of %s: %w", ref, err)
	}
	p.mu.Lock()
	p.imgs[made.image.Config] = made.image
	p.mu.Unlock()
	return manifest, imageOf(made.image), nil
}
