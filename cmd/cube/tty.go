package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/cubebuild/cube/containers"
	"golang.org/x/sys/unix"
)

// onTerminal calls run with a terminal of its own, which the user's shows and
// types to until run returns: every key goes there, Ctrl-C too, and its size
// follows. Then the user's is as it was.
func onTerminal(in, out *os.File, run func(tty *os.File) (*containers.Exit, error)) (_ *containers.Exit, err error) {
	master, tty, err := openTerminal()
	if err != nil {
		return nil, fmt.Errorf("open a terminal: %w", err)
	}
	defer master.Close()
	resize := func() {
		if size, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ); err == nil {
			_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ, size)
		}
	}
	resize()
	restore, err := makeRaw(in)
	if err != nil {
		tty.Close()
		return nil, fmt.Errorf("set the terminal: %w", err)
	}
	defer func() { err = errors.Join(err, restore()) }()
	changes := make(chan os.Signal, 1)
	signal.Notify(changes, syscall.SIGWINCH)
	defer signal.Stop(changes)
	done, shown := make(chan struct{}), make(chan struct{})
	go func() {
		for {
			select {
			case <-changes:
				resize()
			case <-done:
				return
			}
		}
	}()
	go func() { _, _ = io.Copy(master, in) }() // it ends with the program
	go func() { defer close(shown); _, _ = io.Copy(out, master) }()
	exit, err := run(tty)
	close(done)
	tty.Close()
	<-shown // the other end is closed now: what is left is shown, and then it ends
	return exit, err
}

// openTerminal makes a terminal: the end that a person has, and the end that a
// program has.
func openTerminal() (master, tty *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx")
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
		tty, err = openOther(fd)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, tty, nil
}

func openOther(master int) (*os.File, error) {
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	path := "/dev/pts/" + strconv.Itoa(n)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// makeRaw has a terminal pass on every key as it is. restore puts it back.
func makeRaw(f *os.File) (restore func() error, err error) {
	was, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	raw := *was
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, &raw); err != nil {
		return nil, err
	}
	return func() error { return unix.IoctlSetTermios(int(f.Fd()), unix.TCSETSF, was) }, nil
}

// piped calls run with a pipe that what comes from in is copied to, so that the
// sandbox learns nothing of where it comes from.
func piped(in io.Reader, run func(from *os.File) (*containers.Exit, error)) (*containers.Exit, error) {
	from, to, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer from.Close()
	go func() { defer to.Close(); _, _ = io.Copy(to, in) }() // it ends with the program
	return run(from)
}
