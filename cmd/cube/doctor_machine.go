package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cubebuild/cube/containers/native"
	"github.com/cubebuild/cube/graph/solve/ledger"
	"github.com/cubebuild/cube/graph/solve/process"
	"github.com/cubebuild/cube/graph/solve/resource"
	"github.com/cubebuild/cube/internal/config"
)

// backendChecks say which backends work here: all that run in this process where
// a sandbox does, and that of workers where one can be started. kind is the one
// that builds use; broken says what a sandbox lacks, "" where it lacks nothing.
func (a *app) backendChecks(kind, broken string) []native.Check {
	var checks []native.Check
	for _, k := range config.Backends {
		c := native.Check{Name: "backend " + k, OK: broken == "", Detail: backendText[k]}
		if k == kind {
			c.Detail += "; builds use it"
		}
		if broken != "" {
			c.Detail = "no sandbox can be made: " + broken
		} else if k == apart {
			if err := a.tryWorker(); err != nil {
				c.OK, c.Detail, c.Advice = false, err.Error(), "build with --backend thread; CUBE_NODE, where it is set, must name the cube-node of this cube"
			}
		}
		checks = append(checks, c)
	}
	return checks
}

// backendText says what the backends are.
var backendText = map[string]string{
	serial:   "one action after the other",
	"thread": "actions side by side, watched over by the build itself",
	apart:    "actions in worker processes, whose end takes nothing else with it",
}

// tryWorker starts a worker of the process backend and ends it.
func (a *app) tryWorker() error {
	cache, err := a.cacheDir()
	if err != nil {
		return err
	}
	b := process.New(process.Config{State: filepath.Join(cache, "sandbox"), Stage: func() (string, error) { return "", nil },
		Program: a.env("CUBE_NODE"), Init: a.env("CUBE_WORKER")})
	return errors.Join(b.Ready(), b.Close())
}

// missing names the first thing that a sandbox must have and lacks.
func missing(checks []native.Check) string {
	for _, c := range checks {
		if c.Required && !c.OK {
			return cmp.Or(c.Name+": "+c.Detail, c.Name)
		}
	}
	return ""
}

// resourceLine is a line of cube doctor --json.
type resourceLine struct {
	Type     string  `json:"type"` // resource
	Name     string  `json:"name"` // cpu, memory, gpu, or a token's own
	Token    bool    `json:"token,omitempty"`
	Total    float64 `json:"total"` // processors, bytes or pieces: what this workspace says there is
	Held     float64 `json:"held"`
	Holders  []share `json:"holders"`
	Waiting  []share `json:"waiting"`
	resource resource.Name
}

// share is what one build holds, or waits for.
type share struct {
	Build  string  `json:"build"` // name of its workspace
	PID    int     `json:"pid"`
	Amount float64 `json:"amount"`
}

// census says of each resource how much there is, and which builds of this
// machine hold or wait for how much of it now.
func (a *app) census(backend config.Backend) ([]resourceLine, error) {
	path, err := a.ledgerPath()
	if err != nil {
		return nil, err
	}
	entries, err := ledger.Read(path)
	if err != nil {
		return nil, err
	}
	total := machineTotal(backend, backend.Workers)
	names := map[resource.Name]bool{resource.GPU: true}
	for _, n := range total.Names() {
		names[n] = true
	}
	for _, e := range entries {
		for n := range e.Held {
			names[n] = true
		}
		for _, w := range e.Waiting {
			for n := range w.Want {
				names[n] = true
			}
		}
	}
	var lines []resourceLine
	for _, n := range slices.Sorted(maps.Keys(names)) {
		lines = append(lines, resourceLineOf(n, total[n], entries))
	}
	return lines, nil
}

func resourceLineOf(n resource.Name, total int64, entries []ledger.Entry) resourceLine {
	unit := map[bool]float64{true: 1000, false: 1}[n == resource.CPU]
	l := resourceLine{Type: "resource", Name: n.Plain(), Token: n.Plain() != string(n), Total: float64(total) / unit,
		Holders: []share{}, Waiting: []share{}, resource: n}
	for _, e := range entries {
		if v := e.Held[n]; v > 0 {
			l.Holders = append(l.Holders, share{e.Name, e.PID, float64(v) / unit})
			l.Held += float64(v) / unit
		}
		wanted := int64(0)
		for _, w := range e.Waiting {
			wanted += w.Want[n]
		}
		if wanted > 0 {
			l.Waiting = append(l.Waiting, share{e.Name, e.PID, float64(wanted) / unit})
		}
	}
	return l
}

// text says in words how much there is and who has it.
func (l resourceLine) text() string {
	counted := func(v float64) int64 {
		if l.resource == resource.CPU {
			v *= 1000
		}
		return int64(v)
	}
	text := func(v float64) string { return l.resource.Text(counted(v)) }
	out := l.resource.Of(counted(l.Total))
	if l.resource == resource.GPU {
		out += ", counted and not shown to sandboxes"
	}
	var who []string
	for _, s := range l.Holders {
		who = append(who, fmt.Sprintf("%s held by a build of %s (process %d)", text(s.Amount), s.Build, s.PID))
	}
	for _, s := range l.Waiting {
		who = append(who, fmt.Sprintf("%s waited for by a build of %s (process %d)", text(s.Amount), s.Build, s.PID))
	}
	if len(who) == 0 {
		return out + "; nobody holds any"
	}
	return out + "; " + strings.Join(who, "; ")
}

// backendHere is what the workspace says of its backend; nothing outside of one.
func (a *app) backendHere(context.Context) config.Backend {
	p, err := a.open(projectFlags{dryRun: true, known: true}, nil)
	if err != nil {
		return config.Backend{}
	}
	return p.File.Backend
}
