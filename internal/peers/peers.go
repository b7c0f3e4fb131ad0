// Package peers gives tests a Python interpreter with the programs that the
// project's files must agree with: zarr-python, xarray, rioxarray, rasterio,
// tensorstore, netCDF4. Their versions are pinned in
// tests/peers/requirements.txt.
//
// The interpreter lives in a virtual environment that is made once per user and
// shared by all test binaries, under a file lock. It is in the directory that
// the environment variable CUBE_TEST_PEERS names, or in the user's cache.
//
// A machine that cannot make it (no Python, no network) skips the tests that
// need it, loudly, unless CI or CUBE_SAMPLE_DATA is set: then they fail, so that
// a whole test run never passes by having compared nothing.
package peers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stampName is the file in the environment that holds the digest of the
// requirements it was made from.
const stampName = "cube-requirements.sha256"

// makeTimeout bounds the making of the environment, downloads included.
const makeTimeout = 10 * time.Minute

// python memoises the environment for one test binary.
var python = sync.OnceValues(prepare)

// Python returns the path of an interpreter that can import every package of
// tests/peers/requirements.txt. Where it cannot be had the test is skipped, or
// fails if CI or CUBE_SAMPLE_DATA is set.
func Python(t testing.TB) string {
	t.Helper()
	interpreter, err := python()
	if err == nil {
		return interpreter
	}
	if os.Getenv("CI") != "" || os.Getenv("CUBE_SAMPLE_DATA") != "" {
		t.Fatalf("python peers: %v", err)
	}
	t.Skipf("NOT TESTED against other programs; python peers: %v", err)
	return ""
}

// Interpreter is Python for callers without a test.
func Interpreter() (string, error) { return python() }

// Run runs script with args in the peers' interpreter and returns its standard
// output. A warning is an error, unless it is one about deprecation, which
// Python does not show its users either; and so is a word on standard error.
func Run(t testing.TB, script string, args ...string) []byte {
	t.Helper()
	argv := append([]string{"-W", "error", "-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning", "-c", script}, args...)
	cmd := exec.CommandContext(t.Context(), Python(t), argv...)
	cmd.Env = environ()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("python %s: %v\n%s%s", strings.Join(args, " "), err, stdout.Bytes(), stderr.Bytes())
	}
	if stderr.Len() > 0 {
		t.Fatalf("python %s: on standard error: %s", strings.Join(args, " "), stderr.Bytes())
	}
	return stdout.Bytes()
}

// environ is the environment of a peer: the tester's own, without what would
// change which packages Python imports.
func environ() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PYTHON") {
			env = append(env, kv)
		}
	}
	return append(env, "PYTHONDONTWRITEBYTECODE=1")
}

// prepare returns the interpreter of the shared environment, which it makes or
// brings up to date first where that is needed.
func prepare() (string, error) {
	requirements, err := requirementsFile()
	if err != nil {
		return "", err
	}
	want, err := fileDigest(requirements)
	if err != nil {
		return "", err
	}
	dir, err := directory()
	if err != nil {
		return "", err
	}
	unlock, err := lock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	interpreter := filepath.Join(dir, "bin", "python")
	if have, err := os.ReadFile(filepath.Join(dir, stampName)); err == nil && string(have) == want {
		return interpreter, nil
	}
	if err := build(dir, requirements); err != nil {
		return "", err
	}
	return interpreter, os.WriteFile(filepath.Join(dir, stampName), []byte(want), 0o644)
}

// directory names the environment's folder; its parent exists afterwards.
func directory() (string, error) {
	dir := os.Getenv("CUBE_TEST_PEERS")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "cube-test", "peers-venv")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(filepath.Dir(dir), 0o755)
}

// requirementsFile finds tests/peers/requirements.txt in the module that the
// test runs in.
func requirementsFile() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "tests", "peers", "requirements.txt"), nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}

func fileDigest(name string) (string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// lock waits for the exclusive lock on name. The returned function gives it up.
func lock(name string) (func(), error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return func() { f.Close() }, nil
}

// build makes the environment in dir, or adds to the one that is there.
func build(dir, requirements string) error {
	system, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("no python3 on PATH (on Debian: apt install python3 python3-venv)")
	}
	pip := filepath.Join(dir, "bin", "pip")
	if _, err := os.Stat(pip); errors.Is(err, fs.ErrNotExist) {
		if err := run(system, "-c", "import ensurepip"); err != nil {
			return errors.New("python3 cannot make a virtual environment (on Debian: apt install python3-venv)")
		}
		if err := run(system, "-m", "venv", dir); err != nil {
			return fmt.Errorf("make virtual environment %s: %w", dir, err)
		}
	}
	if err := run(pip, "install", "--quiet", "--only-binary", ":all:", "--requirement", requirements); err != nil {
		return fmt.Errorf("install %s: %w", requirements, err)
	}
	return nil
}

// run executes a command; its output is part of the error.
func run(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), makeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(append([]string{filepath.Base(name)}, args...), " "), err, bytes.TrimSpace(out))
	}
	return nil
}
