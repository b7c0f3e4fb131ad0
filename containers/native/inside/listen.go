//go:build linux

package inside

import "golang.org/x/sys/unix"

// backlog is how many connections wait until the engine takes them.
const backlog = 128

// listen opens a socket that listens in the sandbox's network, on the loopback
// device, and hands it to the engine. It stays where it was made: so the engine
// answers inside without entering, and without a way from inside to anything
// else.
func listen(port uint16, sock int) error {
	if port == 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return wrong("open listening socket", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return wrong("bind listening socket", err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return wrong("listen", err)
	}
	return wrong("send listening socket", Send(sock, Listens, nil, fd))
}
