//go:build linux

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// action runs many trivial actions one after the other, and the same program
// on the same files by other means: in bubblewrap and Docker with the same
// mounts, and bare. Ours is the whole of it: looking up, staging, sandbox,
// taking in, committing and recording; what a build costs that runs nothing is
// taken off.
func action(ctx context.Context, l *lab) (rows []comparison, err error) {
	p, err := newPayload(ctx, l)
	if err != nil {
		return nil, err
	}
	n := l.rounds(500, 20)
	ours := fmt.Sprintf("an action of `cube build -j1`, of %d", n)
	type peer struct {
		comparison
		times int
		argv  []string
	}
	peers := []*peer{{comparison: comparison{theirs: "bare fork and exec", note: "for reference: no isolation, nothing kept"}, times: n, argv: p.bare()}}
	if path, ok := l.find("bwrap", "actions beside bubblewrap"); ok {
		peers = append(peers, &peer{comparison{theirs: "bubblewrap", limit: 1}, n, p.bubblewrap(path)})
	}
	if d, ok, err := startDocker(ctx, l, p.root); err != nil {
		return nil, err
	} else if ok {
		defer func() {
			if stopErr := d.stop(); err == nil {
				err = stopErr
			}
		}()
		peers = append(peers, &peer{comparison: comparison{theirs: "docker run --network none", limit: 1.0 / 20}, times: min(n, 20), argv: d.run(p)})
	}
	for range l.rounds(7, 2) {
		a, err := l.oneBuildOfActions(ctx, "trivial", n)
		if err != nil {
			return nil, err
		}
		for _, other := range peers {
			b, err := l.oneAfterTheOther(ctx, other.times, other.argv)
			if err != nil {
				return nil, err
			}
			other.a, other.b = append(other.a, a.ms()), append(other.b, b.ms())
		}
	}
	for _, other := range peers {
		other.ours, other.unit = ours, "ms"
		rows = append(rows, other.comparison)
	}
	return rows, nil
}

// oneBuildOfActions is what one of n actions of a workspace adds to a build.
func (l *lab) oneBuildOfActions(ctx context.Context, workspace string, n int) (_ cost, err error) {
	cols := 20
	rows := max(1, n/cols)
	dir, err := l.sized(workspace, "actions", rows, cols)
	if err != nil {
		return cost{}, err
	}
	defer func() { err = errors.Join(err, l.setAside(dir)) }()
	if err := l.do(ctx, dir, l.cube, "build", "base"); err != nil {
		return cost{}, err
	}
	all, err := l.time(ctx, dir, l.cube, "build", "step", "-j1")
	if err != nil {
		return cost{}, err
	}
	none, err := l.time(ctx, dir, l.cube, "build", "step", "-j1")
	if err != nil {
		return cost{}, err
	}
	each := time.Duration(rows * cols)
	return cost{wall: (all.wall - none.wall) / each}, nil
}

// oneAfterTheOther is what one of n runs of a command costs.
func (l *lab) oneAfterTheOther(ctx context.Context, n int, argv []string) (cost, error) {
	var sum cost
	for range n {
		c, err := l.time(ctx, l.dir, argv...)
		if err != nil {
			return cost{}, err
		}
		sum.wall += c.wall
	}
	return cost{wall: sum.wall / time.Duration(n)}, nil
}

// payload is what an action of tests/workspaces/trivial runs, laid out for
// others to run: the producer alone in a root directory, a request, and a
// window of 8 × 8 cells.
type payload struct {
	root, request, in, out string
}

const trivialRequest = `{"version":1,"operation":"tile","params":{"add":1},"seed":1,
"tile":{"y":{"lo":0,"hi":8},"x":{"lo":0,"hi":8}},
"inputs":{"base":{"path":"/cube/in/base","file":"/cube/in/base/data.npy","format":"npy","kind":"static","dims":["y","x"],"dtype":"float32","shape":[8,8],"units":"m"}},
"sources":{},
"outputs":{"step":{"path":"/cube/out/step","file":"/cube/out/data.npy","format":"npy","kind":"static","dims":["y","x"],"dtype":"float32","shape":[8,8],"units":"m"}}}
`

func newPayload(ctx context.Context, l *lab) (*payload, error) {
	p := &payload{root: l.path("payload", "root"), request: l.path("payload", "request.json"), in: l.path("payload", "in"), out: l.path("payload", "out")}
	for _, d := range []string{"proc", "dev", "tmp", "cube/in/base", "cube/out", "cube/scratch"} {
		if err := os.MkdirAll(filepath.Join(p.root, d), 0o755); err != nil {
			return nil, err
		}
	}
	for _, d := range []string{filepath.Join(p.in, "base"), p.out} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	for _, d := range []string{"cube/out", "cube/scratch"} { // Docker gives a tmpfs the mode of what it lies over
		if err := os.Chmod(filepath.Join(p.root, d), 0o777); err != nil {
			return nil, err
		}
	}
	header := "{'descr': '<f4', 'fortran_order': False, 'shape': (8, 8), }"
	header += strings.Repeat(" ", 117-len(header)) + "\n"
	array := binary.LittleEndian.AppendUint16([]byte("\x93NUMPY\x01\x00"), uint16(len(header)))
	array = append(append(array, header...), make([]byte, 8*8*4)...)
	if err := os.WriteFile(filepath.Join(p.in, "base", "data.npy"), array, 0o644); err != nil {
		return nil, err
	}
	for _, name := range []string{p.request, filepath.Join(p.root, "cube", "request.json")} { // the second to mount on
		if err := os.WriteFile(name, []byte(trivialRequest), 0o644); err != nil {
			return nil, err
		}
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(p.root, "producer"), ".")
	build.Dir = filepath.Join(l.root, "tests", "workspaces", "trivial", "producers", "step")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOAMD64=v1", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the payload: %w: %s", err, out)
	}
	// Every user may enter: a container's payload is another one.
	return p, os.Chmod(l.dir, 0o755)
}

// bare is the payload without a container.
func (p *payload) bare() []string {
	return []string{filepath.Join(p.root, "producer"), p.request, filepath.Join(p.in, "base", "data.npy"), filepath.Join(p.out, "data.npy")}
}

// bubblewrap is the payload with what bubblewrap can give of an action's
// isolation and mounts: no limits, and no filter of system calls.
func (p *payload) bubblewrap(bwrap string) []string {
	return []string{bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
		"--hostname", "cube", "--uid", "65534", "--gid", "65534",
		"--ro-bind", p.root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
		"--ro-bind", p.request, "/cube/request.json", "--ro-bind", p.in, "/cube/in",
		"--tmpfs", "/cube/out", "--tmpfs", "/cube/scratch", "--chdir", "/cube/scratch", "--", "/producer"}
}
