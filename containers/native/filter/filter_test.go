//go:build linux

package filter

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the tables anew")

// profiled are the calls that the profile allows whatever their arguments, to
// a container with no capabilities on a kernel that is new enough.
func profiled(t *testing.T, goarch string, info *arch.Info) []int {
	t.Helper()
	names := map[string]bool{}
	for _, call := range seccomp.DefaultProfile().Syscalls {
		in, ex := call.Includes, call.Excludes
		switch {
		case in != nil && (len(in.Caps) > 0 || len(in.Arches) > 0 && !slices.Contains(in.Arches, goarch)):
			continue
		case ex != nil && len(ex.Arches) > 0 && slices.Contains(ex.Arches, goarch):
			continue
		case call.Action != specs.ActAllow || len(call.Args) > 0:
			continue
		}
		for _, n := range call.Names {
			names[n] = true
		}
	}
	var numbers []int
	for name := range names {
		if n, ok := info.SyscallNames[name]; ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}

func table(t *testing.T, goarch string, info *arch.Info) []byte {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated from Docker's default profile by go test -update; DO NOT EDIT.\n\n")
	fmt.Fprintf(&b, "package filter\n\nimport \"golang.org/x/sys/unix\"\n\nconst (\n")
	audit := map[string]string{"amd64": "AUDIT_ARCH_X86_64", "arm64": "AUDIT_ARCH_AARCH64"}[goarch]
	fmt.Fprintf(&b, "auditArch = unix.%s\n", audit)
	fmt.Fprintf(&b, "lastKnown = %d\n)\n\n", slices.Max(slices.Collect(maps.Keys(info.SyscallNumbers))))
	fmt.Fprintf(&b, "var allowed = []span{\n")
	numbers := profiled(t, goarch, info)
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		first, last := numbers[i], numbers[j]
		fmt.Fprintf(&b, "{%d, %d}, // %s", first, last, info.SyscallNumbers[first])
		if last > first {
			fmt.Fprintf(&b, " to %s", info.SyscallNumbers[last])
		}
		fmt.Fprintln(&b)
		i = j + 1
	}
	fmt.Fprintf(&b, "}\n")
	source, err := format.Source(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func TestTablesFollowTheProfile(t *testing.T) {
	for goarch, info := range map[string]*arch.Info{"amd64": arch.X86_64, "arm64": arch.AARCH64} {
		path := "table_" + goarch + ".go"
		want := table(t, goarch, info)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is stale, run go test -update (-want +got):\n%s", path, diff)
		}
	}
}

// vm runs the program on a call as the kernel would.
func vm(t *testing.T) func(arch, number uint32, args ...uint64) uint32 {
	t.Helper()
	var raw []bpf.RawInstruction
	for _, i := range program() {
		raw = append(raw, bpf.RawInstruction{Op: i.Code, Jt: i.Jt, Jf: i.Jf, K: i.K})
	}
	instructions, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program does not disassemble")
	}
	machine, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	return func(arch, number uint32, args ...uint64) uint32 {
		// The VM reads words big-endian, as packets are.
		words := []uint32{number, arch, 0, 0}
		for _, a := range args {
			words = append(words, uint32(a), uint32(a>>32))
		}
		for len(words) < 16 {
			words = append(words, 0)
		}
		var data []byte
		for _, w := range words {
			data = append(data, byte(w>>24), byte(w>>16), byte(w>>8), byte(w))
		}
		action, err := machine.Run(data)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(action)
	}
}

func TestProgramDecidesEveryCallAsTheProfileDoes(t *testing.T) {
	info, err := arch.GetInfo("")
	if err != nil {
		t.Skip("no table for this architecture")
	}
	goarch := map[*arch.Info]string{arch.X86_64: "amd64", arch.AARCH64: "arm64"}[info]
	run := vm(t)
	byArgument := []string{"clone", "clone3", "socket", "personality", "ioctl"}
	for n := range uint32(lastKnown + 1) {
		if slices.Contains(byArgument, info.SyscallNumbers[int(n)]) {
			continue
		}
		want := uint32(deny)
		if slices.Contains(profiled(t, goarch, info), int(n)) {
			want = allow
		}
		if got := run(auditArch, n); got != want {
			t.Errorf("call %d (%s): %#x, want %#x", n, info.SyscallNumbers[int(n)], got, want)
		}
	}
}

func TestProgramLooksAtArguments(t *testing.T) {
	run := vm(t)
	const high = 1 << 32 // the kernel ignores it
	for _, tc := range []struct {
		name   string
		arch   uint32
		number uint32
		args   []uint64
		want   uint32
	}{
		{"fork", auditArch, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, allow},
		{"thread", auditArch, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_THREAD}, allow},
		{"user namespace", auditArch, unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER}, deny},
		{"mount namespace", auditArch, unix.SYS_CLONE, []uint64{unix.CLONE_NEWNS | unix.CLONE_VM}, deny},
		{"clone3", auditArch, unix.SYS_CLONE3, nil, missing},
		{"unix socket", auditArch, unix.SYS_SOCKET, []uint64{unix.AF_UNIX}, allow},
		{"ipv6 socket", auditArch, unix.SYS_SOCKET, []uint64{unix.AF_INET6}, allow},
		{"vsock", auditArch, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK}, noFamily},
		{"vsock with high bits", auditArch, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK | high}, noFamily},
		{"packet socket", auditArch, unix.SYS_SOCKET, []uint64{unix.AF_PACKET}, noFamily},
		{"kernel crypto", auditArch, unix.SYS_SOCKET, []uint64{unix.AF_ALG}, noFamily},
		{"ask for persona", auditArch, unix.SYS_PERSONALITY, []uint64{0xffffffff}, allow},
		{"readable means executable", auditArch, unix.SYS_PERSONALITY, []uint64{0x400000}, deny},
		{"terminal size", auditArch, unix.SYS_IOCTL, []uint64{0, unix.TIOCGWINSZ}, allow},
		{"push terminal input", auditArch, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, deny},
		{"push terminal input, high bits", auditArch, unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI | high}, deny},
		{"32-bit call", unix.AUDIT_ARCH_I386, 1, nil, missing},
		{"x32 call", auditArch, 0x40000000, nil, missing},
		{"call of the future", auditArch, lastKnown + 1, nil, missing},
		{"last number", auditArch, 0xffffffff, nil, missing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := run(tc.arch, tc.number, tc.args...); got != tc.want {
				t.Errorf("%#x, want %#x", got, tc.want)
			}
		})
	}
}

func TestProgramDeniesWhatEscapesAreMadeOf(t *testing.T) {
	run := vm(t)
	for name, number := range map[string]uint32{
		"unshare": unix.SYS_UNSHARE, "setns": unix.SYS_SETNS, "mount": unix.SYS_MOUNT, "umount2": unix.SYS_UMOUNT2,
		"pivot_root": unix.SYS_PIVOT_ROOT, "fsopen": unix.SYS_FSOPEN, "move_mount": unix.SYS_MOVE_MOUNT,
		"bpf": unix.SYS_BPF, "keyctl": unix.SYS_KEYCTL, "add_key": unix.SYS_ADD_KEY, "io_uring_setup": unix.SYS_IO_URING_SETUP,
		"perf_event_open": unix.SYS_PERF_EVENT_OPEN, "init_module": unix.SYS_INIT_MODULE, "kexec_load": unix.SYS_KEXEC_LOAD,
		"open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "userfaultfd": unix.SYS_USERFAULTFD, "reboot": unix.SYS_REBOOT,
	} {
		if got := run(auditArch, number); got != deny {
			t.Errorf("%s: %#x, want it denied", name, got)
		}
	}
}
