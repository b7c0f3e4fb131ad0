//go:build linux

package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/graph/solve/resource"
	"golang.org/x/sys/unix"
)

// reserve is the least memory that is left to all that is no action.
const reserve = 512 << 20

// Machine is what this process may use of the machine: the processors that its
// affinity and its cgroup's quota leave it, and the memory of the machine or of
// its cgroup less a tenth for all else. There are no tokens and no GPUs but those
// that somebody declares: no sandbox is shown a GPU, whatever the machine has.
func Machine() resource.Amounts {
	memory := memory()
	return resource.Amounts{resource.CPU: int64(runtime.GOMAXPROCS(0)) * 1000, resource.Memory: max(memory-max(memory/10, reserve), memory/2)}
}

// memory is that of the machine, or of the smallest cgroup that this process
// is in.
func memory() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 2 << 30
	}
	total := int64(uint64(info.Totalram) * uint64(info.Unit))
	groups, _ := os.ReadFile("/proc/self/cgroup")
	for line := range bytes.Lines(groups) {
		_, rest, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		switch controllers {
		case "":
			total = min(total, limits("/sys/fs/cgroup", path, "memory.max", total))
		case "memory":
			total = min(total, limits("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", total))
		}
	}
	return total
}

// limits is the smallest limit of a cgroup and those above it.
func limits(root, path, file string, total int64) int64 {
	for ; ; path = filepath.Dir(path) {
		b, err := os.ReadFile(filepath.Join(root, path, file))
		if v, parseErr := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && parseErr == nil && v > 0 {
			total = min(total, v)
		}
		if path == "/" || path == "." || path == "" {
			return total
		}
	}
}

// shared is the folder that an administrator makes, writable to all, for the
// builds of all users to share one ledger.
const shared = "/run/cube"

// Path is where the ledger of this machine and boot is kept: in /run/cube where
// an administrator made that for all users, and otherwise below cache, for
// those of one.
func Path(cache string) (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("ledger: %w", err)
	}
	name := strings.TrimSpace(string(id))
	if name == "" || strings.ContainsRune(name, '/') {
		return "", errors.New("ledger: the boot has no id")
	}
	if unix.Access(shared, unix.W_OK|unix.X_OK) == nil {
		return filepath.Join(shared, "ledger-"+name), nil
	}
	return filepath.Join(cache, "machine", "ledger-"+name), nil
}
