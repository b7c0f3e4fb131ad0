package images

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestALockReadAndWrittenIsTheSame(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/raster/image.lock")
	if err != nil {
		t.Fatal(err)
	}
	l, err := parseLock(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(b), string(l.encode())); diff != "" {
		t.Error(diff)
	}
}

func TestALockNamesNoPlace(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/raster/image.lock")
	if err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"://", ".org", "http", "mirror", "pool/"} {
		if bytes.Contains(b, []byte(place)) {
			t.Errorf("the lock holds %q", place)
		}
	}
}

func TestABadLockIsRefused(t *testing.T) {
	t.Parallel()
	sum := strings.Repeat("a", 64)
	one := func(pin string) string {
		return `{"version":1,"platforms":{"linux/amd64":{"for":{},"debs":[` + pin + `]}}}`
	}
	good := one(`{"name":"a","version":"1","file":"a.deb","sha256":"` + sum + `","size":1}`)
	if _, err := parseLock([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"an unknown version":       `{"version":2}`,
		"an unknown field":         `{"version":1,"mirror":"x"}`,
		"a digest that is a path":  strings.Replace(good, sum, "../../../etc/passwd", 1),
		"a digest in capitals":     strings.Replace(good, sum, strings.ToUpper(sum), 1),
		"a name that is an option": strings.Replace(good, `"name":"a"`, `"name":"-o=x"`, 1),
		"a version with a space":   strings.Replace(good, `"version":"1",`, `"version":"1 --x",`, 1),
		"a file that is a path":    strings.Replace(good, "a.deb", "../a.deb", 1),
		"a negative size":          strings.Replace(good, `"size":1`, `"size":-1`, 1),
		"an empty platform":        `{"version":1,"platforms":{"linux/amd64":null}}`,
		"no JSON":                  "name: a",
	} {
		if _, err := parseLock([]byte(bad)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestDriftsTellWhatChanged(t *testing.T) {
	t.Parallel()
	old := []pin{{Name: "a", Version: "1", SHA256: "x"}, {Name: "b", Version: "1", SHA256: "y"}, {Name: "c", Version: "1", SHA256: "z"}}
	now := []pin{{Name: "a", Version: "1", SHA256: "x"}, {Name: "b", Version: "2", SHA256: "w"}, {Name: "d", Version: "1", SHA256: "v"}}
	want := []Drift{{"deb", "b", "1", "2"}, {"deb", "d", "", "1"}, {"deb", "c", "1", ""}}
	if diff := cmp.Diff(want, drifts("deb", old, now)); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseLock(f *testing.F) {
	b, err := os.ReadFile("testdata/raster/image.lock")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"version":1,"platforms":{"linux/amd64":{"for":{"wheels":["a<b>"]},"debs":[]}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLock(b)
		if err != nil {
			return
		}
		again, err := parseLock(l.encode())
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, l.encode())
		}
		if !bytes.Equal(l.encode(), again.encode()) {
			t.Error("written twice, different")
		}
	})
}
