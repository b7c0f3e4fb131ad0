package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubebuild/cube/images/internal/deb"
	"github.com/cubebuild/cube/images/internal/wheel"
)

// pip finds a pip: that of the config, that of this machine, or, where it has
// none, Debian's, run by the very Python that the image is made of.
func (b *builder) pip(ctx context.Context, debs []pin) (wheel.Pip, error) {
	env := b.store.cfg.Env
	if len(b.store.cfg.Pip) > 0 {
		return wheel.Pip{Command: b.store.cfg.Pip, Env: env}, nil
	}
	if py, err := exec.LookPath("python3"); err == nil {
		cmd := exec.CommandContext(ctx, py, "-m", "pip", "--version")
		cmd.Env, cmd.Dir = env, os.TempDir()
		if cmd.Run() == nil {
			return wheel.Pip{Command: []string{py, "-m", "pip"}, Env: env}, nil
		}
	}
	pip, err := b.ownPip(ctx, debs)
	if err != nil {
		return wheel.Pip{}, fmt.Errorf("%w: python3 with pip, which fetches Python wheels (on Debian and Ubuntu: apt-get install python3-pip): %w", ErrTool, err)
	}
	return pip, nil
}

// pipDeb is the package that holds pip as a wheel, which runs as it is.
const pipDeb = "python3-pip-whl"

// ownPip runs Debian's pip on the image's Python.
func (b *builder) ownPip(ctx context.Context, debs []pin) (wheel.Pip, error) {
	py, err := pythonOf(debs, b.platform)
	if err != nil {
		return wheel.Pip{}, err
	}
	l, err := b.debsLayerOf(ctx, debs)
	if err != nil {
		return wheel.Pip{}, err
	}
	whl, err := b.fetchPip(ctx)
	if err != nil {
		return wheel.Pip{}, err
	}
	cmd := py.command(ctx, b.store.layerPath(l.DiffID), filepath.Join(whl, "pip"))
	return wheel.Pip{Command: cmd.Args, Env: slices.Concat(b.store.cfg.Env, cmd.Env)}, nil
}

// fetchPip fetches pip's package and takes the wheel out of it.
func (b *builder) fetchPip(ctx context.Context) (string, error) {
	apt := b.apt()
	if err := apt.Update(ctx, false); err != nil {
		return "", err
	}
	found, err := apt.Resolve(ctx, []string{pipDeb}, nil)
	if err != nil {
		return "", err
	}
	pins := slices.DeleteFunc(debPins(found), func(p pin) bool { return p.Name != pipDeb })
	if len(pins) != 1 {
		return "", errors.New("the Debian mirrors have no " + pipDeb)
	}
	if missing := b.store.notDownloaded(pins); len(missing) > 0 {
		err := b.store.download(missing, func(dir string) error { return apt.Download(ctx, dir, aptPins(missing)) })
		if err != nil {
			return "", err
		}
	}
	return b.extractPip(pins[0])
}

func (b *builder) extractPip(p pin) (string, error) {
	tmp, err := os.MkdirTemp(b.store.path("tmp"), "pip-")
	if err != nil {
		return "", err
	}
	b.closers = append(b.closers, func() { removeAll(tmp) })
	f, err := os.Open(b.store.path("downloads", p.SHA256))
	if err != nil {
		return "", err
	}
	defer f.Close()
	whl := filepath.Join(tmp, "pip.whl")
	_, err = deb.Read(f, b.store.cfg.Limits.layer(), func(h *tar.Header, r io.Reader) error {
		base := path.Base(h.Name)
		if h.Typeflag != tar.TypeReg || !strings.HasPrefix(base, "pip-") || !strings.HasSuffix(base, ".whl") {
			return nil
		}
		out, err := os.Create(whl)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, r)
		return errors.Join(err, out.Close())
	})
	if err != nil {
		return "", err
	}
	_, err = os.Stat(whl)
	return whl, err
}
