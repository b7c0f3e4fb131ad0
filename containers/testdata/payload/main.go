// Command payload does what the tests tell it to, step by step: a list of steps
// as JSON is its source "script".
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"syscall"
	"time"
)

// step is one thing to do.
type step struct {
	Do   string
	Path string // relative to /cube/out, or absolute
	To   string
	Data []byte
	N    int64
}

var kinds = map[string]func(s step) error{
	"write":   func(s step) error { return os.WriteFile(s.Path, s.Data, 0o644) },
	"mkdir":   func(s step) error { return os.MkdirAll(s.Path, 0o755) },
	"remove":  func(s step) error { return os.RemoveAll(s.Path) },
	"symlink": func(s step) error { return os.Symlink(s.To, s.Path) },
	"link":    func(s step) error { return os.Link(s.To, s.Path) },
	"rename":  func(s step) error { return os.Rename(s.Path, s.To) },
	"chmod":   func(s step) error { return os.Chmod(s.Path, os.FileMode(s.N)) },
	"fifo":    func(s step) error { return syscall.Mkfifo(s.Path, 0o644) },
	"device":  func(s step) error { return syscall.Mknod(s.Path, syscall.S_IFCHR|0o666, 1<<8|3) },
	"socket":  socket,
	"sparse":  sparse,
	"many":    many,
	"deep":    deep,
	"fill":    fill,
	"map":     fillMapped,
	"eat":     eat,
	"copy":    copyFile,
	"look":    look,
	"list":    list,
	"until":   until,
	"print":   func(s step) error { _, err := os.Stdout.Write(s.Data); return err },
	"sleep":   func(s step) error { time.Sleep(time.Duration(s.N) * time.Millisecond); return nil },
	"exit":    func(s step) error { os.Exit(int(s.N)); return nil },
	"signal": func(s step) error {
		syscall.Kill(os.Getpid(), syscall.Signal(s.N))
		time.Sleep(time.Minute)
		return nil
	},
}

func main() {
	if os.Getenv("CUBE_SERVE") != "" {
		serve()
		return
	}
	if err := do("/cube/sources/script/data.json"); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// until waits until a file holds the data.
func until(s step) error {
	for {
		b, err := os.ReadFile(s.Path)
		if err != nil || bytes.Equal(b, s.Data) {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// do takes the steps that a file holds.
func do(script string) error {
	b, err := os.ReadFile(script)
	var steps []step
	if err == nil {
		err = json.Unmarshal(b, &steps)
	}
	for i := 0; err == nil && i < len(steps); i++ {
		if steps[i].Do == "unless first" && served == 1 {
			i = len(steps) - 1
		}
		if s := steps[i]; s.Path != "" && !filepath.IsAbs(s.Path) {
			steps[i].Path = "/cube/out/" + s.Path
		}
		if err = kinds[steps[i].Do](steps[i]); err != nil {
			err = fmt.Errorf("step %d: %s: %w", i, steps[i].Do, err)
		}
	}
	return err
}

func socket(s step) error {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	return syscall.Bind(fd, &syscall.SockaddrUnix{Name: s.Path})
}

// sparse writes a file whose last byte is at N.
func sparse(s step) error {
	if err := os.WriteFile(s.Path, s.Data, 0o644); err != nil {
		return err
	}
	return os.Truncate(s.Path, s.N)
}

// many makes N files in a directory.
func many(s step) error {
	for i := range s.N {
		if err := os.WriteFile(fmt.Sprintf("%s/%06d", s.Path, i), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// deep makes N directories in each other.
func deep(s step) error {
	if err := os.Chdir(s.Path); err != nil {
		return err
	}
	for range s.N {
		if err := os.Mkdir("d", 0o755); err != nil {
			return err
		}
		if err := os.Chdir("d"); err != nil {
			return err
		}
	}
	return os.WriteFile("end", nil, 0o644)
}

// fill writes N MiB to a file, with a pause after each where To is "slowly".
func fill(s step) error {
	f, err := os.OpenFile(s.Path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	for range s.N {
		if _, err := f.Write(block); err != nil {
			return err
		}
		if s.To == "slowly" {
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// fillMapped writes N MiB by way of memory.
func fillMapped(s step) error {
	f, err := os.Create(s.Path)
	if err != nil {
		return err
	}
	if err := f.Truncate(s.N << 20); err != nil {
		return err
	}
	b, err := syscall.Mmap(int(f.Fd()), 0, int(s.N)<<20, syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return nil
}

func eat(s step) error {
	b, err := syscall.Mmap(-1, 0, int(s.N)<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	return err
}

func copyFile(s step) error {
	b, err := os.ReadFile(s.To)
	if err != nil {
		return err
	}
	return os.WriteFile(s.Path, b, 0o644)
}

// seen is a file as the payload sees it.
type seen struct {
	Path   string
	Mode   string
	Time   int64
	SHA256 string
	Data   string // of small files
}

// look prints the environment and all that lies below /cube, as JSON.
func look(step) error {
	out := struct {
		Env, Args []string
		Dir       string
		Files     []seen
	}{Env: os.Environ(), Args: os.Args}
	sort.Strings(out.Env)
	out.Dir, _ = os.Getwd()
	err := filepath.WalkDir("/cube", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := seen{Path: p, Mode: info.Mode().String(), Time: info.ModTime().Unix()}
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(b)
			f.SHA256 = hex.EncodeToString(sum[:])
			if len(b) < 1<<16 {
				f.Data = string(b)
			}
		}
		out.Files = append(out.Files, f)
		return nil
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}
