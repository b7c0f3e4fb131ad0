//go:build linux

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is where a run took place. An absolute time means little without it,
// and not much with it.
type machine struct {
	Processor  string            `json:"processor"`
	Cores      int               `json:"cores"`
	Memory     int64             `json:"memory"`
	Kernel     string            `json:"kernel"`
	FileSystem string            `json:"file_system"` // of the directory that benches work in
	Root       bool              `json:"root"`
	LoadBefore float64           `json:"load_before"` // average of one minute
	LoadAfter  float64           `json:"load_after"`
	Programs   map[string]string `json:"programs"`
}

func (m machine) String() string {
	who := "rootless"
	if m.Root {
		who = "as root"
	}
	s := fmt.Sprintf("Measured %s on %d cores of %s, %d GiB, Linux %s, %s; load %.1f before and %.1f after",
		who, m.Cores, m.Processor, (m.Memory+1<<29)>>30, m.Kernel, m.FileSystem, m.LoadBefore, m.LoadAfter)
	for _, p := range versioned {
		if v := m.Programs[p.name]; v != "" {
			s += "; " + p.name + " " + v
		}
	}
	return s
}

// versioned are the programs whose versions a report names, with the word of
// their own answer that it is.
var versioned = []struct {
	name string
	args []string
	word int
}{
	{"bwrap", []string{"--version"}, 1},
	{"dockerd", []string{"--version"}, 2},
	{"ninja", []string{"--version"}, 0},
	{"openssl", []string{"version"}, 1},
}

func describe(dir string) machine {
	m := machine{Processor: "an unnamed processor", Cores: runtime.NumCPU(), Root: os.Geteuid() == 0, LoadBefore: load(),
		FileSystem: fileSystem(dir), Programs: map[string]string{"go": runtime.Version()}}
	if name := lineOf("/proc/cpuinfo", "model name"); name != "" {
		m.Processor = name
	}
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) == nil {
		m.Memory = int64(info.Totalram) * int64(info.Unit)
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel, _, _ = strings.Cut(unix.ByteSliceToString(u.Release[:]), "-")
	}
	for _, p := range versioned {
		if out, err := exec.Command(p.name, p.args...).Output(); err == nil {
			if words := strings.Fields(string(out)); len(words) > p.word {
				m.Programs[p.name] = strings.TrimSuffix(words[p.word], ",")
			}
		}
	}
	return m
}

func load() float64 {
	data, _ := os.ReadFile("/proc/loadavg")
	v, _ := strconv.ParseFloat(strings.SplitN(string(data), " ", 2)[0], 64)
	return v
}

// lineOf is the value of the first line of a file that begins with a name.
func lineOf(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if key, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

var fileSystems = map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.TMPFS_MAGIC: "tmpfs", unix.XFS_SUPER_MAGIC: "xfs",
	unix.BTRFS_SUPER_MAGIC: "btrfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", 0x2fc12fc1: "zfs"}

func fileSystem(dir string) string {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "an unknown file system"
	}
	if name := fileSystems[int64(s.Type)]; name != "" {
		return name
	}
	return fmt.Sprintf("file system %#x", s.Type)
}
