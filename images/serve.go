package images

import (
	"embed"
	"io/fs"
	"slices"
)

// serveModule is the module that serves the tiles of a batch in Python: its doc
// says how it is used.
//
//go:embed cube_serve.py
var serveModule embed.FS

const serveName = "cube_serve.py"

func (r *Recipe) checkServe() error {
	if r.Serve && !slices.ContainsFunc(r.Debs, isPython) {
		return recipeErrorf("serve", "it is a module for Python, and needs one among debs, such as python3.11-minimal and libpython3.11-stdlib")
	}
	return nil
}

// serveFile is the module as a file of the image, where its Python finds it.
func (b *builder) serveFile() (codeFile, error) {
	text, err := serveModule.ReadFile(serveName)
	return codeFile{Path: b.python.layout().Site + "/" + serveName, Sum: sumOf(text), size: int64(len(text)),
		open: func() (fs.File, error) { return serveModule.Open(serveName) }}, err
}
