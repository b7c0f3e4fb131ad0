//go:build linux

package native

import (
	"fmt"
	"net"
	"os"

	"github.com/cubebuild/cube/containers/native/inside"
	"golang.org/x/sys/unix"
)

// listen takes the socket that the init opened in the sandbox's network, and
// has the spec's Network serve it. The function that it returns ends that.
func (r *running) listen() (hangUp func(), err error) {
	if r.spec.Network == nil {
		return func() {}, nil
	}
	kind, body, fds, err := inside.Receive(r.box.sock)
	if err != nil {
		return func() {}, nil // the init is gone: its exit says why
	}
	if kind != inside.Listens || len(fds) != 1 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return func() {}, r.failure(kind, body)
	}
	f := os.NewFile(uintptr(fds[0]), "listening socket")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return func() {}, fmt.Errorf("take listening socket: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.spec.Network(l)
	}()
	return func() {
		l.Close()
		<-done
	}, nil
}
