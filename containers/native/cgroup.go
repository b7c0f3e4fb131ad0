//go:build linux

package native

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cubebuild/cube/containers"
	"golang.org/x/sys/unix"
)

// controllers are those that limits need.
var controllers = []string{"memory", "pids", "cpu"}

// groups says where this process may make cgroups: below its own, so that
// whatever limits the engine limits its containers, too.
type groups struct {
	unified string            // v2 directory that leaves are made in, or empty
	has     []string          // controllers that a unified leaf will have
	legacy  map[string]string // v1 directory that leaves are made in, by controller
	missing map[string]string // why a controller is not to be had
}

// findGroups looks where leaves can be made. v1 hierarchies win where they hold
// a controller, because no other hierarchy can then.
func findGroups() groups {
	g := groups{legacy: map[string]string{}, missing: map[string]string{}}
	mounts, err := cgroupMounts()
	if err != nil {
		return g.lack(err.Error())
	}
	own, err := ownCgroups()
	if err != nil {
		return g.lack(err.Error())
	}
	for _, c := range controllers {
		if dir, ok := mounts.dir(c, own[c]); ok {
			if err := writable(dir); err != nil {
				g.missing[c] = err.Error()
			} else {
				g.legacy[c] = dir
			}
		}
	}
	if dir, ok := mounts.dir("", own[""]); ok {
		g.findUnified(dir, mounts[""].point)
	}
	for _, c := range controllers {
		if g.legacy[c] == "" && !slices.Contains(g.has, c) && g.missing[c] == "" {
			g.missing[c] = "no cgroup hierarchy here has the controller"
		}
	}
	return g
}

func (g groups) lack(why string) groups {
	for _, c := range controllers {
		g.missing[c] = why
	}
	return g
}

// findUnified looks upward from the own cgroup for the nearest one whose
// children may have controllers: one that is ours to write to and, because v2
// wants it so, has no process of its own or is the root.
func (g *groups) findUnified(own, root string) {
	for dir := own; ; dir = filepath.Dir(dir) {
		if want := g.wanted(dir); len(want) > 0 && writable(dir) == nil && (dir == root || vacant(dir)) {
			for _, c := range want {
				// Denied or not possible: leaves go without it.
				_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0)
			}
			if g.has = enabled(dir, want); len(g.has) > 0 {
				g.unified = dir
				return
			}
		}
		if dir == root || len(dir) <= len(root) {
			break
		}
	}
	for _, c := range controllers {
		if g.legacy[c] == "" && g.missing[c] == "" {
			g.missing[c] = "no cgroup that this process may write to can give it to others"
		}
	}
}

// wanted are the controllers that the v2 cgroup could give to its children and
// that no v1 hierarchy holds.
func (g *groups) wanted(dir string) []string {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	there := strings.Fields(string(b))
	return slices.DeleteFunc(slices.Clone(controllers), func(c string) bool {
		return g.legacy[c] != "" || !slices.Contains(there, c)
	})
}

func enabled(dir string, want []string) []string {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	on := strings.Fields(string(b))
	return slices.DeleteFunc(slices.Clone(want), func(c string) bool { return !slices.Contains(on, c) })
}

// writable reports whether children can be made in the cgroup and processes be
// moved out of it.
func writable(dir string) error {
	for _, path := range []string{dir, filepath.Join(dir, "cgroup.procs")} {
		if err := unix.Access(path, unix.W_OK); err != nil {
			return fmt.Errorf("write to %s: %w", path, err)
		}
	}
	return nil
}

func vacant(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	return err == nil && len(b) == 0
}

// dirs are all directories that leaves are made in.
func (g groups) dirs() []string {
	var dirs []string
	if g.unified != "" {
		dirs = append(dirs, g.unified)
	}
	for _, c := range controllers {
		if dir := g.legacy[c]; dir != "" && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// hierarchy is a mounted cgroup hierarchy: which of its cgroups is seen where.
type hierarchy struct{ root, point string }

// hierarchies are the mounted ones by controller; the unified one has none.
type hierarchies map[string]hierarchy

// dir returns where the cgroup of the hierarchy is to be seen.
func (h hierarchies) dir(controller, cgroup string) (string, bool) {
	at, ok := h[controller]
	if !ok || cgroup == "" {
		return "", false
	}
	rel, err := filepath.Rel(at.root, cgroup)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return at.point, true // in a container that shows its cgroup as the root
	}
	return filepath.Join(at.point, rel), true
}

func cgroupMounts() (hierarchies, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseCgroupMounts(b), nil
}

// parseCgroupMounts reads the cgroup lines of a mountinfo:
//
//	id parent major:minor root point options … - type source super-options
func parseCgroupMounts(mountinfo []byte) hierarchies {
	found := hierarchies{}
	lines := bufio.NewScanner(bytes.NewReader(mountinfo))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		left, right, ok := strings.Cut(lines.Text(), " - ")
		mount, fs := strings.Fields(left), strings.Fields(right)
		if !ok || len(mount) < 5 || len(fs) < 3 {
			continue
		}
		h := hierarchy{root: mount[3], point: mount[4]}
		switch fs[0] {
		case "cgroup2":
			if _, seen := found[""]; !seen {
				found[""] = h
			}
		case "cgroup":
			for option := range strings.SplitSeq(fs[2], ",") {
				if slices.Contains(controllers, option) {
					found[option] = h
				}
			}
		}
	}
	return found
}

// ownCgroups returns this process's cgroup by controller; the unified one has
// none.
func ownCgroups() (map[string]string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	own := map[string]string{}
	for line := range strings.Lines(string(b)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			own[c] = f[2]
		}
	}
	return own, nil
}

// leaf is the cgroups of one container.
type leaf struct {
	groups  *groups
	name    string
	unified *os.File          // v2 directory, to be born into
	legacy  map[string]string // v1 directories, by controller
	dirs    []string
}

// make makes the leaf's cgroups, with no limits.
func (g *groups) make(name string) (*leaf, error) {
	l := &leaf{groups: g, name: name, legacy: map[string]string{}}
	for _, parent := range g.dirs() {
		dir := filepath.Join(parent, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			l.remove()
			return nil, fmt.Errorf("make cgroup: %w", err)
		}
		l.dirs = append(l.dirs, dir)
	}
	for c, parent := range g.legacy {
		l.legacy[c] = filepath.Join(parent, name)
	}
	if g.unified != "" {
		f, err := os.Open(filepath.Join(g.unified, name))
		if err != nil {
			l.remove()
			return nil, fmt.Errorf("open cgroup: %w", err)
		}
		l.unified = f
	}
	return l, nil
}

// tasks opens the v1 task lists, which the payload's first thread writes itself
// into.
func (l *leaf) tasks() ([]*os.File, error) {
	var files []*os.File
	for _, dir := range l.dirs {
		if l.unified != nil && dir == l.unified.Name() {
			continue
		}
		f, err := os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY, 0)
		if err != nil {
			closeFiles(files)
			return nil, fmt.Errorf("open cgroup: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

// initTasks is how many threads process 1 may have of its own: in v2 they are
// in the leaf, too; in v1 it is the one that starts the payload.
const initTasks = 8

// limit sets the limits and returns those that are not enforced.
func (l *leaf) limit(limits containers.Limits) (unenforced []string) {
	set := func(controller string, wanted bool, err func() error) {
		switch {
		case !wanted:
		case l.groups.missing[controller] != "":
			unenforced = append(unenforced, controller+": "+l.groups.missing[controller])
		default:
			if err := err(); err != nil {
				unenforced = append(unenforced, controller+": "+err.Error())
			}
		}
	}
	set("memory", limits.Memory > 0, func() error { return l.limitMemory(limits.Memory) })
	set("pids", limits.PIDs > 0, func() error { return l.limitPIDs(limits.PIDs) })
	set("cpu", limits.CPUs > 0, func() error { return l.limitCPU(limits.CPUs) })
	return unenforced
}

func (l *leaf) limitMemory(limit int64) error {
	if dir := l.legacy["memory"]; dir != "" {
		if err := write(dir, "memory.limit_in_bytes", strconv.FormatInt(limit, 10)); err != nil {
			return err
		}
		return optional(write(dir, "memory.memsw.limit_in_bytes", strconv.FormatInt(limit, 10)))
	}
	if err := write(l.unified.Name(), "memory.max", strconv.FormatInt(limit, 10)); err != nil {
		return err
	}
	return optional(write(l.unified.Name(), "memory.swap.max", "0"))
}

func (l *leaf) limitPIDs(limit int) error {
	if dir := l.legacy["pids"]; dir != "" {
		return write(dir, "pids.max", strconv.Itoa(limit+1))
	}
	return write(l.unified.Name(), "pids.max", strconv.Itoa(limit+initTasks))
}

func (l *leaf) limitCPU(cpus float64) error {
	const period = 100_000 // microseconds, the kernel's own default
	quota := strconv.Itoa(max(int(cpus*period), 1000))
	if dir := l.legacy["cpu"]; dir != "" {
		return write(dir, "cpu.cfs_quota_us", quota)
	}
	return write(l.unified.Name(), "cpu.max", quota+" "+strconv.Itoa(period))
}

// killedForMemory reports whether the kernel killed a process of the leaf
// because the leaf was at its limit.
func (l *leaf) killedForMemory() bool {
	path := ""
	switch {
	case l.legacy["memory"] != "":
		path = filepath.Join(l.legacy["memory"], "memory.oom_control")
	case l.unified != nil && slices.Contains(l.groups.has, "memory"):
		path = filepath.Join(l.unified.Name(), "memory.events")
	default:
		return false
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "oom_kill" {
			return f[1] != "0"
		}
	}
	return false
}

// peakMemory is the most memory that the leaf held, or zero where the kernel
// does not say.
func (l *leaf) peakMemory() int64 {
	f := l.openPeak()
	if f == nil {
		return 0
	}
	defer f.Close()
	return readPeak(f)
}

// openPeak opens the file that tells the most memory that the leaf held; nil
// where the kernel does not say.
func (l *leaf) openPeak() *os.File {
	path := ""
	switch {
	case l.legacy["memory"] != "":
		path = filepath.Join(l.legacy["memory"], "memory.max_usage_in_bytes")
	case l.unified != nil:
		path = filepath.Join(l.unified.Name(), "memory.peak")
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), path)
}

func readPeak(f *os.File) int64 {
	if f == nil {
		return 0
	}
	var buf [32]byte
	n, _ := strconv.ParseInt(strings.TrimSpace(string(readStart(f, buf[:]))), 10, 64)
	return n
}

// remove removes the leaf's cgroups and returns those that it could not,
// because a process has not quite left them yet.
func (l *leaf) remove() (left []string) {
	if l.unified != nil {
		l.unified.Close()
	}
	for _, dir := range l.dirs {
		// rmdir of a cgroup removes the cgroup if nothing is in it, and is the
		// only way; os.Remove would try unlink first.
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			left = append(left, dir)
		}
	}
	l.dirs = left
	return left
}

// write writes the value to a file of the cgroup. The file must be there.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// optional forgets that a file is not there, as that of swap is not on a
// kernel without.
func optional(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
