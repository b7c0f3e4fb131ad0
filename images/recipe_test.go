package images

import (
	"errors"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestARecipeWithAMistakeIsRefusedByField(t *testing.T) {
	t.Parallel()
	run := []string{"/x"}
	for name, test := range map[string]struct {
		recipe Recipe
		field  string
	}{
		"an unknown base":            {Recipe{Base: "alpine", Command: run}, "base"},
		"debs on scratch":            {Recipe{Base: "scratch", Debs: []string{"libc6"}, Command: run}, "base"},
		"a deb with a version":       {Recipe{Debs: []string{"libc6=2.36"}, Command: run}, "debs"},
		"a deb that is an option":    {Recipe{Debs: []string{"-oDir=/"}, Command: run}, "debs"},
		"wheels and no Python":       {Recipe{Debs: []string{"libc6"}, Wheels: []string{"numpy"}, Command: run}, "wheels"},
		"a wheel from an address":    {Recipe{Debs: []string{"python3.11-minimal"}, Wheels: []string{"numpy @ https://x/y.whl"}, Command: run}, "wheels"},
		"a wheel that is an option":  {Recipe{Debs: []string{"python3.11-minimal"}, Wheels: []string{"--index-url=x"}, Command: run}, "wheels"},
		"a wheel of two lines":       {Recipe{Debs: []string{"python3.11-minimal"}, Wheels: []string{"numpy\n--pre"}, Command: run}, "wheels"},
		"a Go package outside":       {Recipe{Go: &GoBuild{Package: "../x"}}, "go.package"},
		"a Go program that is a dir": {Recipe{Go: &GoBuild{Output: "/bin/"}}, "go.output"},
		"a file from outside":        {Recipe{Files: []FileRule{{From: "../secret", To: "/a"}}, Command: run}, "files.0.from"},
		"a file from the root":       {Recipe{Files: []FileRule{{From: "/etc/passwd", To: "/a"}}, Command: run}, "files.0.from"},
		"a bad pattern":              {Recipe{Files: []FileRule{{From: "[", To: "/a"}}, Command: run}, "files.0.from"},
		"a relative target":          {Recipe{Files: []FileRule{{From: "a", To: "b"}}, Command: run}, "files.0.to"},
		"a target with dot-dot":      {Recipe{Files: []FileRule{{From: "a", To: "/b/../../c"}}, Command: run}, "files.0.to"},
		"a bad variable":             {Recipe{Env: map[string]string{"A=B": "c"}, Command: run}, "env"},
		"a user by name":             {Recipe{User: "root", Command: run}, "user"},
		"a relative workdir":         {Recipe{WorkDir: "tmp", Command: run}, "workdir"},
		"nothing to run":             {Recipe{Files: []FileRule{{From: "a", To: "/a"}}}, "command"},
	} {
		err := test.recipe.Validate()
		var mistake *RecipeError
		if !errors.As(err, &mistake) || mistake.Field != test.field {
			t.Errorf("%s: %v, want a mistake in %s", name, err, test.field)
		}
	}
}

func TestARecipeHasDefaults(t *testing.T) {
	t.Parallel()
	r := Recipe{Go: &GoBuild{}, Env: map[string]string{"B": "2", "A": "1"}}
	if err := r.Validate(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/producer"}, r.command()); diff != "" {
		t.Error(diff)
	}
	want := []string{"A=1", "B=2", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	if diff := cmp.Diff(want, r.env()); diff != "" {
		t.Error(diff)
	}
}

func TestParsePlatformKnowsTheUsualNames(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"amd64": "linux/amd64", "linux/amd64": "linux/amd64", "x86_64": "linux/amd64",
		"aarch64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "linux/arm64": "linux/arm64",
		"windows/amd64": "", "linux/riscv64": "", "": "", "linux/": "",
	} {
		got, err := ParsePlatform(in)
		if want == "" && err == nil || want != "" && got.String() != want {
			t.Errorf("ParsePlatform(%q) = %v, %v; want %q", in, got, err, want)
		}
	}
	if got := HostPlatform(); got.Arch != runtime.GOARCH || got.OS != "linux" {
		t.Errorf("HostPlatform = %v", got)
	}
}
