package config

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"text/template"
)

//go:embed template
var templates embed.FS

// ErrExists is in the chain when Init would write over a file.
var ErrExists = errors.New("exists already")

// releasedGo is the name of a released Go toolchain.
var releasedGo = regexp.MustCompile(`^go1\.[0-9]+\.[0-9]+$`)

// defaultToolchain compiles the producers of a new workspace where none is
// known that is here already.
const defaultToolchain = "go1.26.8"

// Init writes a workspace that builds without network: two producers in Go,
// one of which makes elevation out of nothing. The toolchain is the Go that
// compiles them, such as go1.26.8; empty is the one that compiled this
// program. The directory is made if need be; where one of the files is there,
// nothing is written and the error is ErrExists. Init returns the files.
func Init(dir, toolchain string) ([]string, error) {
	if toolchain == "" {
		toolchain = runtime.Version()
	}
	if !releasedGo.MatchString(toolchain) {
		toolchain = defaultToolchain
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	files, err := render(map[string]string{"Name": nameOf(abs), "Toolchain": toolchain})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range files {
		if _, err := os.Lstat(filepath.Join(dir, f.name)); err == nil && f.name != ".gitignore" {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, f.name), ErrExists)
		}
	}
	for _, f := range files {
		at := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return nil, err
		}
		if err := writeNew(at, f.data); errors.Is(err, fs.ErrExist) && f.name == ".gitignore" {
			continue
		} else if err != nil {
			return nil, err
		}
		names = append(names, f.name)
	}
	return names, nil
}

// writeNew writes a file that is not there yet.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// nameOf makes a workspace's name of its directory's.
func nameOf(dir string) string {
	name := regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(filepath.Base(dir)), "-")
	name = strings.Trim(name, "-")
	if len(name) > 64 {
		name = strings.Trim(name[:64], "-")
	}
	if !plainName.MatchString(name) {
		return "workspace"
	}
	return name
}

// rendered is a file of the template, by its path in the workspace.
type rendered struct {
	name string
	data []byte
}

func render(values map[string]string) ([]rendered, error) {
	var out []rendered
	err := fs.WalkDir(templates, "template", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := templates.ReadFile(p)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(p, "template/")
		if path.Base(name) == "gitignore" {
			name = path.Join(path.Dir(name), ".gitignore")
		}
		if base, ok := strings.CutSuffix(name, ".tmpl"); ok {
			name = base
			if data, err = execute(p, data, values); err != nil {
				return err
			}
		}
		out = append(out, rendered{name, data})
		return nil
	})
	return out, err
}

func execute(name string, data []byte, values map[string]string) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").Parse(string(data))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, values); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
