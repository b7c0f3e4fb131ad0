package containers

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
)

// What is laid out once and shown to several actions is the same for all of them:
// the values, and all that is written beside them.
func TestOnlyWindowsThatAreLaidOutAlikeAreShared(t *testing.T) {
	t.Parallel()
	window := func() Input {
		box := grid.Box{Y: grid.Range{Hi: 512}, X: grid.Range{Hi: 512}}
		return Input{Role: "dem", Values: make([]byte, worthSharing), Digest: graph.Sum([]byte("values")),
			Window: graph.RequestInput{Format: graph.Zarr, Units: "m", Window: &box, Grid: &graph.RequestGrid{CRS: "EPSG:32613", DX: 30}}}
	}
	seen := map[graph.Digest]string{}
	for name, change := range map[string]func(*Input){
		"as it is":       func(*Input) {},
		"role":           func(in *Input) { in.Role = "other" },
		"values":         func(in *Input) { in.Digest = graph.Sum([]byte("others")) },
		"units":          func(in *Input) { in.Window.Units = "ft" },
		"format":         func(in *Input) { in.Window.Format = graph.NPY },
		"place":          func(in *Input) { in.Window.Window.Y.Hi++ },
		"grid":           func(in *Input) { in.Window.Grid.DX = 60 },
		"clipped sides":  func(in *Input) { in.Window.Clipped = &grid.Clip{North: 1} },
		"further labels": func(in *Input) { in.Window.Further = []graph.Dim{{Name: "level", Size: 1}} },
	} {
		in := window()
		change(&in)
		key, err := in.key()
		if err != nil || key.IsZero() {
			t.Fatalf("%s: %v, %v", name, key, err)
		}
		if other, taken := seen[key]; taken {
			t.Errorf("windows that differ by %s and by %s are one", name, other)
		}
		seen[key] = name
	}
}

// A container that waits is for actions that would find in a new one what it has:
// not for those that another file has come to be for, at the same path.
func TestAWaitingContainerIsNotForAnotherFileOfThatPath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "source")
	kind := func(text string) string {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		st := staged{spec: Spec{Args: []string{"/x"}, Mounts: []Mount{{Kind: Bind, Source: path, Target: "/cube/sources/s/data"}}}}
		first := st.kind()
		if st.kind() != first {
			t.Error("looked at twice, it is of two kinds")
		}
		return first
	}
	if kind("one") == kind("two") {
		t.Error("a container with one file is of the kind of one with another")
	}
}
