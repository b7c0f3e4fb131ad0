// Package program gives tests the built program, bin/cube, and a place for it
// to run in: a home of its own, with the images that tests share.
package program

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Root is the root of the repository.
func Root() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find go.mod: %w", err)
	}
	return filepath.Dir(string(out)), nil
}

var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("CUBE_BIN"); path != "" {
		return path, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("make", "-s", "-C", root, "build").CombinedOutput(); err != nil {
		return "", fmt.Errorf("make build: %w\n%s", err, out)
	}
	return filepath.Join(root, "bin", "cube"), nil
})

// Path returns the program: the one that CUBE_BIN names, or else the one that
// `make build` builds.
func Path() (string, error) { return build() }

// Home makes a home in dir and returns the environment of a program that runs
// in it. Built images are shared with other tests; all else begins empty.
func Home(dir string) ([]string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	images := filepath.Join(cache, "cube-test", "images")
	mine := filepath.Join(dir, "cache", "cube")
	for _, d := range []string{images, mine, filepath.Join(dir, "home"), filepath.Join(dir, "tmp")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	if err := os.Symlink(images, filepath.Join(mine, "images")); err != nil && !os.IsExist(err) {
		return nil, err
	}
	return []string{
		"HOME=" + filepath.Join(dir, "home"),
		"XDG_CACHE_HOME=" + filepath.Join(dir, "cache"),
		"TMPDIR=" + filepath.Join(dir, "tmp"),
	}, nil
}

// Environment is Home and Toolchain: all that a program needs beside PATH.
func Environment(dir string) ([]string, error) {
	home, err := Home(dir)
	if err != nil {
		return nil, err
	}
	tools, err := Toolchain()
	return append(tools, home...), err
}

// Toolchain returns the variables of the tester's own environment that say how
// this machine compiles Go and reaches packages.
func Toolchain() ([]string, error) {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(strings.ToUpper(kv), "=")
		if strings.HasPrefix(name, "PIP_") || strings.HasPrefix(name, "SSL_CERT_") || strings.HasSuffix(name, "_PROXY") {
			env = append(env, kv)
		}
	}
	names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	for i, value := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		env = append(env, names[i]+"="+value)
	}
	return env, nil
}

// Copy copies a folder of the repository, such as examples/rockies, without
// what builds left in it.
func Copy(t testing.TB, folder, to string) {
	t.Helper()
	if err := CopyTree(folder, to); err != nil {
		t.Fatal(err)
	}
}

// CopyTree is Copy for callers without a test.
func CopyTree(folder, to string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	cmd := exec.Command("tar", "-C", filepath.Join(root, folder), "--exclude=.cube", "--exclude=*.png", "--exclude=__pycache__", "-cf", "-", ".")
	untar := exec.Command("tar", "-C", to, "-xf", "-")
	if untar.Stdin, err = cmd.StdoutPipe(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if out, err := untar.CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s: %w: %s", folder, err, out)
	}
	return cmd.Wait()
}
