package deb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoApt is in the chain when this machine has no apt-get.
var ErrNoApt = errors.New("apt-get is missing")

// Apt is this machine's apt, with package lists and downloads in folders of
// its own and nothing taken for installed. It asks the mirrors that this
// machine is set up with, and trusts the keys that this machine trusts. Safe
// for use by several processes at once.
type Apt struct {
	Dir     string // its folder
	Arch    string // Debian's name of the architecture
	Sources string // a sources.list to use instead of this machine's, or ""
	Env     []string
}

// Pin is one package, exactly.
type Pin struct {
	Name, Version, Arch string
	File                string // the file's name in an archive
	SHA256              string
	Size                int64
}

// lists is how long package lists are taken for fresh.
const lists = 12 * time.Hour

func (a *Apt) config() string {
	var b strings.Builder
	for _, hook := range []string{"APT::Update::Pre-Invoke", "APT::Update::Post-Invoke",
		"APT::Update::Post-Invoke-Success", "DPkg::Pre-Invoke", "DPkg::Post-Invoke", "DPkg::Pre-Install-Pkgs"} {
		fmt.Fprintf(&b, "#clear %s;\n", hook)
	}
	set := func(k, v string) { fmt.Fprintf(&b, "%s %s;\n", k, strconv.Quote(v)) }
	set("Dir::State", filepath.Join(a.Dir, "state"))
	set("Dir::State::status", "/dev/null")
	set("Dir::Cache", filepath.Join(a.Dir, "cache"))
	set("Dir::Cache::pkgcache", "pkgcache.bin")
	set("Dir::Cache::srcpkgcache", "")
	set("Dir::Log", filepath.Join(a.Dir, "log"))
	if a.Sources != "" {
		set("Dir::Etc::SourceList", a.Sources)
		set("Dir::Etc::SourceParts", "/dev/null")
	}
	set("APT::Architecture", a.Arch)
	b.WriteString("#clear APT::Architectures;\n")
	set("APT::Architectures::", a.Arch)
	set("APT::Sandbox::User", "")
	set("APT::Install-Recommends", "false")
	set("APT::Install-Suggests", "false")
	set("Acquire::Languages", "none")
	set("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false")
	set("Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled", "false")
	set("Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled", "false")
	set("Acquire::IndexTargets::deb::CNF::DefaultEnabled", "false")
	set("Acquire::Retries", "3")
	return b.String()
}

// lock makes the folders and holds the lock until the returned function is
// called.
func (a *Apt) lock() (func(), error) {
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "log"} {
		if err := os.MkdirAll(filepath.Join(a.Dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(filepath.Join(a.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	if err := os.WriteFile(a.conf(), []byte(a.config()), 0o644); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

func (a *Apt) conf() string { return filepath.Join(a.Dir, "apt.conf") }

// run runs one of apt's programs in dir and returns its output.
func (a *Apt) run(ctx context.Context, dir, program string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w: Debian packages are resolved and fetched with it (on Debian and Ubuntu it is part of the package apt)", ErrNoApt)
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"-q", "-c", a.conf()}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(slices.Clone(a.Env), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return stdout.Bytes(), &RunError{Program: program, Args: args, Output: complaints(stderr.String()), Err: err}
	}
	return stdout.Bytes(), nil
}

// RunError is a failure of one of apt's programs.
type RunError struct {
	Program string
	Args    []string
	Output  string // what it complained of
	Err     error
}

func (e *RunError) Error() string { return fmt.Sprintf("%s: %v: %s", e.Program, e.Err, e.Output) }

func (e *RunError) Unwrap() error { return e.Err }

// complaints keeps the lines that begin with E: of apt's output.
func complaints(stderr string) string {
	var errs []string
	for line := range strings.Lines(stderr) {
		if rest, ok := strings.CutPrefix(line, "E: "); ok {
			errs = append(errs, strings.TrimSpace(rest))
		}
	}
	if len(errs) == 0 {
		errs = []string{strings.TrimSpace(stderr)}
	}
	return strings.Join(errs, "; ")
}

// Update brings the package lists up to date, unless they are fresh and force
// is not set. A mirror that does not answer is an error only if no lists are
// there at all.
func (a *Apt) Update(ctx context.Context, force bool) error {
	unlock, err := a.lock()
	if err != nil {
		return err
	}
	defer unlock()
	stamp := filepath.Join(a.Dir, "updated")
	if st, err := os.Stat(stamp); err == nil && !force && time.Since(st.ModTime()) < lists && a.hasLists() {
		return nil
	}
	if _, err := a.run(ctx, a.Dir, "apt-get", "update"); err != nil {
		var run *RunError
		if !errors.As(err, &run) || !a.hasLists() {
			return fmt.Errorf("update Debian package lists: %w", err)
		}
	}
	return os.WriteFile(stamp, nil, 0o644)
}

func (a *Apt) hasLists() bool {
	found, _ := filepath.Glob(filepath.Join(a.Dir, "state/lists/*_Packages*"))
	return len(found) > 0
}

// Resolve returns the packages that an installation of roots on an empty
// system would unpack, as the mirrors have them now, sorted by name. Packages
// in without, which only maintainer scripts or a terminal need, are left out
// with what only they need.
func (a *Apt) Resolve(ctx context.Context, roots []string, without map[string]bool) ([]Pin, error) {
	unlock, err := a.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	args := append([]string{"-s", "install", "--"}, roots...)
	out, err := a.run(ctx, a.Dir, "apt-get", args...)
	if err != nil {
		return nil, fmt.Errorf("resolve Debian packages %s: %w", strings.Join(roots, " "), err)
	}
	chosen, err := parseSimulation(string(out))
	if err != nil {
		return nil, err
	}
	stanzas, err := a.show(ctx, chosen)
	if err != nil {
		return nil, err
	}
	reached := Reach(stanzas, roots, without)
	var pins []Pin
	for name := range reached {
		pin, err := pinOf(stanzas[name])
		if err != nil {
			return nil, err
		}
		pins = append(pins, pin)
	}
	slices.SortFunc(pins, func(a, b Pin) int { return strings.Compare(a.Name, b.Name) })
	return pins, nil
}

// parseSimulation reads lines "Inst name (version origin [arch])".
func parseSimulation(out string) ([]Pin, error) {
	var pins []Pin
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "Inst" || !strings.HasPrefix(f[2], "(") {
			continue
		}
		name, _, _ := strings.Cut(f[1], ":")
		pins = append(pins, Pin{Name: name, Version: strings.TrimPrefix(f[2], "(")})
	}
	if len(pins) == 0 {
		return nil, errors.New("resolve Debian packages: apt-get chose none")
	}
	return pins, nil
}

// show returns the records of the pins that the package lists have, by name.
func (a *Apt) show(ctx context.Context, pins []Pin) (map[string]Stanza, error) {
	args := []string{"show", "--"}
	for _, p := range pins {
		args = append(args, p.Name+"="+p.Version)
	}
	out, err := a.run(ctx, a.Dir, "apt-cache", args...)
	var run *RunError
	if err != nil && !errors.As(err, &run) { // it fails when it finds none
		return nil, err
	}
	stanzas, err := ParseStanzas(bytes.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("apt-cache show: %w", err)
	}
	versions := make(map[string]string, len(pins))
	for _, p := range pins {
		versions[p.Name] = p.Version
	}
	found := make(map[string]Stanza, len(stanzas))
	for _, s := range stanzas {
		if name := s["Package"]; versions[name] == s["Version"] && s["SHA256"] != "" {
			found[name] = s
		}
	}
	return found, nil
}

func pinOf(s Stanza) (Pin, error) {
	size, err := strconv.ParseInt(s["Size"], 10, 64)
	if err != nil || len(s["SHA256"]) != 64 {
		return Pin{}, fmt.Errorf("package list: %s %s has no size or no SHA256", s["Package"], s["Version"])
	}
	version := s["Version"]
	if _, v, ok := strings.Cut(version, ":"); ok {
		version = v
	}
	return Pin{
		Name: s["Package"], Version: s["Version"], Arch: s["Architecture"],
		File:   fmt.Sprintf("%s_%s_%s.deb", s["Package"], version, s["Architecture"]),
		SHA256: s["SHA256"], Size: size,
	}, nil
}

// Gone returns those of pins that the mirrors do not have, the very bytes.
func (a *Apt) Gone(ctx context.Context, pins []Pin) ([]Pin, error) {
	unlock, err := a.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	found, err := a.show(ctx, pins)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(pins), func(p Pin) bool { return found[p.Name]["SHA256"] == p.SHA256 }), nil
}

// Download fetches pins into the folder dir, under names of apt's choosing.
func (a *Apt) Download(ctx context.Context, dir string, pins []Pin) error {
	unlock, err := a.lock()
	if err != nil {
		return err
	}
	defer unlock()
	args := []string{"download", "--"}
	for _, p := range pins {
		args = append(args, p.Name+"="+p.Version)
	}
	if _, err := a.run(ctx, dir, "apt-get", args...); err != nil {
		return fmt.Errorf("fetch Debian packages: %w", err)
	}
	return nil
}
