package cube

import (
	"os"
	"path/filepath"
	"testing"
)

// A manifest that heads, or a cube.lock on another machine, may name is not put at
// risk for one that says the same: until the next Sync a power cut could leave
// neither. One that names other objects, or is damaged, is replaced.
func TestAManifestThatIsThereStays(t *testing.T) {
	t.Parallel()
	c := newTestCube(t, Config{})
	first := smallVersion(t, c, "a", 1)
	path := c.Path("versions", first.Digest().Hex())
	look := func() os.FileInfo {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	was := look()
	again := smallVersion(t, c, "b", 1)
	if again.Digest() != first.Digest() || !os.SameFile(was, look()) {
		t.Error("the same version under another name was written again")
	}
	other, err := Open(filepath.Dir(c.dir), Config{NoSync: true, Compressor: "zlib", Level: 9})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	recompressed := smallVersion(t, other, "a", 1)
	if now := look(); recompressed.Digest() != first.Digest() || os.SameFile(was, now) {
		t.Error("other objects, and the manifest names the old ones")
	}
	if err := os.Truncate(path, 10); err != nil {
		t.Fatal(err)
	}
	smallVersion(t, c, "a", 1)
	if _, err := c.LoadVersion(t.Context(), first.Digest()); err != nil {
		t.Errorf("a damaged one was left: %v", err)
	}
	c.doubtVersion(first.Digest())
	if c.HasVersion(first.Digest()) {
		t.Fatal("it still counts as whole")
	}
	if smallVersion(t, c, "a", 1); !c.HasVersion(first.Digest()) {
		t.Error("made again, it does not count as whole")
	}
}
