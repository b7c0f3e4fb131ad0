package images

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cubebuild/cube/images/internal/layer"
)

var (
	// ErrUnsafe is in the chain of every refusal to unpack a layer, package or
	// wheel: an entry that leaves its root, a device, too many bytes.
	ErrUnsafe = layer.ErrUnsafe
	// ErrDigest is in the chain when bytes do not have the digest that they
	// were asked for by.
	ErrDigest = errors.New("digest does not match")
	// ErrNotFound is in the chain when the store has no such image.
	ErrNotFound = errors.New("no such image")
	// ErrUnbuilt is in the chain where an image would have to be built and may
	// not be.
	ErrUnbuilt = errors.New("image is not built as it is now")
	// ErrTool is in the chain when a program that the build needs (go, apt-get,
	// pip) is missing on this machine.
	ErrTool = errors.New("program is missing")
)

// RecipeError is a mistake in a recipe.
type RecipeError struct {
	Field  string // such as "wheels", "go.output" or "files.0.from"
	Reason string
}

func (e *RecipeError) Error() string { return "image." + e.Field + ": " + e.Reason }

func recipeErrorf(field, format string, args ...any) error {
	return &RecipeError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// Drift is a pin of image.lock that is no longer to be had.
type Drift struct {
	Kind   string `json:"kind"` // "deb" or "wheel"
	Name   string `json:"name"`
	Pinned string `json:"pinned"`          // the version in the lock; "" when it was not in it
	Found  string `json:"found,omitempty"` // the version taken; "" when it is not needed any more
}

func (d Drift) String() string {
	switch {
	case d.Pinned == "":
		return fmt.Sprintf("%s %s %s (new)", d.Kind, d.Name, d.Found)
	case d.Found == "":
		return fmt.Sprintf("%s %s %s", d.Kind, d.Name, d.Pinned)
	}
	return fmt.Sprintf("%s %s %s → %s", d.Kind, d.Name, d.Pinned, d.Found)
}

// DriftError says that a locked build needs pins that are gone.
type DriftError struct {
	Where string // the producer directory
	Gone  []Drift
}

func (e *DriftError) Error() string {
	return fmt.Sprintf("image %s: %s pins what is no longer to be had: %s; %s", e.Where, LockFile, joinDrifts(e.Gone), mend(e.Where))
}

// mend says how to bring a lock up to date.
func mend(where string) string {
	if strings.HasPrefix(where, builtin) {
		return "it is part of this program: build without --locked, or with a newer release"
	}
	return "to pin what is there now, run: cube image lock " + where
}

func joinDrifts(ds []Drift) string {
	words := make([]string, len(ds))
	for i, d := range ds {
		words[i] = d.String()
	}
	return strings.Join(words, ", ")
}

// LockError says that image.lock is missing, cannot be read, or was written
// for another recipe.
type LockError struct {
	Where  string
	Reason string
}

func (e *LockError) Error() string {
	return fmt.Sprintf("image %s: %s %s; %s", e.Where, LockFile, e.Reason, mend(e.Where))
}
