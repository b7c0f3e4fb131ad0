package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubebuild/cube/containers/native"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/cubebuild/cube/lineage"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newDoctorCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "doctor",
		Short:   "say what this machine offers, and what to do about the rest",
		GroupID: groupMachine,
		Long: `Doctor looks whether actions can run here, isolated and within their limits, by
which backends, which programs that build images are there, and where data is kept.
For all that is missing it says what to do. It exits with 1 where actions cannot
run. Then it says what the machine has for actions (processors, memory, GPUs, and
the tokens that cube.yaml declares), and which builds hold or wait for some of it
now.

With --json it prints a line {"type": "check"} for each thing that it looked at, and
{"type": "resource"} for each resource: total, held, holders and waiting, counted in
processors, bytes or pieces.`,
		Example: `  cube doctor
  cube doctor --json | jq -r 'select(.type == "check" and (.ok | not)).name'
  cube doctor --json | jq 'select(.name == "licence").holders'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runDoctor(c.Context(), a) },
	}
}

// checkLine is a line of cube doctor --json.
type checkLine struct {
	Type     string `json:"type"` // check
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Required bool   `json:"required"`
	Detail   string `json:"detail"`
	Advice   string `json:"advice,omitempty"`
}

func runDoctor(ctx context.Context, a *app) error {
	checks, backend := native.Probe(ctx, native.Config{Worker: a.env("CUBE_WORKER")}), a.backendHere(ctx)
	checks = append(checks, a.backendChecks(cmp.Or(backend.Kind, "thread"), missing(checks))...)
	checks = append(checks, programChecks(ctx)...)
	checks = append(checks, a.placeChecks(ctx)...)
	checks = append(checks, memoryCheck())
	broken := 0
	t := &ui.Table{}
	s := a.style(a.stdout)
	for _, c := range checks {
		line := checkLine{"check", c.Name, c.OK, c.Required, c.Detail, ""}
		mark := s.Good("ok")
		if !c.OK {
			line.Advice = c.Advice
			mark = s.Bold("lacking")
			if c.Required {
				mark = s.Bad("missing")
				broken++
			}
		}
		if a.json {
			if err := a.printLines(line); err != nil {
				return err
			}
		}
		t.Add(mark, c.Name, c.Detail)
		if !c.OK && c.Advice != "" {
			t.Add("", "", "→ "+c.Advice)
		}
	}
	shared, err := a.census(backend)
	if err != nil {
		a.notice(fmt.Sprintf("what builds hold of the machine cannot be told: %v", err))
	}
	for _, l := range shared {
		if a.json {
			if err := a.printLines(l); err != nil {
				return err
			}
		}
		t.Add("", "shared "+l.Name, l.text())
	}
	if !a.json {
		verdict := s.Good("actions can run here")
		if broken > 0 {
			verdict = s.Bad("actions cannot run here") + ": " + plural(broken, "thing") + " missing"
		}
		if err := errors.Join(t.Write(a.stdout, s), printLine(a, verdict)); err != nil {
			return err
		}
	}
	if broken > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

func printLine(a *app, text string) error {
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}

// programChecks look for the programs that builds of images and lineage use.
func programChecks(ctx context.Context) []native.Check {
	return []native.Check{
		programCheck(ctx, "go", "compiles producers in Go: https://go.dev/dl", "go", "version"),
		programCheck(ctx, "pip", "fetches the wheels of Python producers: apt-get install python3-pip", "python3", "-m", "pip", "--version"),
		programCheck(ctx, "apt-get", "fetches the Debian packages of Python producers; it comes with Debian and Ubuntu", "apt-get", "--version"),
		programCheck(ctx, "git", "tells lineage which commit was built: apt-get install git", "git", "--version"),
	}
}

func programCheck(ctx context.Context, name, advice string, command ...string) native.Check {
	c := native.Check{Name: name, Advice: advice}
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	if err != nil {
		c.Detail = "not found"
		if !errors.Is(err, exec.ErrNotFound) {
			c.Detail = strings.Join(command, " ") + ": " + err.Error()
		}
		return c
	}
	first, _, _ := strings.Cut(string(out), "\n")
	c.OK, c.Detail = true, ui.Fit(ui.Printable([]byte(strings.TrimSpace(first))), 80)
	return c
}

// placeChecks look at where images, sources and the cube are kept.
func (a *app) placeChecks(ctx context.Context) []native.Check {
	cache, err := a.cacheDir()
	if err != nil {
		return []native.Check{{Name: "cache", Required: true, Detail: err.Error(), Advice: "set XDG_CACHE_HOME to a folder with room"}}
	}
	checks := placeCheck("cache", cache)
	if p, err := a.open(projectFlags{dryRun: true, known: true}, nil); err == nil {
		checks = append(checks, placeCheck("workspace", p.File.Dir())...)
		checks = append(checks, networkChecks(ctx, p)...)
	}
	return checks
}

// networkChecks say which producers of the workspace fetch over the network, and
// whether cube.yaml lets them.
func networkChecks(ctx context.Context, p *project.Project) []native.Check {
	ws, err := p.Outline(ctx)
	if err != nil {
		return nil // the build says what is wrong
	}
	var checks []native.Check
	for i := range ws.Instances {
		inst := &ws.Instances[i]
		asks, allowed := inst.Manifest.Capabilities.Network, p.File.Producer(inst.Name).Network
		if len(asks) == 0 {
			continue
		}
		denied := slices.ContainsFunc(asks, func(host string) bool { return !slices.Contains(allowed, host) })
		checks = append(checks, native.Check{Name: "network of " + inst.Name, OK: !denied, Detail: "fetches from " + strings.Join(asks, ", "),
			Advice: "to let it, name these hosts in cube.yaml, as network: of the producer"})
	}
	return checks
}

// lowRoom is the room on a disk below which a build is likely to fail.
const lowRoom = 2 << 30

func placeCheck(name, dir string) []native.Check {
	at := dir
	for { // the nearest folder that is there
		if info, err := os.Stat(at); err == nil && info.IsDir() || at == filepath.Dir(at) {
			break
		}
		at = filepath.Dir(at)
	}
	write := native.Check{Name: name, Required: true, Detail: dir, Advice: "make it writable, or have XDG_CACHE_HOME name another folder"}
	probe, err := os.CreateTemp(at, ".cube-doctor-*")
	if err != nil {
		write.Detail = err.Error()
		return []native.Check{write}
	}
	defer os.Remove(probe.Name())
	defer probe.Close()
	write.OK = true
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(probe.Fd()), &st); err != nil {
		return []native.Check{write}
	}
	room := int64(st.Bavail) * st.Bsize
	write.Detail += " on " + fileSystem(st)
	shares := reflinks(probe)
	if shares {
		write.Detail += ", with reflinks"
	}
	disk := native.Check{Name: name + " room", OK: room >= lowRoom, Detail: ui.Bytes(room) + " free",
		Advice: "make room: cube image gc, cube gc; or move the cache with XDG_CACHE_HOME"}
	return []native.Check{write, disk}
}

// fileSystem names the file systems that matter here.
func fileSystem(st unix.Statfs_t) string {
	names := map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
		unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.NFS_SUPER_MAGIC: "nfs", 0x2fc12fc1: "zfs",
		0x0bd00bd0: "lustre", 0x47504653: "gpfs", 0x65735546: "fuse"}
	if n, ok := names[int64(st.Type)]; ok {
		return n
	}
	return fmt.Sprintf("a file system of type %#x", int64(st.Type))
}

// reflinks reports whether files can share their blocks there.
func reflinks(probe *os.File) bool {
	if _, err := probe.WriteString("reflink"); err != nil {
		return false
	}
	other, err := os.CreateTemp(filepath.Dir(probe.Name()), ".cube-doctor-*")
	if err != nil {
		return false
	}
	defer os.Remove(other.Name())
	defer other.Close()
	return unix.IoctlFileClone(int(other.Fd()), int(probe.Fd())) == nil
}

// lowMemory is the memory below which a build is likely to fail.
const lowMemory = 1 << 30

func memoryCheck() native.Check {
	h := lineage.ReadHost()
	return native.Check{Name: "memory", OK: h.Memory >= lowMemory, Detail: fmt.Sprintf("%s, %s", ui.Bytes(h.Memory), plural(h.Cores, "processor")),
		Advice: "lower the limits of producers, and run fewer actions at once: cube build -j 1"}
}
