//go:build linux

package native_test

import (
	"bufio"
	"fmt"
	"net"
	"testing"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/containers/native"
)

// echo answers each connection with the line that it says, until it is hung up.
func echo(hungUp chan<- struct{}) func(net.Listener) {
	return func(l net.Listener) {
		defer close(hungUp)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			fmt.Fprint(c, "you say: ", line)
			c.Close()
		}
	}
}

func TestTheEngineAnswersInsideTheSandboxesNetwork(t *testing.T) {
	r := newRunner(t, native.Config{})
	for range 2 {
		hungUp := make(chan struct{})
		spec := probe(t, "talk", containers.NetworkAddress, "hello")
		spec.Network = echo(hungUp)
		if got := succeed(t, r, spec); got != "you say: hello\n" {
			t.Error(got)
		}
		<-hungUp
	}
	if c, err := net.Dial("tcp", containers.NetworkAddress); err == nil {
		c.Close()
		t.Error("it answers on the host, too")
	}
	if got := succeed(t, r, probe(t, "talk", containers.NetworkAddress, "hello")); got != "connection refused\n" {
		t.Errorf("a sandbox without a network: %s", got)
	}
}

func TestAnAnsweringEngineOpensNoOtherWay(t *testing.T) {
	r := newRunner(t, native.Config{})
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	spec := probe(t, "dial", "tcp!"+tcp.Addr().String(), "tcp!192.0.2.1:80", "udp!192.0.2.1:53", "tcp!"+containers.NetworkAddress)
	spec.Network = echo(make(chan struct{}))
	want := fmt.Sprintf("tcp!%v: connection refused\ntcp!192.0.2.1:80: network is unreachable\nudp!192.0.2.1:53: network is unreachable\ntcp!%s: ok\nown loopback: ok\n",
		tcp.Addr(), containers.NetworkAddress)
	if got := succeed(t, r, spec); got != want {
		t.Errorf("got:\n%s", got)
	}
}

func TestANetworkIsHungUpOnWhateverBecomesOfThePayload(t *testing.T) {
	r := newRunner(t, native.Config{})
	for name, spec := range map[string]containers.Spec{
		"no such command": {Name: "none", Layers: []string{probe(t, "true").Layers[0]}, Args: []string{"/nothing"}},
		"failing mount": {Name: "mount", Layers: []string{probe(t, "true").Layers[0]}, Args: []string{"/probe", "true"},
			Mounts: []containers.Mount{{Kind: containers.Bind, Source: "/nowhere/at/all", Target: "/cube/x"}}},
	} {
		hungUp := make(chan struct{})
		spec.Network = echo(hungUp)
		if exit, err := r.Run(t.Context(), spec); err == nil {
			t.Errorf("%s: %v", name, exit)
		}
		<-hungUp
	}
}
