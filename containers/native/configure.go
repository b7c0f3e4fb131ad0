//go:build linux

package native

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native/inside"
)

const (
	nobody      = 65534
	defaultSize = 64 << 20 // of a tmpfs
	maxContent  = 1 << 20  // of one file that goes with the config
	maxConfig   = 48 << 20 // of all of them
	maxLayers   = 499      // and the skeleton
)

// configure checks the spec and says it in the init's words.
func (r *Runner) configure(spec *containers.Spec) (*inside.Config, error) {
	c := &inside.Config{
		Args: spec.Args, Env: spec.Env, Dir: spec.Dir,
		TmpSize: uint64(max(r.config.TmpSize, 0)), Filter: r.filter(),
	}
	if c.Dir == "" {
		c.Dir = "/"
	}
	if spec.Network != nil {
		c.Listen = containers.NetworkPort
	}
	if len(c.Args) == 0 || c.Args[0] == "" {
		return nil, bad("no command")
	}
	for _, s := range append(append([]string{c.Dir}, c.Args...), c.Env...) {
		if strings.Contains(s, "\x00") {
			return nil, bad("NUL in %q", s)
		}
	}
	uid, gid, err := identity(spec.UID, spec.GID)
	if err != nil {
		return nil, err
	}
	c.UID, c.GID = uid, gid
	if c.Layers, err = r.layers(spec.Layers); err != nil {
		return nil, err
	}
	return c, r.mounts(c, spec)
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{containers.ErrSpec}, args...)...)
}

func identity(uid, gid int) (uint32, uint32, error) {
	if uid == 0 && gid == 0 {
		uid, gid = nobody, nobody
	}
	const last = 1<<32 - 2 // the next means "no change"
	if uid <= 0 || gid <= 0 || uid > last || gid > last {
		return 0, 0, bad("user %d:%d: neither may be root", uid, gid)
	}
	return uint32(uid), uint32(gid), nil
}

// layers returns the directories of the overlay, highest first.
func (r *Runner) layers(lowestFirst []string) ([]string, error) {
	if len(lowestFirst) == 0 {
		return nil, bad("no image layers")
	}
	if len(lowestFirst) > maxLayers {
		return nil, bad("image of %d layers: the kernel stacks at most %d: flatten some", len(lowestFirst), maxLayers)
	}
	list := make([]string, 0, len(lowestFirst)+1)
	for i := len(lowestFirst) - 1; i >= 0; i-- {
		if !filepath.IsAbs(lowestFirst[i]) {
			return nil, bad("layer %s: not an absolute path", lowestFirst[i])
		}
		list = append(list, lowestFirst[i])
	}
	return append(list, r.skeleton), nil
}

func (r *Runner) mounts(c *inside.Config, spec *containers.Spec) error {
	if len(spec.Mounts) >= inside.Base {
		return bad("%d mounts: at most %d", len(spec.Mounts), inside.Base-1)
	}
	handles, size := 0, 0
	for i := range spec.Mounts {
		m, err := r.mount(&spec.Mounts[i], user{int(c.UID), int(c.GID)})
		if err != nil {
			return fmt.Errorf("mount %s: %w", spec.Mounts[i].Target, err)
		}
		if err := clashes(&m, c.Mounts); err != nil {
			return fmt.Errorf("mount %s: %w", m.Target, err)
		}
		c.Mounts = append(c.Mounts, m)
		size += len(m.Content)
		if m.Handle {
			handles++
		}
	}
	if handles > inside.MaxHandles {
		return bad("%d tmpfs to keep or fill: at most %d", handles, inside.MaxHandles)
	}
	if size > maxConfig {
		return bad("%d bytes of content: at most %d", size, maxConfig)
	}
	return nil
}

// clashes refuses a mount that an earlier one would hide or be confused with.
func clashes(m *inside.Mount, earlier []inside.Mount) error {
	for i := range earlier {
		e := &earlier[i]
		if e.Target == m.Target {
			return bad("mounted twice")
		}
		if m.Kind == inside.Content && strings.HasPrefix(m.Target, e.Target+"/") {
			return bad("lies below %s, which is a mount itself", e.Target)
		}
	}
	return nil
}

func (r *Runner) mount(m *containers.Mount, u user) (inside.Mount, error) {
	out := inside.Mount{Source: m.Source, Target: m.Target, Writable: m.Writable}
	if !path.IsAbs(m.Target) || path.Clean(m.Target) != m.Target || strings.Contains(m.Target, "\x00") {
		return out, bad("target is not a clean absolute path")
	}
	for _, taken := range []string{"/proc", "/dev", "/cube"} {
		if m.Target == "/" || m.Target == taken || taken != "/cube" && strings.HasPrefix(m.Target, taken+"/") {
			return out, bad("the sandbox has its own %s", taken)
		}
	}
	switch m.Kind {
	case containers.Bind:
		return r.bind(out, u)
	case containers.Tmpfs:
		return tmpfs(out, m)
	case containers.Content:
		return content(out, m)
	}
	return out, bad("unknown kind %d", m.Kind)
}

// bind gives the top directory of a writable bind to the payload's user.
func (r *Runner) bind(out inside.Mount, u user) (inside.Mount, error) {
	out.Kind = inside.Bind
	if !filepath.IsAbs(out.Source) || strings.Contains(out.Source, "\x00") {
		return out, bad("source %q is not an absolute path", out.Source)
	}
	out.Source = filepath.Clean(out.Source)
	if out.Writable && !r.rootless {
		if err := give(out.Source, u); err != nil {
			return out, fmt.Errorf("%w: give source to user %d: %w", containers.ErrSpec, u.uid, err)
		}
	}
	return out, nil
}

func tmpfs(out inside.Mount, m *containers.Mount) (inside.Mount, error) {
	out.Kind = inside.Tmpfs
	if m.Size < 0 {
		return out, bad("size %d", m.Size)
	}
	if out.Size = uint64(m.Size); m.Size == 0 {
		out.Size = defaultSize
	}
	for _, d := range m.Dirs {
		if d == "" || d == "." || d == ".." || strings.ContainsAny(d, "/\x00") {
			return out, bad("directory %q is not a plain name", d)
		}
	}
	out.Dirs, out.Fill, out.Handle = m.Dirs, m.Fill != nil, m.Keep || m.Fill != nil
	return out, nil
}

func content(out inside.Mount, m *containers.Mount) (inside.Mount, error) {
	out.Kind, out.Content, out.Private = inside.Content, m.Content, m.Private
	if !strings.HasPrefix(m.Target, "/cube/") {
		return out, bad("content goes below /cube")
	}
	if len(m.Content) > maxContent {
		return out, bad("content of %d bytes: at most %d", len(m.Content), maxContent)
	}
	return out, nil
}
