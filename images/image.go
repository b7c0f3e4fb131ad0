package images

import (
	"fmt"
	"time"
)

// ContractLabel is the config label, and the manifest annotation, that holds a
// producer's contract.
const ContractLabel = "dev.cubebuild.producer"

// Image is an image in a store. It is a description: it holds no file open.
type Image struct {
	// Name is what the store calls it; empty when only its digest names it.
	Name string `json:"name,omitempty"`
	// Config is the digest of the config, "sha256:…", which covers the DiffIDs
	// and all that decides how the image behaves. It is the image's identity.
	Config string `json:"config"`
	// Manifest is the digest of the manifest, which covers the compressed
	// bytes too.
	Manifest string `json:"manifest"`
	// Platform is such as "linux/amd64".
	Platform string `json:"platform"`
	// DiffIDs are the digests of the uncompressed layers, lowest first.
	DiffIDs []string `json:"diff_ids"`
	// Layers are the same, with what is stored of each.
	Layers []Layer `json:"layers"`

	Env     []string `json:"env,omitempty"`
	User    string   `json:"user,omitempty"`
	WorkDir string   `json:"workdir,omitempty"`
	// Command is the entrypoint followed by the arguments.
	Command []string `json:"command,omitempty"`
	// Label is the producer's contract, as the label dev.cubebuild.producer
	// has it; nil where there is none.
	Label []byte `json:"label,omitempty"`

	// Drifted names the pins that were no longer to be had when this image was
	// built; it is built of what was found instead. Lock is then the lock that
	// describes it, for writing over image.lock.
	Drifted []Drift `json:"drifted,omitempty"`
	Lock    []byte  `json:"lock,omitempty"`
}

// Layer is one layer of an image.
type Layer struct {
	DiffID    string `json:"diff_id"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"` // compressed
	MediaType string `json:"media_type"`
}

// Package is a piece of software inside an image.
type Package struct {
	// Kind is "deb", "python" or "go".
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Version string `json:"version"`
}

// BuildOptions say how to build.
type BuildOptions struct {
	// Platform is what to build for; zero is Linux on this machine's
	// architecture.
	Platform Platform
	// Locked refuses what image.lock does not pin, or pins and is gone.
	Locked bool
	// Known makes nothing: BuildCached says ErrUnbuilt where it would have to.
	Known bool
	// Progress, if not nil, is called as the build goes on, by one goroutine
	// at a time. It must return soon.
	Progress func(Event)
}

func (o *BuildOptions) platform() Platform {
	if o.Platform == (Platform{}) {
		return HostPlatform()
	}
	return o.Platform
}

func (o *BuildOptions) checkPlatform() error {
	p := o.platform()
	if _, ok := machines[p.Arch]; !ok || p.OS != "linux" {
		return fmt.Errorf("platform %s: it is linux/amd64 or linux/arm64", p)
	}
	return nil
}

// EventKind says what an Event tells.
type EventKind string

const (
	// EventStep is a piece of work that begins: "fetch 3 packages".
	EventStep EventKind = "step"
	// EventDone is the end of the step before, with Took.
	EventDone EventKind = "done"
	// EventNotice is something that the user should know: a pin that is gone.
	EventNotice EventKind = "notice"
)

// Event is one piece of progress of a build.
type Event struct {
	Kind  EventKind
	Image string // the source's name
	Text  string
	Took  time.Duration
}
