package config

import (
	"embed"
	"fmt"
)

//go:embed schema/*.json
var schemas embed.FS

// Schemas are the names that [Schema] knows.
var Schemas = []string{"cube", "producer"}

// Schema returns the JSON Schema (draft 7) of cube.yaml ("cube") or
// producer.yaml ("producer"), for editors.
func Schema(name string) ([]byte, error) {
	b, err := schemas.ReadFile("schema/" + name + ".schema.json")
	if err != nil {
		return nil, fmt.Errorf("schema %q: there is cube and producer", name)
	}
	return b, nil
}
