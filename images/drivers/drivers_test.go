package drivers

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/peers"
)

func TestEveryDriverIsAProducer(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string{"dem"}, Names()); diff != "" {
		t.Error(diff)
	}
	for _, name := range Names() {
		dir, ok := FS(name)
		if !ok {
			t.Fatalf("FS(%q) is not there", name)
		}
		p, err := config.LoadProducer(dir, "builtin:"+name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Manifest.Name != name {
			t.Errorf("driver %s calls itself %s", name, p.Manifest.Name)
		}
	}
}

func TestWhatIsShippedIsWhatIsInTheFolder(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		dir, _ := FS(name)
		embedded, err := fs.Glob(dir, "*")
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		entries, err := os.ReadDir(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Name() != "__pycache__" {
				want = append(want, e.Name())
			}
		}
		if diff := cmp.Diff(want, embedded); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestOnlyDriversHaveANameThatFinds(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", ".", "..", "dem/", "dem/main.py", "/dem", "nope"} {
		if _, ok := FS(name); ok {
			t.Errorf("FS(%q) finds something", name)
		}
	}
}

// TestDEM runs the driver's own tests, which are in Python like the driver.
func TestDEM(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("gdalwarp"); err != nil {
		if os.Getenv("CI") != "" || os.Getenv("CUBE_SAMPLE_DATA") != "" {
			t.Fatal("gdalwarp is missing (on Debian: apt install gdal-bin)")
		}
		t.Skip("NOT TESTED: gdalwarp is missing (on Debian: apt install gdal-bin)")
	}
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), peers.Python(t), "-W", "error::DeprecationWarning", "testdata/test_dem.py")
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(repository, "images/drivers/dem"),
		"PYTHONDONTWRITEBYTECODE=1", "REPOSITORY="+repository)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("\nOK")) {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Log(strings.TrimSpace(string(out)))
}
