//go:build linux

// Package filter makes the seccomp program that every payload of the native
// sandbox runs under.
//
// What is allowed follows the default profile of Docker for a container with no
// capabilities, whose system calls stand in a generated table per architecture.
// The few rules that look at arguments are in this file, some stricter than
// the profile. The program is a binary search over the call's number, some
// eight instructions deep, because each call of the payload pays for it and the
// kernel runs it once per number when it is loaded.
package filter

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// span is a run of allowed system call numbers, first and last.
type span struct{ first, last uint32 }

// Program returns the program for this machine's architecture, as the kernel
// takes it, or nil where there is none for it.
func Program() []byte {
	if auditArch == 0 {
		return nil
	}
	var b []byte
	for _, i := range program() {
		b = binary.NativeEndian.AppendUint16(b, i.Code)
		b = append(b, i.Jt, i.Jf)
		b = binary.NativeEndian.AppendUint32(b, i.K)
	}
	return b
}

const (
	allow = unix.SECCOMP_RET_ALLOW
	deny  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	// Callers fall back to an older call on ENOSYS: for calls that are newer
	// than the tables, for other ABIs, and for clone3, whose flags are in
	// memory where a filter cannot see them.
	missing  = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	noFamily = unix.SECCOMP_RET_ERRNO | uint32(unix.EAFNOSUPPORT)

	// newNamespaces are the flags of clone that make namespaces.
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
)

// Offsets into struct seccomp_data. The kernel takes these arguments as 32
// bits, so only the low half of the register counts.
const (
	numberAt   = 0
	archAt     = 4
	argumentAt = 16
)

// rule is what happens to the calls from number first on, up to the next rule.
type rule struct {
	first uint32
	body  []unix.SockFilter // ends with a return on every path
}

// program is the whole filter.
func program() []unix.SockFilter {
	head := []unix.SockFilter{
		load(archAt),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: auditArch},
		ret(missing),
		load(numberAt),
	}
	return append(head, search(rules())...)
}

// search is a binary search for the rule of the number that is loaded.
func search(rules []rule) []unix.SockFilter {
	if len(rules) == 1 {
		return rules[0].body
	}
	half := len(rules) / 2
	low, high := search(rules[:half]), search(rules[half:])
	if len(low) > 255 {
		panic("filter: jump too far") // a property of the tables: tested
	}
	branch := unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jt: uint8(len(low)), K: rules[half].first}
	return append(append([]unix.SockFilter{branch}, low...), high...)
}

// rules covers all numbers, in order.
func rules() []rule {
	special := map[uint32][]unix.SockFilter{
		unix.SYS_CLONE:       clone(),
		unix.SYS_CLONE3:      {ret(missing)},
		unix.SYS_SOCKET:      oneOf(noFamily, unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK),
		unix.SYS_PERSONALITY: oneOf(deny, 0, 0x8, 0x20000, 0x20008, 0x40000, 0xffffffff),
		unix.SYS_IOCTL:       noneOf(deny, unix.TIOCSTI, unix.TIOCLINUX),
	}
	body := func(n uint32) []unix.SockFilter {
		if b, ok := special[n]; ok {
			return b
		}
		for _, s := range allowed {
			if s.first <= n && n <= s.last {
				return []unix.SockFilter{ret(allow)}
			}
		}
		return []unix.SockFilter{ret(deny)}
	}
	var list []rule
	for n := uint32(0); n <= lastKnown; n++ {
		b := body(n)
		if last := len(list) - 1; last >= 0 && len(b) == 1 && len(list[last].body) == 1 && list[last].body[0] == b[0] {
			continue
		}
		list = append(list, rule{first: n, body: b})
	}
	return append(list, rule{first: lastKnown + 1, body: []unix.SockFilter{ret(missing)}})
}

func clone() []unix.SockFilter {
	return []unix.SockFilter{
		load(argumentAt),
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 1, K: newNamespaces},
		ret(allow),
		ret(deny),
	}
}

// oneOf allows the call where its first argument is one of values, and
// otherwise does what is said.
func oneOf(otherwise uint32, values ...uint32) []unix.SockFilter {
	b := []unix.SockFilter{load(argumentAt)}
	for i, v := range values {
		b = append(b, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(values) - i), K: v})
	}
	return append(b, ret(otherwise), ret(allow))
}

// noneOf allows the call unless its second argument is one of values, and
// otherwise does what is said.
func noneOf(otherwise uint32, values ...uint32) []unix.SockFilter {
	b := []unix.SockFilter{load(argumentAt + 8)}
	for i, v := range values {
		b = append(b, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(values) - i), K: v})
	}
	return append(b, ret(allow), ret(otherwise))
}

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}
