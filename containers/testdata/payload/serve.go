package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// answers is descriptor 3, and served how many requests were begun.
var (
	answers = os.NewFile(3, "answers")
	served  int
)

// answered ends a request with a code.
type answered int

func (a answered) Error() string { return fmt.Sprintf("answer %d", int(a)) }

// errSilent ends a request that has answered for itself.
var errSilent = errors.New("answered already")

func init() {
	kinds["answer"] = func(s step) error { return answered(s.N) }
	kinds["say"] = func(s step) error { answers.Write(s.Data); return errSilent }
	kinds["flood"] = func(step) error {
		for {
			if _, err := answers.Write(make([]byte, 1<<16)); err != nil {
				return err
			}
		}
	}
	kinds["close"] = func(step) error { answers.Close(); time.Sleep(time.Minute); return nil }
	// first goes on only in a container that has served nothing before, and
	// later only in one that has.
	kinds["first"] = func(step) error { return expect(served == 1) }
	kinds["later"] = func(step) error { return expect(served > 1) }
	// unless first goes on with the last step in a container that has served
	// nothing before.
	kinds["unless first"] = func(step) error { return nil }
	kinds["then"] = func(s step) error { // after the answer
		go func() {
			time.Sleep(time.Duration(s.N) * time.Millisecond)
			os.Stdout.Write(s.Data)
			if s.To == "exit" {
				os.Exit(3)
			}
		}()
		return nil
	}
	kinds["babble"] = func(step) error {
		go func() {
			for {
				os.Stdout.WriteString("babble\n")
			}
		}()
		return nil
	}
	kinds["leak"] = func(s step) error {
		leaked = append(leaked, make([]byte, s.N<<20))
		touch(leaked[len(leaked)-1])
		return nil
	}
	kinds["hold"] = hold
}

var leaked [][]byte

func touch(b []byte) {
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
}

// expect exits with 9 where something is not so.
func expect(so bool) error {
	if so {
		return nil
	}
	return answered(9)
}

// hold fills N MiB of a file that has no name any more.
func hold(s step) error {
	f, err := os.Create(s.Path)
	if err != nil {
		return err
	}
	os.Remove(s.Path)
	held = append(held, f)
	_, err = f.Write(make([]byte, s.N<<20))
	return err
}

var held []*os.File

// serve does what each request says.
func serve() {
	requests := bufio.NewScanner(os.Stdin)
	for requests.Scan() {
		served++
		code, err := 0, do("/cube/request.json")
		var a answered
		switch {
		case errors.Is(err, errSilent):
			continue
		case errors.As(err, &a):
			code = int(a)
		case err != nil:
			fmt.Println(err)
			code = 1
		}
		fmt.Fprintf(answers, "%d\n", code)
	}
}

// list prints what lies below a directory, as a payload can tell it.
func list(s step) error {
	return filepath.WalkDir(s.Path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Printf("%s %s %d %d:%d", p, info.Mode(), info.ModTime().Unix(), st.Uid, st.Gid)
		if info.Mode().IsRegular() && !strings.HasPrefix(p, "/cube/sources/script") {
			b, err := os.ReadFile(p)
			fmt.Printf(" %q %v", b, err)
		}
		fmt.Println()
		return nil
	})
}
