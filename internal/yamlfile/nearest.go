package yamlfile

import (
	"strings"

	"github.com/cubebuild/cube/graph"
)

// DidYouMean is a hint for a name that is none of the choices: the nearest, or
// all of them where they are few.
func DidYouMean(name string, choices []string) string {
	if near := graph.Nearest(name, choices); near != "" {
		return "did you mean " + near + "?"
	}
	return OneOfThese(choices)
}

// OneOfThese lists choices, where they are few enough to read.
func OneOfThese(choices []string) string {
	switch n := len(choices); {
	case n == 0 || n > 20:
		return ""
	case n == 1:
		return "it can only be " + choices[0]
	default:
		return "one of: " + strings.Join(choices, ", ")
	}
}
