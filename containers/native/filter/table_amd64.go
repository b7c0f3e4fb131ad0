// Code generated from Docker's default profile by go test -update; DO NOT EDIT.

package filter

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_X86_64
	lastKnown = 467
)

var allowed = []span{
	{0, 40},    // read to sendfile
	{42, 55},   // connect to getsockopt
	{57, 102},  // fork to getuid
	{104, 133}, // getgid to mknod
	{137, 138}, // statfs to fstatfs
	{140, 152}, // getpriority to munlockall
	{154, 154}, // modify_ldt
	{157, 160}, // prctl to setrlimit
	{162, 162}, // sync
	{186, 211}, // gettid to get_thread_area
	{213, 226}, // epoll_create to timer_delete
	{228, 235}, // clock_gettime to utimes
	{240, 245}, // mq_open to mq_getsetattr
	{247, 247}, // waitid
	{251, 255}, // ioprio_set to inotify_rm_watch
	{257, 271}, // openat to ppoll
	{273, 278}, // set_robust_list to vmsplice
	{280, 297}, // utimensat to rt_tgsigqueueinfo
	{299, 299}, // recvmmsg
	{301, 303}, // fanotify_mark to name_to_handle_at
	{305, 307}, // clock_adjtime to sendmmsg
	{309, 311}, // getcpu to process_vm_writev
	{314, 319}, // sched_setattr to memfd_create
	{322, 322}, // execveat
	{324, 335}, // membarrier to uretprobe
	{424, 424}, // pidfd_send_signal
	{434, 434}, // pidfd_open
	{436, 437}, // close_range to openat2
	{439, 439}, // faccessat2
	{441, 441}, // epoll_pwait2
	{444, 449}, // landlock_create_ruleset to futex_waitv
	{451, 458}, // cachestat to listmount
	{462, 466}, // mseal to removexattrat
}
