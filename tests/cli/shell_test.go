package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cubebuild/cube/tests/program"
)

// cube shell gives a program in the sandbox a real terminal: it has the window's
// size, and follows it; it is /dev/tty; lines and Ctrl-C go to it; and the user's terminal is as
// it was when it ends.
func TestAShellHasARealTerminal(t *testing.T) {
	t.Parallel()
	cube, err := program.Path()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	env, err := program.Environment(dir)
	if err != nil {
		t.Fatal(err)
	}
	env = append(env, "PATH="+os.Getenv("PATH"), "TERM=xterm")
	work := filepath.Join(dir, "trouble")
	program.Copy(t, "tests/workspaces/trouble", work)
	command := func(args ...string) *exec.Cmd {
		c := exec.Command(cube, args...)
		c.Dir, c.Env = work, env
		return c
	}
	if out, err := command("build", "ground").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := command("log", "ground", "--all", "--json").Output()
	id := regexp.MustCompile(`"action":"sha256:([0-9a-f]{64})"`).FindSubmatch(out)
	if err != nil || id == nil {
		t.Fatalf("%v: %s", err, out)
	}

	mine, theirs := openTerminal(t)
	before := settings(t, theirs)
	resize(t, mine, 31, 97)
	c := command("shell", string(id[1]), "--", "/producer", "terminal")
	c.Stdin, c.Stdout, c.Stderr = theirs, theirs, theirs
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	said := &screen{t: t, from: mine}
	said.expect("size 31 x 97\r\n")
	said.expect("in front true\r\n")
	said.expect("by its name\r\n")
	resize(t, mine, 40, 120)
	said.expect("size 40 x 120\r\n")
	said.enter("hello\r")
	said.expect(`said "hello"`)
	said.enter("\x03")
	said.expect("interrupted")
	if err := c.Wait(); c.ProcessState.ExitCode() != 3 {
		t.Errorf("ended with %v, want the program's own exit code, 3", err)
	}
	if after := settings(t, theirs); after != before {
		t.Errorf("the terminal was %+v, and is left as %+v", before, after)
	}
}

func openTerminal(t *testing.T) (mine, theirs *os.File) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	mine = os.NewFile(uintptr(fd), "ptmx")
	t.Cleanup(func() { mine.Close() })
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	return mine, theirs
}

func settings(t *testing.T, tty *os.File) unix.Termios {
	t.Helper()
	s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *s
}

func resize(t *testing.T, mine *os.File, rows, columns uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(mine.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

// screen is what a person at a terminal sees.
type screen struct {
	t    *testing.T
	from *os.File
	seen []byte
}

// expect waits until the text appears, after what was waited for before.
func (s *screen) expect(text string) {
	s.t.Helper()
	b := make([]byte, 4096)
	for {
		if i := bytes.Index(s.seen, []byte(text)); i >= 0 {
			s.seen = s.seen[i+len(text):]
			return
		}
		n, err := s.from.Read(b)
		if err != nil {
			s.t.Fatalf("%q does not come: %v; there is %q", text, err, s.seen)
		}
		s.seen = append(s.seen, b[:n]...)
	}
}

func (s *screen) enter(text string) {
	s.t.Helper()
	if _, err := s.from.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
}
