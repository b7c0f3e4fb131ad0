// Package native is a sandbox of its own making: namespaces, mounts, cgroups
// and a seccomp filter, in pure Go, with no daemon, no cgo and no other program
// than the small static cube-worker that it carries. It works as root and, by
// way of a user namespace, without.
//
// # What a payload gets
//
// Its own mount, process, network, IPC, host name and cgroup namespaces. The
// image's layers as a read-only overlay, over a skeleton that supplies /proc,
// /dev, /tmp, /cube and a fixed /etc/passwd, group, hostname, hosts, resolv.conf
// and nsswitch.conf where the image has none. A read-only /proc that shows its
// own processes and says nothing of the machine; no /sys; /tmp and /dev/shm in
// memory, limited. One network device, lo. No capability, no new privilege, no
// terminal unless Spec.Terminal hands one over (then there is /dev/tty, too), no descriptor but /dev/null (or Spec.Stdin), two pipes, and one for
// its answers where it serves (Spec.Answers). It is process 100, a
// child of a process 1 that it cannot see. Addresses are not randomised, umask
// is 022, core dumps are off, and rlimits are fixed, save that no hard one is raised.
//
// Whiteouts of layers are the overlay's own: a character device 0/0 hides a
// file, and the attribute user.overlay.opaque=y a directory's lower content.
//
// # Who it runs as
//
// As root, it runs as Spec.UID, never 0, so what is bound for it to read must
// be readable by that user; the top directory of a writable bind is given to
// it. Without root, the user namespace holds one user: Spec.UID inside is the
// engine's own user outside, so the payload may read what the engine may read
// of what is bound, and what it writes belongs to the engine's user. Root that
// lacks the capabilities, as in most containers, is treated as without.
//
// # What limits it
//
// Memory, processes and processor time are limited by cgroups, v1 or v2, made
// below the engine's own, so that what limits the engine limits its payloads.
// A limit that no cgroup can be had for is named in Exit.Unenforced; only that
// of processes has a substitute, in a user namespace: its own RLIMIT_NPROC.
//
// # What the kernel lets through
//
// A payload can still tell runs and hosts apart by what no namespace covers:
// clocks (and boot time, by sysinfo), uname's release and version and other
// values below /proc/sys, the CPU's own identification and the CPUs it may run
// on, total memory by sysinfo, how much memory the machine's sockets take (/proc/net/sockstat), mount ids and device and inode numbers (in stat
// and /proc/self/mountinfo), when files were read, changed and made (their times of
// modification are 1970, but for an input that is a file of the cube's), and random numbers; without root, also the number
// of the engine's user. A read-only bind goes through an overlay, so that
// mountinfo does not show its source; a writable bind shows the source's path
// within its file system there, which is why outputs are better kept in a Tmpfs.
//
// # What it costs
//
// Sandboxes are kept ready ahead ([Config].Spares), so that a Run starts with
// one whose namespaces and /proc are made. As root, a network namespace that
// comes back with every counter as it was is lent again.
//
// # What is left behind
//
// Nothing: mounts live in the sandbox's own namespace and go with it, and
// process 1 dies with the engine, however that dies. Only the leaf cgroups of a
// killed engine stay, named after it, until the next [New] on that machine
// removes them.
package native
