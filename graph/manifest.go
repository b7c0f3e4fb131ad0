package graph

import (
	"encoding/json"
	"slices"
	"time"
)

// Manifest is a producer's contract: what it needs, what it produces, and what
// it asks of the machine. It is the `producer.yaml` without the image recipe
// and travels as the image config label [ContractLabel].
type Manifest struct {
	Name         string          `json:"name"`
	Description  string          `json:"description,omitempty"`
	License      string          `json:"license,omitempty"`
	Citation     string          `json:"citation,omitempty"`
	Needs        []DataNeed      `json:"needs,omitempty"`
	Produces     []VarSpec       `json:"produces"`
	Params       json.RawMessage `json:"params,omitempty"` // JSON Schema of the params object
	Sources      []SourceNeed    `json:"sources,omitempty"`
	Secrets      []string        `json:"secrets,omitempty"` // roles of what it may be given as files below [SecretDir]
	Capabilities Capabilities    `json:"capabilities"`
	Command      []string        `json:"command"`
}

// ContractLabel is the image config label that holds the manifest as JSON.
const ContractLabel = "dev.cubebuild.producer"

// SourceNeed is a source that a producer reads, by role.
type SourceNeed struct {
	Name        string `json:"name" yaml:"name"`
	Description string `json:"description,omitempty" yaml:"description,omitempty"`
	Optional    bool   `json:"optional,omitempty" yaml:"optional,omitempty"`
	// Inspect says that the producer can describe the source: run with
	// operation "inspect" it writes an [Inspection] as its only output.
	Inspect bool `json:"inspect,omitempty" yaml:"inspect,omitempty"`
	// Index says that the producer can split the source into parts: run with
	// operation "index" it writes an [Index] and a file for each part. An action
	// then sees the parts that its tile meets, and never the whole.
	Index bool `json:"index,omitempty" yaml:"index,omitempty"`
	// Fetch says that the producer brings the source in itself: run with
	// operation "fetch", and with the network that its capabilities name, it
	// writes the file as an output of that name. No other operation has a
	// network.
	Fetch bool `json:"fetch,omitempty" yaml:"fetch,omitempty"`
}

// Inspection is what a driver says of a source: the raster's own lattice and
// what it holds. It is pinned in cube.lock.
type Inspection struct {
	CRS       string     `json:"crs,omitempty" yaml:"crs,omitempty"`
	Transform [6]float64 `json:"transform" yaml:"transform,flow"` // GDAL order
	Width     int64      `json:"width" yaml:"width"`
	Height    int64      `json:"height" yaml:"height"`
	Bands     int64      `json:"bands,omitempty" yaml:"bands,omitempty"`
	DType     string     `json:"dtype,omitempty" yaml:"dtype,omitempty"`
	NativeRes float64    `json:"native_res_m,omitempty" yaml:"native_res_m,omitempty"` // ground metres, the coarser axis
}

// Capabilities say how a producer runs. Three reach the container and so are
// keyed: CPUs, as its thread count, whether it serves, and whether it finds a
// folder of checkpoints; see ARCHITECTURE.md.
type Capabilities struct {
	Cost     string   `json:"cost,omitempty"`      // cpu, memory, io or gpu: a hint for the scheduler
	Tiles    bool     `json:"tiles"`               // false: one action computes the whole domain and all times
	Batch    int      `json:"batch,omitempty"`     // how many tiles one container start may serve
	Network  []string `json:"network,omitempty"`   // host names that operation fetch may reach
	CPUs     float64  `json:"cpus,omitempty"`      // threads
	CPUClass bool     `json:"cpu_class,omitempty"` // results depend on the CPU's class, so that it is keyed
	Retry    Retry    `json:"retry,omitzero"`      // when a failed action runs again; a workspace may override it
	// Checkpoint asks for [CheckpointDir], which is kept from one attempt at an
	// action to the next.
	Checkpoint bool `json:"checkpoint,omitempty"`
	Resources
	Scarce
}

// Scarce is what few actions need and a machine has few of. It only says which
// actions run at once: no key holds it and no container is told.
type Scarce struct {
	GPUs   int            `json:"gpu,omitempty"`
	Tokens map[string]int `json:"tokens,omitempty"` // named by the workspace, such as licences
}

// Or returns s with what is unset taken from o.
func (s Scarce) Or(o Scarce) Scarce {
	if s.Tokens == nil {
		s.Tokens = o.Tokens
	}
	return Scarce{orDefault(s.GPUs, o.GPUs), s.Tokens}
}

// Serves reports whether the producer speaks the protocol of a batch.
func (c Capabilities) Serves() bool { return c.Batch > 1 }

// Resources are limits that no value depends on; a workspace may override them
// and a change reruns nothing.
type Resources struct {
	Memory  int64         `json:"memory,omitempty"`  // bytes
	Disk    int64         `json:"disk,omitempty"`    // bytes of scratch and output
	PIDs    int           `json:"pids,omitempty"`    // processes and threads
	Timeout time.Duration `json:"timeout,omitempty"` // wall time of one action, in nanoseconds
}

// Default limits of an action.
const (
	DefaultMemory  = 2 << 30
	DefaultDisk    = 256 << 20
	DefaultPIDs    = 512
	DefaultTimeout = time.Hour
)

// WithDefaults fills in what neither manifest nor workspace says.
func (r Resources) WithDefaults() Resources {
	return r.Or(Resources{Memory: DefaultMemory, Disk: DefaultDisk, PIDs: DefaultPIDs, Timeout: DefaultTimeout})
}

// Or returns r with unset limits taken from o.
func (r Resources) Or(o Resources) Resources {
	return Resources{orDefault(r.Memory, o.Memory), orDefault(r.Disk, o.Disk),
		orDefault(r.PIDs, o.PIDs), orDefault(r.Timeout, o.Timeout)}
}

// WithDefaults fills in what a manifest may leave out.
func (m Manifest) WithDefaults() Manifest {
	m.Capabilities.CPUs = orDefault(m.Capabilities.CPUs, 1)
	m.Capabilities.Batch = orDefault(m.Capabilities.Batch, 1)
	needs := make([]DataNeed, len(m.Needs))
	for i, n := range m.Needs {
		needs[i] = n.WithDefaults()
	}
	outs := make([]VarSpec, len(m.Produces))
	for i, v := range m.Produces {
		outs[i] = v.WithDefaults()
	}
	m.Needs, m.Produces = needs, outs
	return m
}

// Indexes reports whether the producer splits the source of a role into parts.
func (m *Manifest) Indexes(role string) bool {
	return slices.ContainsFunc(m.Sources, func(s SourceNeed) bool { return s.Name == role && s.Index })
}

// Output returns the spec of a role that the producer produces, or nil.
func (m *Manifest) Output(role string) *VarSpec {
	for i := range m.Produces {
		if m.Produces[i].Name == role {
			return &m.Produces[i]
		}
	}
	return nil
}
