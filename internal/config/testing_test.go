package config

import (
	"errors"
	"slices"
	"strings"

	"github.com/cubebuild/cube/internal/yamlfile"
)

// mistakes are the mistakes in an error.
func mistakes(err error) yamlfile.Errors {
	var es yamlfile.Errors
	if errors.As(err, &es) {
		return es
	}
	var e *yamlfile.Error
	if errors.As(err, &e) {
		return yamlfile.Errors{e}
	}
	return nil
}

func joinSorted(words []string) string {
	return strings.Join(slices.Sorted(slices.Values(words)), " ")
}
