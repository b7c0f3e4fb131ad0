package config

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/cubebuild/cube/graph"
)

// Label returns a manifest as the text of the image config label
// [graph.ContractLabel]: JSON with sorted keys, no white space, numbers as
// they were written. One manifest has one label.
func Label(m graph.Manifest) ([]byte, error) {
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("label of %s: %w", m.Name, err)
	}
	v, err := decodeJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("label of %s: %w", m.Name, err)
	}
	return plainJSON(v)
}

// ManifestFromLabel reads the contract of an image. The label is hostile: it
// is bounded, unknown fields are refused, and the manifest is checked as that
// of a producer.yaml is.
func ManifestFromLabel(label []byte) (graph.Manifest, error) {
	var m graph.Manifest
	v, err := decodeJSON(label)
	if err != nil {
		return m, fmt.Errorf("label %s: %w", graph.ContractLabel, err)
	}
	clean, err := plainJSON(v)
	if err != nil {
		return m, fmt.Errorf("label %s: %w", graph.ContractLabel, err)
	}
	d := json.NewDecoder(bytes.NewReader(clean))
	d.DisallowUnknownFields()
	if err := d.Decode(&m); err != nil {
		return graph.Manifest{}, fmt.Errorf("label %s: %w", graph.ContractLabel, err)
	}
	if err := joinProblems("label "+graph.ContractLabel, checkManifest(m)); err != nil {
		return graph.Manifest{}, err
	}
	return m, nil
}
