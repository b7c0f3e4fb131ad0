package project

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/credential"
	"github.com/cubebuild/cube/internal/source"
)

// KnownSource is what a workspace's files and this machine tell of a source,
// without a look at its bytes.
type KnownSource struct {
	Name   string
	Source *config.Source      // as cube.yaml has it; nil: a producer fetches it
	URI    string              // without credentials
	Pin    config.LockedSource // zero: nothing pins it
	At     source.Whereabouts
	UsedBy []string     // instances
	Parts  []graph.Part // nil: it is not indexed, or nobody has split what is pinned

	Producer  string                 // the instance that fetches it, or ""
	Recording config.LockedRecording // of what that was answered
}

// KnownSources lists the sources of the workspace in the order of their names.
// Nothing is fetched, and no driver is asked.
func (p *Project) KnownSources(ctx context.Context) ([]KnownSource, error) {
	pr, err := p.contracts(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]KnownSource{}
	for i := range p.File.Sources {
		src := &p.File.Sources[i]
		known[src.Name] = KnownSource{Name: src.Name, Source: src, URI: credential.Redact(src.URI), Pin: pr.pinned(src)}
	}
	for i := range p.File.Producers {
		inst := &p.File.Producers[i]
		pr.fetchedBy(inst, known)
		for _, role := range slices.Sorted(maps.Keys(inst.Sources)) {
			k, ok := known[inst.Sources[role]]
			if !ok {
				continue // config.Workspace names the mistake
			}
			k.UsedBy = append(k.UsedBy, inst.Name)
			if k.Parts == nil && !k.Pin.SHA256.IsZero() && k.Source != nil && pr.producers[inst.Name].manifest.Indexes(role) {
				if k.Parts, err = pr.knownParts(ctx, inst, role, k.Source); err != nil {
					return nil, err
				}
			}
			known[k.Name] = k
		}
	}
	return pr.locate(known)
}

// pinned is what holds a source: the pin of the lock, where it was made for the
// same URI, or the digest of cube.yaml.
func (pr *preparation) pinned(src *config.Source) config.LockedSource {
	pin, ok := pr.Lock.Sources[src.Name]
	if ok = ok && pin.URI == src.URI; ok && (src.SHA256.IsZero() || src.SHA256 == pin.SHA256) {
		return pin
	}
	return config.LockedSource{SHA256: src.SHA256}
}

// fetchedBy adds what an instance's producer brings in itself.
func (pr *preparation) fetchedBy(inst *config.Producer, known map[string]KnownSource) {
	pin := pr.Lock.Fetches[inst.Name]
	m := pr.producers[inst.Name].manifest
	for _, role := range m.Fetched() {
		file := pin.Sources[role]
		name := config.FetchedName(inst.Name, role)
		known[name] = KnownSource{Name: name, Pin: config.LockedSource{SHA256: file.SHA256, Size: file.Size}, UsedBy: []string{inst.Name},
			At: source.Whereabouts{Fetched: pin.Fetched}, Producer: inst.Name, Recording: pin.Recording}
	}
}

// knownParts are the parts that a driver once split the pinned bytes into, or nil.
func (pr *preparation) knownParts(ctx context.Context, inst *config.Producer, role string, src *config.Source) ([]graph.Part, error) {
	found, err := pr.index(ctx, inst, role, src)
	if errors.Is(err, ErrUnready) || errors.Is(err, images.ErrUnbuilt) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return found.list()
}

func (pr *preparation) locate(known map[string]KnownSource) ([]KnownSource, error) {
	out := make([]KnownSource, 0, len(known))
	for _, name := range slices.Sorted(maps.Keys(known)) {
		k := known[name]
		if k.Source == nil {
			_, k.At.Here = pr.Sources.Path(k.Pin.SHA256)
		} else {
			var err error
			if k.At, err = pr.Sources.Locate(pr.File.Dir(), k.Source.URI, source.Pin{SHA256: k.Pin.SHA256, Size: k.Pin.Size}); err != nil {
				return nil, pr.sourceError(k.Source, err)
			}
		}
		k.At.Fetched = k.At.Fetched.UTC().Truncate(time.Second)
		out = append(out, k)
	}
	return out, nil
}
