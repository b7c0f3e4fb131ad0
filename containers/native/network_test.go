//go:build linux

package native

import (
	"net"
	"runtime"
	"testing"
)

// onOwnThread runs f on a thread that ends with it.
func onOwnThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		f()
	}()
	<-done
}

func TestOnlyUntouchedNetworksAreLentAgain(t *testing.T) {
	if !privileged() {
		t.Skip("an ordinary user's sandboxes each make their own")
	}
	for name, tc := range map[string]struct {
		use   func()
		again bool
	}{
		"not used": {func() {}, true},
		"listened": {func() {
			if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
				l.Close()
			}
		}, true},
		"sent a packet":       {func() { net.Dial("tcp", "127.0.0.1:1") }, false},
		"tried to get out":    {func() { net.Dial("udp", "192.0.2.1:53") }, false},
		"tried to get out, 6": {func() { net.Dial("udp", "[2001:db8::1]:53") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			onOwnThread(func() {
				var n networks
				defer n.leave()
				first, err := n.lend()
				if err != nil {
					t.Error(err)
					return
				}
				tc.use()
				n.back(first)
				second, err := n.lend()
				if err != nil {
					t.Error(err)
					return
				}
				if (first == second) != tc.again {
					t.Errorf("lent again: %v", first == second)
				}
				n.back(second)
			})
		})
	}
}
