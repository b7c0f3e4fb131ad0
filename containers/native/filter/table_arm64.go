// Code generated from Docker's default profile by go test -update; DO NOT EDIT.

package filter

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64
	lastKnown = 467
)

var allowed = []span{
	{0, 17},    // io_setup to getcwd
	{19, 38},   // eventfd2 to renameat
	{43, 50},   // statfs to fchdir
	{52, 57},   // fchmod to close
	{59, 59},   // pipe2
	{61, 78},   // getdents64 to readlinkat
	{80, 88},   // fstat to utimensat
	{90, 91},   // capget to capset
	{93, 96},   // exit to set_tid_address
	{98, 103},  // futex to setitimer
	{107, 111}, // timer_create to timer_delete
	{113, 115}, // clock_gettime to clock_nanosleep
	{117, 141}, // ptrace to getpriority
	{143, 160}, // setregid to uname
	{163, 169}, // getrlimit to gettimeofday
	{171, 197}, // adjtimex to shmdt
	{199, 216}, // socketpair to mremap
	{221, 223}, // execve to fadvise64
	{226, 234}, // mprotect to remap_file_pages
	{240, 240}, // rt_tgsigqueueinfo
	{242, 243}, // accept4 to recvmmsg
	{260, 261}, // wait4 to prlimit64
	{263, 264}, // fanotify_mark to name_to_handle_at
	{266, 267}, // clock_adjtime to syncfs
	{269, 271}, // sendmmsg to process_vm_writev
	{274, 279}, // sched_setattr to memfd_create
	{281, 281}, // execveat
	{283, 293}, // membarrier to rseq
	{403, 403}, // clock_gettime64
	{405, 414}, // clock_adjtime64 to ppoll_time64
	{416, 424}, // io_pgetevents_time64 to pidfd_send_signal
	{434, 434}, // pidfd_open
	{436, 437}, // close_range to openat2
	{439, 439}, // faccessat2
	{441, 441}, // epoll_pwait2
	{444, 449}, // landlock_create_ruleset to futex_waitv
	{451, 458}, // cachestat to listmount
	{462, 466}, // mseal to removexattrat
}
