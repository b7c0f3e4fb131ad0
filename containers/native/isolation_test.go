//go:build linux

package native_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
	"github.com/google/go-cmp/cmp"
)

func TestPayloadIsNobodyAndHoldsNothing(t *testing.T) {
	lowerLimit(t, syscall.RLIMIT_FSIZE, 1<<40) // as a shell's ulimit does
	lowerLimit(t, syscall.RLIMIT_CPU, 1<<30)
	r := newRunner(t, native.Config{})
	want := `uid 65534 65534 gid 65534 65534
groups []
pid 100 ppid 1
wd /
host cube
umask 022
session leader true
tty no such file or directory
SigBlk: 0000000000000000
SigIgn: 0000000000000000
CapInh: 0000000000000000
CapPrm: 0000000000000000
CapEff: 0000000000000000
CapBnd: 0000000000000000
CapAmb: 0000000000000000
NoNewPrivs: 1
Seccomp: 2
rlimit 4 0
rlimit 7 16384
rlimit 9 as high as may be true
rlimit 2 as high as may be true
rlimit 1 as high as may be true
rlimit 0 as high as may be true
fd 0 /dev/null
fd 1 pipe
fd 2 pipe
personality 0x40000
oom_score_adj 500
processes [/proc/100]
interface lo true
`
	if os.Geteuid() != 0 {
		// A user namespace shows the groups that are not in it as nobody's.
		want = strings.Replace(want, "groups []", "groups [*]", 1)
	}
	got := succeed(t, r, probe(t, "self"))
	got = strings.Replace(got, "rlimit 4 1\n", "rlimit 4 0\n", 1) // both mean that there are no cores
	got = regexp.MustCompile(`groups \[65534( 65534)*\]`).ReplaceAllString(got, "groups [*]")
	want = strings.Replace(want, "groups [*]", regexp.MustCompile(`groups \[.*\]`).FindString(got), 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if os.Geteuid() == 0 && !strings.Contains(got, "groups []\n") {
		t.Error("it is in groups")
	}
}

// lowerLimit lowers a soft limit of this process until the test ends.
func lowerLimit(t *testing.T, resource int, soft uint64) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(resource, &old); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: min(soft, old.Max), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(resource, &old); err != nil {
			t.Error(err)
		}
	})
}

func TestPayloadCannotWriteToTheImageOrAnInput(t *testing.T) {
	r := newRunner(t, native.Config{})
	image, in := openDir(t), openDir(t)
	for _, dir := range []string{image, in} {
		writeFile(t, filepath.Join(dir, "file"), "as it was")
		if err := os.Chmod(filepath.Join(dir, "file"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	spec := probe(t, "write", "/", "/file", "/probe", "/etc", "/etc/passwd", "/dev", "/dev/null", "/proc", "/proc/self/comm", "/proc/cpuinfo", "/cube", "/cube/in", "/cube/in/file", "/cube/request.json", "/cube/filled", "/cube/filled/x")
	spec.Layers = append(spec.Layers, image)
	spec.Mounts = []containers.Mount{
		{Kind: containers.Bind, Source: in, Target: "/cube/in"},
		{Kind: containers.Content, Target: "/cube/request.json", Content: []byte("{}")},
		{Kind: containers.Tmpfs, Target: "/cube/filled", Fill: func(root *os.Root) error { return root.WriteFile("x", nil, 0o666) }},
	}
	for line := range strings.Lines(succeed(t, r, spec)) {
		// Writing to /dev/null is no change.
		if strings.HasSuffix(line, " ok\n") && line != "/dev/null: append ok\n" {
			t.Error(line)
		}
	}
	for _, dir := range []string{image, in} {
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("%s: %v, %v", dir, entries, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(b) != "as it was" {
			t.Errorf("%s: %q, %v", dir, b, err)
		}
	}
}

func TestPayloadReachesNoNetworkButItsOwnLoopback(t *testing.T) {
	r := newRunner(t, native.Config{})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	abstract, err := net.Listen("unix", "@native-test-"+fmt.Sprint(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	addresses := []string{"tcp!" + tcp.Addr().String(), "unix!" + abstract.Addr().String(), "tcp!192.0.2.1:80", "udp!192.0.2.1:53", "tcp![2001:db8::1]:80"}
	if outside := outsideAddress(); outside != "" {
		addresses = append(addresses, "tcp!"+outside)
	}
	for _, a := range addresses {
		network, address, _ := strings.Cut(a, "!")
		if c, err := net.Dial(network, address); err == nil {
			c.Close()
		} else if strings.Contains(address, "127.0.0.1") || network == "unix" {
			t.Fatalf("the host itself cannot reach %s: %v", a, err)
		}
	}
	got := succeed(t, r, probe(t, append([]string{"dial"}, addresses...)...))
	if n := strings.Count(got, ": ok\n"); n != 1 || !strings.Contains(got, "own loopback: ok\n") {
		t.Error(got)
	}
}

func TestEachPayloadFindsAnUnusedNetwork(t *testing.T) {
	r := newRunner(t, native.Config{})
	look := probe(t, "read", "/proc/self/net/dev", "/proc/self/net/snmp", "/proc/self/net/netstat", "/proc/self/net/sockstat", "/proc/self/net/tcp", "/proc/self/net/unix")
	// The kernel counts the memory of sockets for the whole machine.
	shared := regexp.MustCompile(`alloc \d+ mem \d+|mem \d+`)
	seen := func() string { return shared.ReplaceAllString(succeed(t, r, look), "mem -") }
	first := seen()
	for range 3 {
		succeed(t, r, probe(t, "dial", "tcp!192.0.2.1:80"))
		if diff := cmp.Diff(first, seen()); diff != "" {
			t.Error(diff)
		}
	}
}

// outsideAddress is where the host listens on a device that is not lo.
func outsideAddress() string {
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			return ip.IP.String() + ":1"
		}
	}
	return ""
}

func TestPayloadGainsNoPrivilege(t *testing.T) {
	r := newRunner(t, native.Config{})
	got := succeed(t, r, probe(t, "escape"))
	if strings.Count(got, "\n") < 50 {
		t.Errorf("it did not try everything:\n%s", got)
	}
	allowed := []string{
		"read /proc/self/oom_score_adj: ok\n", // to read it is no privilege
		"read /proc/sys/kernel/core_pattern: ok\n",
		"kill init: ok\n",                                          // the kernel takes the signal and drops it
		"read /proc/sysrq-trigger: ok\n", "read /proc/kcore: ok\n", // both are covered by an empty file
	}
	for line := range strings.Lines(got) {
		if strings.HasSuffix(line, ": ok\n") && !slices.Contains(allowed, line) {
			t.Error(line)
		}
	}
}

func TestPayloadSeesNothingOfTheHost(t *testing.T) {
	r := newRunner(t, native.Config{})
	dir := openDir(t)
	t.Setenv("SECRET_OF_THE_HOST", "secret-of-the-host")
	got := succeed(t, r, dumpSpec(t, dir))
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{
		"host name": host, "environment": "secret-of-the-host", "staging path": dir, "name of the container": "the-run-id",
		"temporary directory": os.TempDir() + "/Test", "engine": fmt.Sprint("-", os.Getpid(), "-"), "cgroup": "process_api",
		"builder's path": built.dir,
	}
	for what, path := range map[string]string{"boot id": "/proc/sys/kernel/random/boot_id", "kernel command line": "/proc/cmdline", "kernel version": "/proc/version", "machine id": "/etc/machine-id"} {
		if b, err := os.ReadFile(path); err == nil {
			secrets[what] = strings.TrimSpace(string(b))
		}
	}
	if home, err := os.UserHomeDir(); err == nil && home != "/" {
		secrets["home"] = home + "/"
	}
	for what, secret := range secrets {
		for line := range strings.Lines(got) {
			if secret != "" && len(secret) > 3 && strings.Contains(line, secret) {
				t.Errorf("%s: %q in: %.300s", what, secret, line)
			}
		}
	}
}

// dumpSpec dumps a sandbox with one of each mount that hides where it is from.
func dumpSpec(t *testing.T, dir string) containers.Spec {
	writeFile(t, filepath.Join(dir, "x.npy"), "numbers")
	writeFile(t, filepath.Join(dir, "source.tif"), "raster")
	spec := probe(t, "dump")
	spec.Name = "the-run-id"
	spec.Limits = containers.Limits{Memory: 256 << 20, PIDs: 64, CPUs: 1}
	spec.Mounts = []containers.Mount{
		{Kind: containers.Content, Target: "/cube/request.json", Content: []byte("{}")},
		{Kind: containers.Bind, Source: dir, Target: "/cube/in"},
		{Kind: containers.Bind, Source: filepath.Join(dir, "source.tif"), Target: "/cube/sources/source.tif"},
		{Kind: containers.Tmpfs, Target: "/cube/out", Keep: true},
		{Kind: containers.Tmpfs, Target: "/cube/scratch"},
	}
	return spec
}

// varying are files of a process that the kernel makes differ from run to run,
// and lets nobody hide: ids of mounts and namespaces, times, and how the
// scheduler and the memory allocator went.
var varying = regexp.MustCompile(`^/proc/100/(task/[0-9]+/)?(autogroup|pagemap|syscall|wchan|maps|map_files/.*|numa_maps|mountinfo|mountstats|stat|statm|status|sched|schedstat|smaps|smaps_rollup|io|ns/.*|fd/.*|fdinfo/.*|net/.*) ` +
	`|^/proc/100/task/|^/proc/sys/(kernel/random/|kernel/ns_last_pid|net/netfilter|vm/)`)

func TestTwoRunsLookTheSame(t *testing.T) {
	var dumps []string
	for range 2 {
		r := newRunner(t, native.Config{})
		var same []string
		for line := range strings.Lines(succeed(t, r, dumpSpec(t, openDir(t)))) {
			if !varying.MatchString(line) {
				same = append(same, line)
			}
		}
		if len(same) < 50 {
			t.Errorf("only %d lines to compare", len(same))
		}
		dumps = append(dumps, strings.Join(same, ""))
	}
	if diff := cmp.Diff(dumps[0], dumps[1]); diff != "" {
		t.Error(diff)
	}
}

func TestMountinfoTellsOnlyIDs(t *testing.T) {
	r := newRunner(t, native.Config{})
	spec := dumpSpec(t, openDir(t))
	spec.Args = []string{"/probe", "read", "/proc/self/mountinfo"}
	ids := regexp.MustCompile(`[0-9]+ [0-9]+ [0-9]+:[0-9]+ `)
	first := ids.ReplaceAllString(succeed(t, r, spec), "")
	spec.Mounts[1].Source = openDir(t)
	writeFile(t, filepath.Join(spec.Mounts[1].Source, "source.tif"), "another")
	second := ids.ReplaceAllString(succeed(t, r, spec), "")
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	for line := range strings.SplitSeq(first, `\n`) {
		t.Log(line)
	}
}
