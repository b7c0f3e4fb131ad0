package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
	"unsafe"
)

// talk does what an argument says: wait; exit with 7; or say what stands around
// it and, on a terminal, what comes from there.
func talk(args []string) {
	switch args[0] {
	case "wait":
		time.Sleep(time.Minute)
	case "seven":
		os.Exit(7)
	case "look":
		entries, err := os.ReadDir("/cube")
		check(err)
		for _, e := range entries {
			fmt.Println("/cube/" + e.Name())
		}
		fmt.Println("command", os.Getenv("CUBE_COMMAND"))
		check(os.WriteFile("/cube/out/field/data.npy", []byte("no result"), 0o644))
	case "terminal":
		terminal()
	}
}

// terminal says the window's size, now and whenever it changes, repeats lines,
// and ends when it was interrupted.
func terminal() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGWINCH)
	fmt.Printf("size %s\n", size())
	group, _, e := syscall.Syscall(syscall.SYS_GETPGRP, 0, 0, 0)
	var front int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCGPGRP, uintptr(unsafe.Pointer(&front)))
	fmt.Printf("in front %t\n", e == 0 && errno == 0 && int32(group) == front)
	// As a pager does, whose input is not the terminal.
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	check(err)
	fmt.Fprintln(tty, "by its name")
	go func() {
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			fmt.Printf("said %q\n", in.Text())
		}
	}()
	for s := range signals {
		if s == syscall.SIGWINCH {
			fmt.Printf("size %s\n", size())
			continue
		}
		fmt.Println("interrupted")
		os.Exit(3)
	}
}

func size() string {
	var w struct{ rows, columns, x, y uint16 }
	_, _, e := syscall.Syscall(syscall.SYS_IOCTL, 1, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&w)))
	if e != 0 {
		return "none"
	}
	return fmt.Sprintf("%d x %d", w.rows, w.columns)
}
