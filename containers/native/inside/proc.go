//go:build linux

package inside

import "golang.org/x/sys/unix"

// fixed is what files of /proc say, instead of what they would tell of the
// host, its load or the time since it started.
var fixed = []struct{ path, content string }{
	{"cmdline", "\n"},
	{"version", "Linux version 0 (cube)\n"},
	{"uptime", "0.00 0.00\n"},
	{"loadavg", "0.00 0.00 0.00 1/1 1\n"},
	{"stat", "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\nintr 0\nctxt 0\nbtime 0\nprocesses 1\nprocs_running 1\nprocs_blocked 0\n"},
	{"cpuinfo", "processor\t: 0\nvendor_id\t: cube\nmodel name\t: cube\ncpu cores\t: 1\n\n"},
	{"meminfo", "MemTotal:        1048576 kB\nMemFree:         1048576 kB\nMemAvailable:    1048576 kB\nBuffers:               0 kB\nCached:                0 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n"},
	{"sys/kernel/random/boot_id", "00000000-0000-0000-0000-000000000000\n"},
}

// emptied are files of /proc that are empty inside, and hidden directories
// that are. (Others that tell of the host are root's alone to read.)
var (
	emptied = []string{
		"buddyinfo", "cgroups", "config.gz", "consoles", "crypto", "devices", "diskstats", "interrupts",
		"kcore", "key-users", "keys", "latency_stats", "locks", "misc", "modules", "mtrr",
		"pagetypeinfo", "partitions", "sched_debug", "schedstat", "softirqs", "swaps",
		"sysrq-trigger", "timer_list", "vmstat", "zoneinfo",
	}
	hidden = []string{"acpi", "asound", "bus", "driver", "fs", "irq", "pressure", "scsi", "sys/dev", "sys/fs", "tty"}
)

// makeProc mounts a read-only /proc that shows the payload's own processes, with
// what it says of the host covered.
func makeProc() error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", "proc", "proc", flags, "hidepid=2"); err != nil {
		return wrong("mount /proc", err)
	}
	if err := writeFile("f/empty", "", unix.O_WRONLY|unix.O_CREAT); err != nil {
		return wrong("make fixed files", err)
	}
	for i, f := range fixed {
		name := "f/" + string(rune('a'+i))
		if err := writeFile(name, f.content, unix.O_WRONLY|unix.O_CREAT); err != nil {
			return wrong("make fixed files", err)
		}
		if err := cover(name, f.path); err != nil {
			return err
		}
	}
	for _, path := range emptied {
		if err := cover("f/empty", path); err != nil {
			return err
		}
	}
	for _, path := range hidden {
		if err := cover("e", path); err != nil {
			return err
		}
	}
	const attributes = plain | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_RDONLY
	return wrong("make /proc read-only", setAttributes("proc", attributes, unix.AT_RECURSIVE))
}

// cover mounts from over what is at path in /proc, if this kernel has it.
func cover(from, path string) error {
	err := unix.Mount(from, "proc/"+path, "", unix.MS_BIND, "")
	if err == unix.ENOENT {
		return nil
	}
	return wrong("cover /proc/"+path, err)
}
