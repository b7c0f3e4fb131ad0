package peers

import (
	"strings"
	"testing"
)

func TestInterpreterImportsEveryPeer(t *testing.T) {
	t.Parallel()
	const script = `
import zarr, numcodecs, numpy
print(zarr.__version__, numcodecs.__version__)
`
	if got := strings.TrimSpace(string(Run(t, script))); got != "3.1.6 0.16.5" {
		t.Errorf("peers are %q, want the pinned versions", got)
	}
}
