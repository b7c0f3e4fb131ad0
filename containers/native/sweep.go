//go:build linux

package native

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Every leaf cgroup is named after the process that made it, so that leaves of
// one that is gone can be told:
//
//	cube-<process namespace>-<process>-<its start time>-<runner>.<number>
const leafPrefix = "cube-"

// ownName is how the names of this process's leaves begin.
func ownName() (string, error) {
	namespace, err := processNamespace()
	if err != nil {
		return "", err
	}
	pid := os.Getpid()
	_, start, err := startOf(pid)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s%d-%d-%s-", leafPrefix, namespace, pid, start), nil
}

func processNamespace() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/ns/pid", &st); err != nil {
		return 0, fmt.Errorf("find process namespace: %w", err)
	}
	return st.Ino, nil
}

// startOf is a process's state, a letter, and its start, in ticks since the
// machine's.
func startOf(pid int) (state, start string, err error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", "", fmt.Errorf("find start of process %d: %w", pid, err)
	}
	// The name, in parentheses, may hold anything.
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	const field = 19 // the 22nd, and two stand before the name's end
	if len(f) <= field {
		return "", "", fmt.Errorf("find start of process %d: malformed stat", pid)
	}
	return f[0], f[field], nil
}

// Sweep removes the leaves that killed runners of a state directory left. New
// does so, too: Sweep is for those who find that they need no sandbox. It costs
// a few system calls where there is nothing to remove.
func Sweep(stateDir string) error {
	if err := sweep(filepath.Join(stateDir, noteFile), nil); err != nil {
		return fmt.Errorf("sweep cgroups: %w", err)
	}
	return nil
}

// noteFile is the name of the note of where runners made leaves.
const noteFile = "cgroups"

// sweep removes the leaves of processes that are gone, below the directories
// given and those that earlier runners noted in the file.
func sweep(note string, dirs []string) error {
	known, err := noted(note, dirs)
	if err != nil {
		return err
	}
	namespace, err := processNamespace()
	if err != nil {
		return err
	}
	for _, dir := range known {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // a cgroup that is itself gone
		}
		for _, e := range entries {
			if e.IsDir() && orphaned(e.Name(), namespace) {
				removeOrphan(filepath.Join(dir, e.Name()))
			}
		}
	}
	return nil
}

// noted returns the directories in the note and adds to it those of dirs that
// it lacks.
func noted(note string, dirs []string) ([]string, error) {
	b, err := os.ReadFile(note)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	known := slices.DeleteFunc(strings.Split(string(b), "\n"), func(s string) bool { return s == "" })
	was := len(known)
	for _, d := range dirs {
		if !slices.Contains(known, d) {
			known = append(known, d)
		}
	}
	if len(known) == was {
		return known, nil
	}
	// One write to the end: whole lines, whoever else adds some.
	f, err := os.OpenFile(note, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(strings.Join(known[was:], "\n") + "\n")
	return known, errors.Join(err, f.Close())
}

// orphaned reports whether the name is that of a leaf whose maker, in this
// process namespace, is gone. One that has ended is gone, too, where its parent
// has not asked how: in a container whose first process never asks, it stays.
func orphaned(name string, namespace uint64) bool {
	rest, ok := strings.CutPrefix(name, leafPrefix)
	f := strings.Split(rest, "-")
	if !ok || len(f) != 4 || f[0] != strconv.FormatUint(namespace, 10) {
		return false
	}
	pid, err := strconv.Atoi(f[1])
	if err != nil || pid <= 0 {
		return false
	}
	state, start, err := startOf(pid)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
		return true
	case err != nil:
		return false
	}
	return start != f[2] || state == "Z" || state == "X"
}

// removeOrphan ends what is left in the leaf and removes it. What takes too
// long is left to the next sweep.
func removeOrphan(dir string) {
	for wait := time.Millisecond; wait < 200*time.Millisecond; wait *= 2 {
		if err := unix.Rmdir(dir); err == nil || errors.Is(err, unix.ENOENT) {
			return
		}
		b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for _, s := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(s); err == nil && pid > 1 {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		time.Sleep(wait)
	}
}

// give makes the user the owner of what is at path, unless it is already.
func give(path string, u user) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err
	}
	if int(st.Uid) == u.uid && int(st.Gid) == u.gid {
		return nil
	}
	return unix.Chown(path, u.uid, u.gid)
}
