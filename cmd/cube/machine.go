package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/graph/solve/ledger"
	"github.com/cubebuild/cube/graph/solve/resource"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// machineTotal is what this machine has for actions: what cube.yaml says, and
// otherwise what this process may use of it. Who has more actions run at once
// than there are processors says that there are as many.
func machineTotal(b config.Backend, workers int) resource.Amounts {
	total := ledger.Machine()
	total[resource.CPU] = max(total[resource.CPU], int64(workers)*1000)
	if b.CPUs > 0 {
		total[resource.CPU] = int64(b.CPUs * 1000)
	}
	if b.Memory > 0 {
		total[resource.Memory] = b.Memory
	}
	if b.GPUs != nil {
		total[resource.GPU] = int64(*b.GPUs)
	}
	for name, n := range b.Tokens {
		total[resource.Token(name)] = int64(n)
	}
	return total
}

// fits says which producers of a plan need what the machine can never give: an
// action of theirs would wait for ever.
func fits(f *config.File, plan *graph.Plan, total resource.Amounts) error {
	var wrong yamlfile.Errors
	seen := map[string]bool{}
	for _, v := range plan.Vertices {
		if v.Instance == nil || v.IsMerge() || seen[v.Instance.Name] {
			continue
		}
		seen[v.Instance.Name] = true
		for _, s := range resource.Of(v.Instance).Never(total) {
			at, advice := unfit(v.Instance.Name, s, f.Backend.Tokens)
			wrong = append(wrong, f.Errorf(at, advice, "an action of %s needs %s, and this machine has %s",
				v.Instance.Name, s.Resource.Of(s.Want), s.Resource.Text(s.Free)))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return wrong
}

// unfit is the place in cube.yaml that a demand which never fits is about, and
// what to do.
func unfit(instance string, s resource.Shortage, tokens map[string]int) (at []string, advice string) {
	at = []string{"producers", instance, "limits"}
	switch s.Resource {
	case resource.Memory:
		return append(at, "memory"), fmt.Sprintf("lower producers.%s.limits.memory, or say in backend: {memory: …} what there is", instance)
	case resource.GPU:
		return append(at, "gpu"), "gpu only bounds how many such actions run at once: no sandbox is shown a device yet.\nSay in backend: {gpus: …} how many that may be"
	}
	token := s.Resource.Plain()
	at = append(at, "tokens", token)
	if near := graph.Nearest(token, slices.Collect(maps.Keys(tokens))); near != "" && near != token {
		return at, fmt.Sprintf("did you mean %s, which backend names?", near)
	}
	return at, fmt.Sprintf("say how many there are: backend: {tokens: {%s: %d}}", token, s.Want)
}

// sharing is the part that a build takes in the sharing of the machine, from
// when the first action runs.
type sharing struct {
	total resource.Amounts
	open  func() (*ledger.Ledger, error)

	mu     sync.Mutex
	ledger *ledger.Ledger
}

// sharing makes the part of a build of that name, whose backend ends with endIdle what
// waits for another action.
func (a *app) sharing(name string, total resource.Amounts, endIdle func()) *sharing {
	return &sharing{total: total, open: func() (*ledger.Ledger, error) {
		path, err := a.ledgerPath()
		if err != nil {
			return nil, err
		}
		return ledger.Open(ledger.Config{Path: path, Total: total, Name: name, EndIdle: endIdle})
	}}
}

// ledgerPath is where the builds of this machine say what they hold of it.
func (a *app) ledgerPath() (string, error) {
	cache, err := a.cacheDir()
	if err != nil {
		return "", err
	}
	return ledger.Path(cache)
}

func (s *sharing) get() (_ *ledger.Ledger, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledger == nil {
		s.ledger, err = s.open()
	}
	return s.ledger, err
}

// Total implements solve.Reserver.
func (s *sharing) Total() resource.Amounts { return s.total.Clone() }

// Try implements solve.Reserver.
func (s *sharing) Try(ctx context.Context, d resource.Demand) (func(), error) {
	l, err := s.get()
	if err != nil {
		return nil, err
	}
	return l.Try(ctx, d)
}

// Reserve implements solve.Reserver.
func (s *sharing) Reserve(ctx context.Context, d resource.Demand, ready func() bool, notice func(resource.Shortage)) (func(), error) {
	l, err := s.get()
	if err != nil {
		return nil, err
	}
	return l.Reserve(ctx, d, ready, notice)
}

// Close gives up what is still held. It may be called on what was never opened.
func (s *sharing) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledger == nil {
		return nil
	}
	return s.ledger.Close()
}
