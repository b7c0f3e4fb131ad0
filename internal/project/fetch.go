package project

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/credential"
	"github.com/cubebuild/cube/internal/proxy"
	"github.com/cubebuild/cube/internal/source"
)

// fetching is an instance whose producer brings sources in itself.
type fetching struct {
	*preparation
	inst    *graph.Instance
	request []byte
	asked   graph.Digest
}

// fetches has the producers that fetch sources do so, where what cube.lock pins
// is not at hand, and reports whether there are any.
func (pr *preparation) fetches(ctx context.Context, ws *graph.Workspace) (bool, error) {
	found := false
	for i := range ws.Instances {
		inst := &ws.Instances[i]
		if len(inst.Manifest.Fetched()) == 0 {
			continue
		}
		found = true
		f := &fetching{preparation: pr, inst: inst}
		err := f.ask(ctx, ws)
		if err == nil {
			err = f.settle(ctx)
		}
		if err != nil {
			return false, err
		}
	}
	return found, nil
}

// ask makes the question.
func (f *fetching) ask(ctx context.Context, ws *graph.Workspace) error {
	given := map[string]graph.SourceKey{}
	m, fetched := &f.inst.Manifest, f.inst.Manifest.Fetched()
	for role, name := range f.inst.Sources {
		if slices.Contains(fetched, role) {
			continue
		}
		src := ws.Sources[name]
		given[role] = graph.SourceKey{SHA256: src.SHA256, Ext: src.Ext}
	}
	name := f.inst.Grid
	if name == "" {
		name = graph.DefaultGrid
	}
	var err error
	if f.request, err = graph.FetchRequest(f.inst.Params, given, ws.Grids[name], m); err != nil {
		return err
	}
	f.asked, err = graph.Fetch{Producer: m.Name, Network: graph.NetworkVersion, Hosts: m.Capabilities.Network,
		CPUs: m.Capabilities.CPUs, Serves: m.Capabilities.Serves(), Request: graph.Sum(f.request), Sources: given}.Digest()
	return err
}

// settle holds an instance to what cube.lock pins, or has it fetch anew.
func (f *fetching) settle(ctx context.Context) error {
	pin, pinned := f.Lock.Fetches[f.inst.Name]
	image, known := pin.Images[f.inst.Image.Platform]
	fresh := pinned && pin.Asked == f.asked && (!known || image == f.inst.Image.Config)
	switch {
	case f.cfg.Locked && !fresh:
		return &LockError{What: f.what(), Pinned: pin.Asked.String(), Have: f.asked.String()}
	case fresh && !f.cfg.Update:
		return f.bringIn(ctx, pin)
	case f.cfg.Known:
		return fmt.Errorf("%s: %w", f.what(), ErrUnready)
	}
	var before *proxy.Recording
	if pinned && !f.cfg.Update {
		before, _ = f.recall(ctx, pin) // what is not at hand is asked for again
	}
	got, err := f.fetch(ctx, before)
	if err != nil {
		return err
	}
	return f.pin(ctx, got, pin)
}

func (f *fetching) what() string { return "what producer " + f.inst.Name + " fetches" }

// bringIn has what is pinned be in the cache.
func (f *fetching) bringIn(ctx context.Context, pin config.LockedFetch) error {
	f.remember(pin)
	if f.cfg.Known || f.atHand(ctx, pin) { // who only looks needs none of the bytes
		return nil
	}
	recording, err := f.recall(ctx, pin)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && f.cfg.Offline:
		return f.mistake("a folder that holds the recording and its answers may stand in for the network: CUBE_SOURCES",
			"%s: neither the files nor recording %s are on this machine: %v", f.what(), pin.Recording.SHA256.Short(), err)
	case err == nil && (f.cfg.Locked || f.cfg.Offline):
		f.step("replay what %s fetched", f.inst.Name)
		got, err := f.run(ctx, recording, true)
		if err != nil {
			return err
		}
		return f.compare(pin, got, pin.Recording.SHA256)
	}
	got, err := f.fetch(ctx, recording)
	if err != nil {
		return err
	}
	have, err := f.keep(ctx, got.recording)
	if err != nil {
		return err
	}
	return f.compare(pin, got, have.SHA256)
}

// atHand reports whether all files are in the cache, or in a folder that stands
// in for the network.
func (f *fetching) atHand(ctx context.Context, pin config.LockedFetch) bool {
	for role, file := range pin.Sources {
		if _, ok := f.Sources.Path(file.SHA256); ok {
			continue
		}
		if _, err := f.Sources.Find(ctx, file.SHA256, role+file.Ext); err != nil {
			return false
		}
	}
	return true
}

// recall returns a pinned recording.
func (f *fetching) recall(ctx context.Context, pin config.LockedFetch) (*proxy.Recording, error) {
	return f.Recording(ctx, pin.Recording.SHA256)
}

// Recording returns a recording by its digest; where it is not on this machine
// that is an fs.ErrNotExist.
func (p *Project) Recording(ctx context.Context, d graph.Digest) (*proxy.Recording, error) {
	path, err := p.Sources.Find(ctx, d, "recording.json")
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return proxy.Decode(b)
}

// keep puts a recording into the cache.
func (f *fetching) keep(ctx context.Context, r *proxy.Recording) (source.Pin, error) {
	b, err := r.Encode()
	if err != nil {
		return source.Pin{}, err
	}
	return f.Sources.Take(ctx, strings.NewReader(string(b)))
}

// compare holds what was fetched to its pin.
func (f *fetching) compare(pin config.LockedFetch, got *fetched, recording graph.Digest) error {
	differs := func(what string, pinned, have graph.Digest) error {
		if f.cfg.Locked {
			return &LockError{What: what, Pinned: pinned.String(), Have: have.String()}
		}
		return f.mistake("if the change is meant: cube lock --update", "%s is not what %s pins: it is %s, not %s",
			what, config.LockName, have.Short(), pinned.Short())
	}
	if recording != pin.Recording.SHA256 {
		return differs("what the network answered "+f.inst.Name, pin.Recording.SHA256, recording)
	}
	for _, role := range f.inst.Manifest.Fetched() {
		if got.files[role] != pin.Sources[role] {
			return differs("source "+config.FetchedName(f.inst.Name, role), pin.Sources[role].SHA256, got.files[role].SHA256)
		}
	}
	return nil
}

// pin writes down what was fetched.
func (f *fetching) pin(ctx context.Context, got *fetched, old config.LockedFetch) error {
	kept, err := f.keep(ctx, got.recording)
	if err != nil {
		return err
	}
	platform := f.inst.Image.Platform
	now := config.LockedFetch{Asked: f.asked, Fetched: time.Now().UTC().Truncate(time.Second), Images: map[string]string{},
		Recording: config.LockedRecording{SHA256: kept.SHA256, Size: kept.Size, Exchanges: len(got.recording.Exchanges), Hosts: got.recording.Hosts()},
		Sources:   got.files}
	if old.Recording.SHA256 == kept.SHA256 {
		now.Fetched = old.Fetched
	} else if !old.Recording.SHA256.IsZero() {
		f.notice("%s changed: recording %s → %s", f.what(), old.Recording.SHA256.Short(), kept.SHA256.Short())
	}
	if old.Asked == now.Asked && old.Recording.SHA256 == kept.SHA256 && maps.Equal(old.Sources, now.Sources) {
		maps.Copy(now.Images, old.Images)
	}
	now.Images[platform] = f.inst.Image.Config
	f.Lock.Fetches[f.inst.Name] = now
	f.remember(now)
	return nil
}

// remember lets Source bring in again what is damaged in the cache.
func (f *fetching) remember(pin config.LockedFetch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for role := range pin.Sources {
		f.refetch[config.FetchedName(f.inst.Name, role)] = func(ctx context.Context) error { return f.bringIn(ctx, pin) }
	}
}

// mistake is an error at the instance's place in cube.yaml.
func (f *fetching) mistake(hint, format string, args ...any) error {
	return f.File.Errorf([]string{"producers", f.inst.Name}, hint, format, args...)
}

// fetched is what a producer made of what it was answered.
type fetched struct {
	files     map[string]config.LockedFile // by role
	recording *proxy.Recording
}

// fetch has the producer ask the network, and then again, answered from the
// recording alone: what counts is what it makes of that, and a producer that
// makes something else of it is caught. Offline there is the second alone.
func (f *fetching) fetch(ctx context.Context, known *proxy.Recording) (*fetched, error) {
	if f.cfg.Offline {
		f.step("replay what %s fetched", f.inst.Name)
		return f.run(ctx, known, true)
	}
	f.step("fetch sources of %s", f.inst.Name)
	got, err := f.run(ctx, known, false)
	if err != nil {
		return nil, err
	}
	again, err := f.run(ctx, got.recording, true)
	if err != nil {
		return nil, fmt.Errorf("replayed to see that it gives the same: %w", err)
	}
	for _, role := range f.inst.Manifest.Fetched() {
		if one, two := got.files[role], again.files[role]; one != two {
			return nil, f.mistake("what it writes may depend on nothing but its request and what it is answered: no time, no order of threads",
				"producer %s makes source %s other bytes from the same answers: %s, then %s", f.inst.Name, role, one.SHA256.Short(), two.SHA256.Short())
		}
	}
	return got, nil
}

// run runs the producer, as often as it asks to be and its policy allows. What
// was answered is not asked again.
func (f *fetching) run(ctx context.Context, known *proxy.Recording, replay bool) (*fetched, error) {
	policy := f.inst.RetryPolicy(f.File.Retry)
	for attempt := 1; ; attempt++ {
		got, err := f.attempt(ctx, &known, replay)
		failure := (*containers.Failure)(nil)
		if err == nil || replay || attempt >= policy.Attempts || !errors.As(err, &failure) || failure.Kind != containers.FailedRetry {
			return got, err
		}
		wait := time.NewTimer(min(policy.Backoff<<(attempt-1), policy.MaxBackoff))
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, context.Cause(ctx)
		case <-wait.C:
		}
	}
}

// attempt runs the producer once. What it was answered is known from then on.
func (f *fetching) attempt(ctx context.Context, known **proxy.Recording, replay bool) (*fetched, error) {
	log := &sharedLog{}
	secrets, err := f.secretFiles(ctx, replay)
	if err != nil {
		return nil, err
	}
	network, err := proxy.New(proxy.Config{Hosts: f.inst.Manifest.Capabilities.Network, Store: f.Sources, Known: *known,
		Replay: replay, Secrets: texts(secrets), Log: log, Upstream: f.cfg.Upstream})
	if err != nil {
		return nil, err
	}
	result, err := f.execute(ctx, network, secrets, log)
	if broken := network.Err(); broken != nil {
		if result != nil {
			result.Close()
		}
		return nil, fmt.Errorf("%s: %w", f.what(), broken)
	}
	if err != nil {
		*known = proxy.Merge(network.Recording(), *known)
		return nil, f.failed(err, network, log, replay)
	}
	defer result.Close()
	for _, line := range network.Refused() {
		f.notice("producer %s: %s", f.inst.Name, line)
	}
	got := &fetched{map[string]config.LockedFile{}, network.Recording()}
	for _, role := range f.inst.Manifest.Fetched() {
		out := result.Outputs[role]
		pin, err := f.Sources.Take(ctx, network.Guard(out.File))
		if errors.Is(err, proxy.ErrSecret) {
			return nil, f.mistake("sources are kept and shared: write nothing of a secret into them", "producer %s writes a secret that it was given into source %s", f.inst.Name, role)
		}
		if err != nil {
			return nil, fmt.Errorf("keep source %s of %s: %w", role, f.inst.Name, err)
		}
		got.files[role] = config.LockedFile{SHA256: pin.SHA256, Size: pin.Size, Ext: config.Ext(out.Name)}
	}
	return got, nil
}

// execute runs operation fetch in a sandbox whose network is the proxy.
func (f *fetching) execute(ctx context.Context, network *proxy.Proxy, secrets []containers.Secret, log io.Writer) (*containers.Result, error) {
	made := f.producers[f.inst.Name]
	layers, err := f.unpack(ctx, made.image)
	if err != nil {
		return nil, err
	}
	x, err := f.Executor(ctx)
	if err != nil {
		return nil, err
	}
	authority, err := proxy.Authority()
	if err != nil {
		return nil, err
	}
	files, err := f.files(ctx)
	if err != nil {
		return nil, err
	}
	var answering sync.WaitGroup
	defer answering.Wait() // then the recording is whole
	return x.Run(ctx, containers.Action{Name: "fetch-" + f.inst.Name, Layers: layers, Image: f.inst.Image, Request: f.request,
		CPUs: f.inst.Manifest.Capabilities.CPUs, Batch: f.inst.Manifest.Capabilities.Batch, Log: log, Outputs: graph.FetchOutputs(&f.inst.Manifest), Limits: f.inst.Limits(), Sources: files, Secrets: secrets,
		Network: &containers.Network{Authority: authority, Serve: func(l net.Listener) {
			answering.Add(1)
			defer answering.Done()
			network.Serve(ctx, l)
		}}})
}

// secretFiles are the secrets that a producer fetches with. A replay needs none,
// on any machine: there each is the word that stands for credentials in
// recordings. So nothing that is fetched can depend on one.
func (f *fetching) secretFiles(ctx context.Context, replay bool) ([]containers.Secret, error) {
	if !replay {
		return f.Secrets(ctx, f.inst)
	}
	var out []containers.Secret
	for _, role := range slices.Sorted(maps.Keys(f.inst.Secrets)) {
		out = append(out, containers.Secret{Target: graph.SecretDir + "/" + role, Value: []byte(credential.Hidden)})
	}
	return out, nil
}

// texts are what secrets are in requests: without the space around them.
func texts(secrets []containers.Secret) []string {
	var out []string
	for _, s := range secrets {
		out = append(out, strings.TrimSpace(string(s.Value)))
	}
	return out
}

// files are the sources that the producer reads while it fetches.
func (f *fetching) files(ctx context.Context) ([]containers.SourceFile, error) {
	var request graph.Request
	if err := json.Unmarshal(f.request, &request); err != nil {
		return nil, err
	}
	var out []containers.SourceFile
	for role, at := range request.Sources {
		name := f.inst.Sources[role]
		path, err := f.Source(ctx, graph.Source{Name: name, SHA256: f.Lock.Sources[name].SHA256})
		if err != nil {
			return nil, err
		}
		out = append(out, containers.SourceFile{Path: path, Target: at.File})
	}
	return out, nil
}

// failed says why a producer did not fetch: what it was refused, and what no host
// answered, stands at the end.
func (f *fetching) failed(err error, network *proxy.Proxy, log *sharedLog, replay bool) error {
	failure := (*containers.Failure)(nil)
	if !errors.As(err, &failure) {
		return err // the machine's
	}
	why := []string{failure.Detail}
	line := log.lastLine()
	if line != "" {
		why = append(why, line)
	}
	const shown = 3
	unmet := slices.DeleteFunc(append(network.Refused(), network.Unanswered()...), func(r string) bool { return strings.Contains(line, r) })
	why = append(why, unmet[:min(len(unmet), shown)]...)
	text := fmt.Sprintf("producer %s did not fetch its sources: %s", f.inst.Name, strings.Join(why, "; "))
	switch {
	case replay && f.cfg.Locked:
		return &LockError{What: "recording of producer " + f.inst.Name, Why: text}
	case replay:
		return f.mistake("to have the network asked: cube lock --update", "%s", text)
	}
	return &fetchError{f.mistake("", "%s", text), failure}
}

// fetchError is a mistake that shows in what a producer did.
type fetchError struct {
	error
	failure *containers.Failure
}

func (e *fetchError) Unwrap() []error { return []error{e.error, e.failure} }

// sharedLog is a lastBytes that a producer and its network write to at once.
type sharedLog struct {
	mu   sync.Mutex
	last lastBytes
}

func (l *sharedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.Write(p)
}

func (l *sharedLog) lastLine() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last.lastLine()
}

// bringInAgain is for a source that its producer fetched.
func (p *Project) bringInAgain(ctx context.Context, name string) error {
	p.mu.Lock()
	again := p.refetch[name]
	p.mu.Unlock()
	if again == nil {
		return fs.ErrNotExist
	}
	p.fetching.Lock() // many actions miss it at once
	defer p.fetching.Unlock()
	return again(ctx)
}
