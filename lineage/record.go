package lineage

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/cubebuild/cube/cube/grid"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/credential"
)

// Status says how a run or an action ended.
type Status string

// The statuses of runs and actions.
const (
	Running     Status = "running"     // a run that goes on
	Succeeded   Status = "succeeded"   // all that was asked for is there
	Partial     Status = "partial"     // a run that went on past failures
	Failed      Status = "failed"      //
	Cancelled   Status = "cancelled"   // stopped by a person
	Interrupted Status = "interrupted" // a run whose process died; never written, inferred
	Lost        Status = "lost"        // an action whose end nobody saw
)

// Run is one command that changed the cube.
type Run struct {
	ID        string    `json:"id"`
	Started   time.Time `json:"started"`
	Finished  time.Time `json:"finished,omitzero"`
	Status    Status    `json:"status"`
	Error     string    `json:"error,omitempty"` // why it failed, in one line
	Targets   []string  `json:"targets,omitempty"`
	Command   []string  `json:"command,omitempty"`
	Workspace Workspace `json:"workspace"`
	Host      Host      `json:"host"`
	Engine    Engine    `json:"engine"`
	Counts    Counts    `json:"counts"`
	// Files are the run's files as they were when it ended, by name.
	Files map[string]FileSum `json:"files,omitempty"`

	// Vertices are what [Store.Run] read beside run.json, in the order in
	// which they ended.
	Vertices []Vertex `json:"-"`
}

// Workspace is what was built from.
type Workspace struct {
	Name   string       `json:"name,omitempty"`
	Config graph.Digest `json:"config"` // of cube.yaml's bytes
	Lock   graph.Digest `json:"lock"`   // of cube.lock's bytes
	Git    Git          `json:"git,omitzero"`
}

// Git is the state of the work tree that the workspace lies in; the zero value
// means that it lies in none.
type Git struct {
	Commit   string `json:"commit,omitempty"`
	Dirty    bool   `json:"dirty,omitempty"` // the workspace's folder differs from the commit
	Describe string `json:"describe,omitempty"`
}

// Host is the machine that the run was started on.
type Host struct {
	Name     string `json:"name,omitempty"`
	OS       string `json:"os,omitempty"`
	Kernel   string `json:"kernel,omitempty"`
	Arch     string `json:"arch,omitempty"`
	CPUModel string `json:"cpu_model,omitempty"`
	CPUClass string `json:"cpu_class,omitempty"` // amd64-v1 to amd64-v4, or the architecture
	Cores    int    `json:"cores,omitempty"`
	Memory   int64  `json:"memory,omitempty"` // bytes
}

// Engine is the program.
type Engine struct {
	Version    string `json:"version,omitempty"`
	Go         string `json:"go,omitempty"`
	KeyVersion int    `json:"key_version,omitempty"`
}

// Counts are of actions.
type Counts struct {
	Actions int64 `json:"actions"` // that the plan had
	Ran     int64 `json:"ran"`
	Hits    int64 `json:"hits"`
	Failed  int64 `json:"failed"`
}

// FileSum is a file's size and SHA-256.
type FileSum struct {
	Size   int64        `json:"size"`
	SHA256 graph.Digest `json:"sha256"`
}

// Vertex is one instance of a producer on one grid, as one run built it.
//
// The fields that say what was made come first and the long ones last, so that
// an index reads only the beginning of a line.
type Vertex struct {
	Instance   string       `json:"instance"`
	Grid       string       `json:"grid"`
	Derivation graph.Digest `json:"derivation"`
	Outputs    []Output     `json:"outputs"`

	Run      string          `json:"run"` // set by the Writer
	Started  time.Time       `json:"started,omitzero"`
	Status   Status          `json:"status"`
	Producer Producer        `json:"producer"`
	Image    Image           `json:"image"`
	Params   json.RawMessage `json:"params,omitempty"`
	// Limits are those of its actions. No value depends on them.
	Limits  graph.Resources `json:"limits,omitzero"`
	Inputs  []Input         `json:"inputs,omitempty"`
	Sources []Source        `json:"sources,omitempty"`
	Counts
	Wall     time.Duration `json:"wall_ns"`
	Packages []Package     `json:"packages,omitempty"`
	// Preimage is the canonical JSON whose digest Derivation is.
	Preimage json.RawMessage `json:"preimage,omitempty"`
}

// Producer is what the contract says of itself.
type Producer struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	License     string `json:"license,omitempty"`
	Citation    string `json:"citation,omitempty"`
}

// Image is what the actions ran in.
type Image struct {
	Ref      string   `json:"ref,omitempty"`      // as cube.yaml has it
	Config   string   `json:"config,omitempty"`   // digest
	Manifest string   `json:"manifest,omitempty"` // digest
	Platform string   `json:"platform,omitempty"`
	DiffIDs  []string `json:"diff_ids,omitempty"`
}

// Package is a piece of software inside the image.
type Package struct {
	Kind    string `json:"kind"` // deb, python or go
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Input is a version that was read.
type Input struct {
	Role     string       `json:"role"`
	Variable string       `json:"variable"`
	Version  graph.Digest `json:"version"`
	Held     bool         `json:"held,omitempty"` // stale, and used because it was held
}

// Output is a version that was made.
type Output struct {
	Role     string       `json:"role"`
	Variable string       `json:"variable"`
	Version  graph.Digest `json:"version"`
	Native   float64      `json:"native_res_m,omitempty"`
	Partial  bool         `json:"partial,omitempty"` // it covers less than was asked for
}

// Source is outside data that was read. The Writer takes credentials out of
// its URI, see [credential.Redact].
type Source struct {
	Role     string       `json:"role"`
	Name     string       `json:"name"`
	URI      string       `json:"uri,omitempty"`
	SHA256   graph.Digest `json:"sha256"`
	Size     int64        `json:"size,omitempty"`
	License  string       `json:"license,omitempty"`
	Citation string       `json:"citation,omitempty"`
	// Recording is what it stands on where its producer fetched it.
	Recording *Recording `json:"recording,omitempty"`
}

// Recording is what the network answered a producer.
type Recording struct {
	SHA256    graph.Digest `json:"sha256"`
	Fetched   time.Time    `json:"fetched"`
	Exchanges []Exchange   `json:"exchanges,omitempty"` // none where the recording is not on this machine
	More      int          `json:"more,omitempty"`      // that are only in the recording
}

// Exchange is one request and its answer. No credential is in it.
type Exchange struct {
	Method string       `json:"method"`
	URL    string       `json:"url"`
	Status int          `json:"status"`
	SHA256 graph.Digest `json:"sha256,omitzero"` // of the body; zero: it had none
	Size   int64        `json:"size,omitempty"`
}

// redacted is the recording without credentials in its addresses, whoever made it.
func (r *Recording) redacted() *Recording {
	if r == nil {
		return nil
	}
	clean := *r
	clean.Exchanges = slices.Clone(r.Exchanges)
	for i := range clean.Exchanges {
		clean.Exchanges[i].URL = credential.Redact(clean.Exchanges[i].URL)
	}
	return &clean
}

// maxExchanges is how many a record lists.
const maxExchanges = 1000

// NewRecording returns a recording as records have it.
func NewRecording(sum graph.Digest, fetched time.Time, all []Exchange) *Recording {
	listed := all[:min(len(all), maxExchanges)]
	return &Recording{SHA256: sum, Fetched: fetched, Exchanges: listed, More: len(all) - len(listed)}
}

// Basis is what all actions of a vertex have in common in one run: with the
// tile and the windows of its [Action] it gives the preimage of an action's id.
type Basis struct {
	Instance string      `json:"instance"`
	Grid     string      `json:"grid"`
	Basis    graph.Basis `json:"basis"`
}

// Action is one container execution.
type Action struct {
	ID       graph.Digest `json:"id"`
	Run      string       `json:"run"` // set by the Writer
	Instance string       `json:"instance"`
	Grid     string       `json:"grid"`
	Tile     grid.Box     `json:"tile"`
	Started  time.Time    `json:"started"`
	Status   Status       `json:"status"`
	Attempts int          `json:"attempts"`
	Losses   int          `json:"losses,omitempty"` // how often nobody saw its end
	Exit     int          `json:"exit"`
	Reason   string       `json:"reason,omitempty"` // how it ended, where not well
	Usage    Usage        `json:"usage"`
	// Failures are the attempts that failed, in order.
	Failures []Failure `json:"failures,omitempty"`
	// Windows and Outputs are the digests of what it read and made, by role.
	Windows    map[string]graph.Digest `json:"windows,omitempty"`
	Parts      graph.Parts             `json:"parts,omitempty"` // of indexed sources, that it saw
	Outputs    map[string]graph.Digest `json:"outputs,omitempty"`
	Sandbox    string                  `json:"sandbox,omitempty"`
	Host       string                  `json:"host,omitempty"`       // where it ran, if not where the run was started
	Unenforced []string                `json:"unenforced,omitempty"` // limits that the machine could not set
	LogSize    int64                   `json:"log_size,omitempty"`   // bytes that it printed, kept or not
}

// Failure is one attempt that failed.
type Failure struct {
	Started time.Time     `json:"started"`
	Wall    time.Duration `json:"wall_ns"`
	Memory  int64         `json:"memory,omitempty"` // the limit that it had, in bytes
	Kind    string        `json:"kind"`             // exit, retry, bad_input, signal, timeout, oom, disk or output
	Exit    int           `json:"exit,omitempty"`
	Reason  string        `json:"reason"`
}

// Usage is what an action cost, over all attempts.
type Usage struct {
	Wall   time.Duration `json:"wall_ns"`
	User   time.Duration `json:"user_ns"`
	System time.Duration `json:"system_ns"`
	MaxRSS int64         `json:"max_rss"` // bytes
	// Read and Written are bytes: of its windows as it was given them, and of its
	// outputs as the cube stores them. They are 0 in older records.
	Read    int64 `json:"read,omitempty"`
	Written int64 `json:"written,omitempty"`
}
