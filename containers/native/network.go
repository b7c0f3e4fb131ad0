//go:build linux

package native

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// networks lends network namespaces to sandboxes, each to one at a time. To
// make and to remove one is the dearest part of a sandbox, so one that comes
// back is lent again, if its counters say that nothing in it ever sent or
// received a packet, or tried to: then there is no way to tell it from a new
// one.
//
// lend is for the spawner's thread, whose own namespace it changes; that thread
// starts the inits, which so are born into it.
type networks struct {
	home *os.File // the namespace that the thread came from

	mu   sync.Mutex
	idle []*network
}

// network is a namespace with a loopback device that is up.
type network struct {
	ns       *os.File
	counters []*os.File // what the kernel counts in it: packets, and those it could not send
	fresh    []byte     // what they said when it was new
}

func (w *network) close() {
	closeFiles(append(w.counters, w.ns))
}

// maxIdle is how many are kept.
const maxIdle = 16

// lend takes the calling thread into a namespace that no payload has used.
func (n *networks) lend() (*network, error) {
	if n.home == nil {
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return nil, fmt.Errorf("open network namespace: %w", err)
		}
		n.home = home
	}
	for {
		w := n.take()
		if w == nil {
			return newNetwork()
		}
		if w.untouched() && unix.Setns(int(w.ns.Fd()), unix.CLONE_NEWNET) == nil {
			return w, nil
		}
		w.close()
	}
}

func (n *networks) take() *network {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := len(n.idle) - 1
	if last < 0 {
		return nil
	}
	w := n.idle[last]
	n.idle = n.idle[:last]
	return w
}

// back returns a namespace that no process is in any more.
func (n *networks) back(w *network) {
	if w == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.idle) >= maxIdle {
		w.close()
		return
	}
	n.idle = append(n.idle, w)
}

// leave takes the calling thread back to where it came from, and lets go of
// all idle namespaces. It reports whether the thread is home again.
func (n *networks) leave() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.idle {
		w.close()
	}
	n.idle = nil
	if n.home == nil {
		return true
	}
	defer n.home.Close()
	return unix.Setns(int(n.home.Fd()), unix.CLONE_NEWNET) == nil
}

// newNetwork takes the calling thread into a new namespace.
func newNetwork() (*network, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return nil, fmt.Errorf("bring lo up: %w", err)
	}
	w := &network{}
	var err error
	if w.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	for _, name := range []string{"dev", "snmp", "snmp6"} {
		f, err := os.Open("/proc/thread-self/net/" + name)
		if errors.Is(err, fs.ErrNotExist) { // a kernel without IPv6
			continue
		}
		if err != nil {
			w.close()
			return nil, fmt.Errorf("open network counters: %w", err)
		}
		w.counters = append(w.counters, f)
	}
	w.fresh = w.count()
	return w, nil
}

// untouched reports whether the namespace is as it was when it was new.
func (w *network) untouched() bool {
	return len(w.fresh) > 0 && bytes.Equal(w.fresh, w.count())
}

// count reads the counters, or nothing where one cannot be read.
func (w *network) count() []byte {
	var all []byte
	for _, f := range w.counters {
		b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
		if err != nil {
			return nil
		}
		all = append(all, b...)
	}
	return all
}

func loopbackUp() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, request)
}
