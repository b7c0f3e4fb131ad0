// Package inside is the part of the native sandbox that runs within it: the
// first process of the new namespaces, which builds the file tree, gives up
// every privilege and starts the payload.
//
// It is small and static on purpose, because a container start costs little
// more than the start of this program, and it has two phases so that even that
// can be paid in advance:
//
//	engine                              init (process 1 inside)
//	  start, in new namespaces  ──────►  prepare: /proc, /dev, masks, lo
//	  Start: Config, descriptors ─────►  assemble: overlay root, mounts
//	                            ◄──────  Listens: a socket, if asked for
//	                            ◄──────  Handles: fresh tmpfs, if asked for
//	  Go, once they are filled  ──────►  pivot, lock down, start the payload
//	                            ◄──────  Began, then Ended: wait status;
//	                                     or Failed: why
//	  wait for process 1
//
// Where the payload serves one request after another (Config.Serve), the Handles
// are on mounts of the engine's own, beside one on the file system that holds
// /tmp, /dev/shm and /cube; no Go follows, and the engine fills and empties what
// the payload sees for as long as it lives.
//
// Each message is one frame on a Unix stream socket: a kind, a length, a body;
// descriptors travel beside the first byte. The init stays as process 1, so
// that the payload has the usual signal dispositions, orphans are reaped, and
// nothing that the payload does can outlive it or undo the tie to the engine:
// when process 1 ends, or the engine does, the kernel kills all the rest.
package inside
