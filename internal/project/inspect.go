package project

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/wholefile"
)

// question is what a driver may be asked of a source.
type question struct {
	inst   *config.Producer
	role   string
	params json.RawMessage
	asked  graph.Digest // of the contract, the role and the params, the same on every machine
}

// inspect has a driver describe a source, once for each content. What
// cube.lock says holds as long as a driver of the workspace would be asked the
// same, and is the one that was asked: another image may know better.
func (pr *preparation) inspect(ctx context.Context, src *config.Source) error {
	questions, err := pr.questions(src.Name)
	if err != nil || len(questions) == 0 {
		return err
	}
	locked := pr.Lock.Sources[src.Name]
	if locked.Inspection == nil && pr.cfg.Locked {
		return &LockError{What: "description of source " + src.Name}
	}
	same := func(q question) bool { return q.asked == locked.Inspected && !pr.repinned[q.inst.Image] }
	if locked.Inspection != nil && slices.ContainsFunc(questions, same) {
		return nil
	}
	q := questions[0]
	if i := slices.IndexFunc(questions, func(q question) bool { return slices.Contains(pr.needed, q.inst.Name) }); i >= 0 {
		q = questions[i]
	}
	found, err := pr.inspection(ctx, q, graph.SourceKey{SHA256: locked.SHA256, Ext: config.Ext(src.URI)})
	if f := (*containers.Failure)(nil); errors.As(err, &f) {
		return pr.File.Errorf([]string{"sources", src.Name}, "", "source %s: %s cannot read it: %v", src.Name, q.inst.Image, err)
	}
	if err != nil {
		return err
	}
	locked.Inspection, locked.Inspected = found, q.asked
	pr.Lock.Sources[src.Name] = locked
	return nil
}

// questions finds the instances whose producer can describe a source, in the
// order of cube.yaml.
func (pr *preparation) questions(name string) ([]question, error) {
	var out []question
	for i := range pr.File.Producers {
		p := &pr.File.Producers[i]
		for _, need := range pr.producers[p.Name].manifest.Sources {
			if !need.Inspect || p.Sources[need.Name] != name {
				continue
			}
			q, err := pr.question(p, need.Name)
			if err == nil {
				out = append(out, q)
			} else if slices.Contains(pr.needed, p.Name) {
				return nil, err
			}
		}
	}
	return out, nil
}

func (pr *preparation) question(inst *config.Producer, role string) (question, error) {
	q := question{inst: inst, role: role}
	whole, err := config.Instance(pr.File, inst.Name, config.ResolvedProducer{Manifest: pr.producers[inst.Name].manifest})
	if err != nil {
		return q, err
	}
	q.params = whole.Params
	text, err := graph.Canonical(map[string]any{"producer": whole.Manifest.Name, "role": role, "params": q.params})
	q.asked = graph.Sum(text)
	return q, err
}

// asked is what a driver is asked of a source, as the action that it is.
type asked struct {
	shared  graph.Shared
	request []byte
	id      graph.ActionID
}

// asked makes the action of a question, and the driver's image.
func (pr *preparation) asked(ctx context.Context, q question, key graph.SourceKey, request func(graph.Shared) ([]byte, error)) (a asked, err error) {
	made := pr.producers[q.inst.Name]
	if err := pr.image(ctx, q.inst.Image, made, map[string]*images.Image{}); err != nil {
		return a, fmt.Errorf("image of %s: %w", q.inst.Name, err)
	}
	image := imageOf(made.image)
	a.shared = graph.Shared{KeyVersion: graph.KeyVersion, Params: q.params, CPUs: 1, Image: &image, Serves: made.manifest.Capabilities.Serves(),
		Engine: graph.EngineVersions{Staging: graph.StagingVersion}, Sources: map[string]graph.SourceKey{q.role: key}}
	if a.request, err = request(a.shared); err != nil {
		return a, err
	}
	digest, _, err := a.shared.Digest()
	if err != nil {
		return a, err
	}
	a.id, _, err = graph.Action{Shared: digest, Request: graph.Sum(a.request)}.ID()
	return a, err
}

// inspection returns what a driver says of a source, from the user's cache
// where it has been asked before.
func (pr *preparation) inspection(ctx context.Context, q question, key graph.SourceKey) (*graph.Inspection, error) {
	a, err := pr.asked(ctx, q, key, graph.InspectRequest)
	if err != nil {
		return nil, err
	}
	kept := filepath.Join(pr.cfg.Cache, "inspections", a.id.Hex()+".json")
	if b, _, ok := readKept(kept); ok {
		if found, err := parseInspection(b); err == nil {
			return found, nil
		}
	}
	if pr.cfg.Known {
		return nil, ErrUnready
	}
	pr.step("describe source %s", q.inst.Sources[q.role])
	result, err := pr.ask(ctx, q, a, "inspect", graph.InspectOutputs())
	if err != nil {
		return nil, err
	}
	defer result.Close()
	b, err := io.ReadAll(io.LimitReader(result.Outputs[graph.InspectionRole].File, maxInspection+1))
	if err != nil {
		return nil, err
	}
	found, err := parseInspection(b)
	if err != nil {
		return nil, err
	}
	return found, writeFile(kept, wholefile.Seal(b))
}

// readKept reads what a driver said, and its digest, from the user's cache. What is
// not whole is as good as not there: the driver is asked again.
func readKept(path string) (text []byte, digest graph.Digest, ok bool) {
	sealed, err := os.ReadFile(path)
	if err != nil {
		return nil, digest, false
	}
	text, sum, ok := wholefile.Unseal(sealed)
	return text, sum, ok
}

// maxInspection bounds what a driver may say.
const maxInspection = 1 << 20

// ask runs the driver. The caller closes the result.
func (pr *preparation) ask(ctx context.Context, q question, a asked, what string, outputs map[string]graph.RequestOutput) (*containers.Result, error) {
	made := pr.producers[q.inst.Name]
	layers, err := pr.unpack(ctx, made.image)
	if err != nil {
		return nil, err
	}
	x, err := pr.Executor(ctx)
	if err != nil {
		return nil, err
	}
	key := a.shared.Sources[q.role]
	path, err := pr.Source(ctx, graph.Source{Name: q.inst.Sources[q.role], SHA256: key.SHA256})
	if err != nil {
		return nil, err
	}
	var log lastBytes
	result, err := x.Run(ctx, containers.Action{Name: what + "-" + q.inst.Name, Layers: layers, Image: *a.shared.Image,
		Request: a.request, CPUs: 1, Batch: made.manifest.Capabilities.Batch, Log: &log, Outputs: outputs,
		Limits:  q.inst.Resources.Or(made.manifest.Capabilities.Resources).WithDefaults(),
		Sources: []containers.SourceFile{{Path: path, Target: graph.SourceDir + "/" + q.role + "/data" + key.Ext}}})
	if s := log.lastLine(); err != nil && s != "" {
		return nil, fmt.Errorf("%w: %s", err, s)
	}
	return result, err
}

// lastBytes keeps the end of what is written to it.
type lastBytes []byte

func (l *lastBytes) Write(p []byte) (int, error) {
	const most = 4096
	*l = append(*l, p[max(0, len(p)-most):]...)
	if drop := len(*l) - most; drop > most {
		*l = append((*l)[:0], (*l)[drop:]...)
	}
	return len(p), nil
}

// lastLine is the last line that says anything, fit to print.
func (l lastBytes) lastLine() string {
	lines := bytes.Split(bytes.TrimSpace(l), []byte("\n"))
	last := bytes.TrimSpace(lines[len(lines)-1])
	return containers.Printable(string(last[:min(len(last), 1000)]))
}

// parseInspection reads what a producer wrote; it is hostile. What is wrong
// with it is a *containers.Failure.
func parseInspection(b []byte) (*graph.Inspection, error) {
	var in graph.Inspection
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	err := dec.Decode(&in)
	if err == nil {
		err = checkInspection(b, dec, &in)
	}
	if err != nil {
		text := containers.Printable(fmt.Sprintf("description of the source: %v", err))
		return nil, &containers.Failure{Kind: containers.FailedOutput, Detail: text}
	}
	return &in, nil
}

func checkInspection(b []byte, dec *json.Decoder, in *graph.Inspection) error {
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }
	switch {
	case len(b) > maxInspection:
		return fmt.Errorf("more than %d bytes", maxInspection)
	case in.Width < 0 || in.Height < 0 || in.Bands < 0 || in.NativeRes < 0:
		return errors.New("a negative width, height, number of bands or native resolution")
	case strings.ContainsFunc(in.CRS, unprintable):
		return fmt.Errorf("crs %q", in.CRS)
	case strings.ContainsFunc(in.DType, unprintable):
		return fmt.Errorf("dtype %q", in.DType)
	}
	return nil
}
