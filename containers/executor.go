package containers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/internal/secret"
)

// Executor runs actions: it stages what an action is given, has a [Runner] run
// it, and takes in what it left. Its methods may be called at once.
type Executor struct {
	runner  Runner
	staging *Staging
	watch   time.Duration
	pool    *pool
}

// ExecutorConfig says what an executor works with.
type ExecutorConfig struct {
	Runner Runner
	// Staging is where windows and outputs lie while an action runs.
	Staging *Staging
	// Sessions is how many containers may be there at once before idle ones are
	// ended: as many as were at work at once, or as this says. 0: a processor each.
	Sessions int
	// Idle is how long a container waits for the next action of its batch.
	// 0: 3 seconds.
	Idle time.Duration
}

// NewExecutor returns an executor. The caller closes it, before the runner.
func NewExecutor(c ExecutorConfig) *Executor {
	return &Executor{runner: c.Runner, staging: c.Staging, watch: watchInterval,
		pool: newPool(cmp.Or(c.Sessions, runtime.NumCPU()), cmp.Or(c.Idle, 3*time.Second))}
}

// Close ends the containers that wait for another action. One that is under way
// ends with its action.
func (x *Executor) Close() error { return x.pool.close() }

// EndIdle ends the containers that wait for another action: what they have of the
// machine is free then.
func (x *Executor) EndIdle() { _ = x.pool.endIdle() } // one that cannot be ended is found by Close of its runner

// Run runs an action to its end. A *Failure says that the producer failed;
// the caller closes the result.
func (x *Executor) Run(ctx context.Context, a Action) (*Result, error) {
	if len(a.Secrets) > 0 {
		return x.runHidden(ctx, a)
	}
	return x.run(ctx, a)
}

// runHidden runs an action whose secrets are shown to nobody else.
func (x *Executor) runHidden(ctx context.Context, a Action) (*Result, error) {
	var set secret.Set
	for _, s := range a.Secrets {
		set.Add(s.Value)
	}
	if a.Log != nil {
		log := secret.NewLog(&set, a.Log)
		defer log.Flush()
		a.Log = log
	}
	result, err := x.run(ctx, a)
	if f := (*Failure)(nil); errors.As(err, &f) {
		f.Detail = set.Redact(f.Detail)
	}
	return result, err
}

func (x *Executor) run(ctx context.Context, a Action) (*Result, error) {
	a.Limits.Disk = cmp.Or(a.Limits.Disk, graph.DefaultDisk)
	st, err := x.stage(ctx, a)
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", a.Name, err)
	}
	defer st.remove()
	if a.Batch > 1 {
		return x.serve(ctx, st, a)
	}
	x.pool.enter()
	defer x.pool.leave(nil)
	watched, stop := x.watchAll(ctx, st, a)
	defer stop()
	exit, err := x.runner.Run(watched, st.spec)
	if err != nil {
		if full := diskFull(watched); full != nil {
			return nil, full
		}
		return nil, fmt.Errorf("run %s: %w", a.Name, err)
	}
	defer exit.Close()
	return st.result(ctx, exit, a)
}

// result is what a payload left, or how it failed.
func (s *staged) result(ctx context.Context, exit *Exit, a Action) (*Result, error) {
	if err := s.unchanged(); err != nil {
		return nil, fmt.Errorf("%s: %w", a.Name, err)
	}
	outputs, err := s.finish(ctx, exit, a)
	if f := (*Failure)(nil); errors.As(err, &f) {
		f.Usage = exit.Usage
		return nil, f
	}
	if err != nil {
		return nil, fmt.Errorf("take in %s: %w", a.Name, err)
	}
	return &Result{Outputs: outputs, Usage: exit.Usage, Unenforced: exit.Unenforced}, nil
}

// finish takes in what a payload left that has ended, or has answered, or says
// how it failed.
func (s *staged) finish(ctx context.Context, exit *Exit, a Action) (map[string]Output, error) {
	full := s.full(exit)
	if f := failure(exit, a.Limits); f != nil {
		return nil, f.orDisk(full, a.Limits.Disk)
	}
	for _, dir := range []string{s.watch, a.Checkpoint} {
		if dir == "" {
			continue
		}
		if used := diskUse(dir); used > a.Limits.Disk { // between two looks
			return nil, tooLarge(used, a.Limits.Disk)
		}
	}
	out, err := s.outputs(exit, a.Limits.Disk)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	outputs, err := out.ingest(ctx, a.Outputs)
	if f := (*Failure)(nil); errors.As(err, &f) {
		return nil, f.orDisk(full, a.Limits.Disk)
	}
	return outputs, err
}

// staged is an action laid out for its sandbox.
type staged struct {
	spec     Spec
	dir      string            // on disk, or "" where all is in memory
	watch    string            // the directory that the disk limit bounds, or ""
	inMemory bool              // windows and outputs lie in memory where they can
	shared   map[string]string // by role: the directory of a window that others have, too
	give     []func()          // give back what was taken
	serves   bool              // the payload speaks the protocol of a batch
	parts    int64             // what parts of sources take in memory; 0: they are mounted
	held     []held            // files that are mounted
}

func (s *staged) remove() {
	s.letGo()
	if s.dir != "" {
		removeAll(s.dir)
	}
	for _, f := range s.give {
		f()
	}
	s.give = nil
}

// full reports whether a payload ended with no room left in what it had of
// memory, and lets go of its scratch.
func (s *staged) full(exit *Exit) bool {
	full := false
	for _, target := range []string{graph.OutputDir, graph.ScratchDir} {
		if f, ok := exit.Kept[target]; ok && s.watch == "" {
			full = full || isFull(f)
		}
	}
	if f, ok := exit.Kept[graph.ScratchDir]; ok {
		f.Close()
		delete(exit.Kept, graph.ScratchDir)
	}
	return full
}

// outputs opens what the payload wrote.
func (s *staged) outputs(exit *Exit, disk int64) (*left, error) {
	dir := filepath.Join(s.watch, "out")
	if s.watch == "" {
		f, ok := exit.Kept[graph.OutputDir]
		if !ok {
			return nil, fmt.Errorf("the runner kept no %s", graph.OutputDir)
		}
		dir = fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	}
	root, err := os.OpenRoot(dir)
	return &left{root, dir, disk}, err
}

func (x *Executor) stage(ctx context.Context, a Action) (_ *staged, err error) {
	st := &staged{spec: Spec{
		Name: a.Name, Layers: a.Layers, Args: a.Image.Command, Env: Environment(a.Image.Env, a.CPUs),
		Dir: graph.ScratchDir, Stdout: a.Log, Stderr: a.Log,
		Limits: Limits{Memory: a.Limits.Memory, CPUs: a.CPUs, PIDs: a.Limits.PIDs, Time: a.Limits.Timeout},
	}, serves: a.Batch > 1}
	if st.serves {
		st.spec.Env = append(st.spec.Env, ServeVariable+"=1")
		slices.Sort(st.spec.Env)
	}
	defer func() {
		if err != nil {
			st.remove()
		}
	}()
	if err := x.makeRoom(ctx, st, &a); err != nil {
		return nil, err
	}
	st.mount(Mount{Kind: Content, Target: graph.RequestPath, Content: a.Request})
	a.Network.stage(st)
	if err := x.stageInputs(ctx, st, a.Inputs); err != nil {
		return nil, err
	}
	for _, s := range a.Secrets {
		st.mount(Mount{Kind: Content, Target: s.Target, Content: s.Value, Private: true})
	}
	st.mountSources(a.Sources, a.PartDirs)
	st.mountCheckpoint(a.Checkpoint)
	st.hold()
	return st, x.stageWritable(st, a)
}

func (s *staged) mount(m Mount) { s.spec.Mounts = append(s.spec.Mounts, m) }

// stageWritable adds where the payload may write: /cube/out and /cube/scratch.
func (x *Executor) stageWritable(st *staged, a Action) error {
	dirs := []string{}
	for role := range a.Outputs {
		dirs = append(dirs, role)
	}
	slices.Sort(dirs)
	if st.inMemory && a.Limits.Disk <= graph.DefaultDisk {
		st.mount(Mount{Kind: Tmpfs, Target: graph.OutputDir, Size: a.Limits.Disk, Keep: true, Dirs: dirs})
		st.mount(Mount{Kind: Tmpfs, Target: graph.ScratchDir, Size: a.Limits.Disk, Keep: true}) // to see whether it is full
		return nil
	}
	root, err := x.dir(st)
	if err != nil {
		return err
	}
	st.watch = filepath.Join(root, "w")
	all := append([]string{"out", "scratch"}, prefixed("out/", dirs)...)
	for _, d := range all {
		path := filepath.Join(st.watch, d)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := os.Chmod(path, 0o777); err != nil { // the payload is another user; only w's parent is the engine's alone
			return err
		}
	}
	epoch := time.Unix(0, 0)
	for _, d := range all { // once all are made: what is made in a directory changes its times
		if err := os.Chtimes(filepath.Join(st.watch, d), epoch, epoch); err != nil {
			return err
		}
	}
	st.mount(Mount{Kind: Bind, Source: filepath.Join(st.watch, "out"), Target: graph.OutputDir, Writable: true})
	st.mount(Mount{Kind: Bind, Source: filepath.Join(st.watch, "scratch"), Target: graph.ScratchDir, Writable: true})
	return nil
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = prefix + n
	}
	return out
}

// dir returns the action's own directory on disk, which it makes when it is
// first asked for.
func (x *Executor) dir(st *staged) (string, error) {
	if st.dir != "" {
		return st.dir, nil
	}
	dir, err := x.staging.dir("action-")
	st.dir = dir
	return dir, err
}

// Environment returns the whole environment of a payload: the image's own, and
// what the engine fixes so that nothing differs from run to run or from host to
// host. It is a function of the image and of cpus, which are keyed, and of
// graph.StagingVersion.
func Environment(image []string, cpus float64) []string {
	env := slices.Clone(image)
	set := func(k, v string) {
		env = slices.DeleteFunc(env, func(e string) bool { return strings.HasPrefix(e, k+"=") })
		env = append(env, k+"="+v)
	}
	if !slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "PATH=") }) {
		set("PATH", "/usr/local/bin:/usr/bin:/bin")
	}
	for _, kv := range fixedEnv {
		set(kv[0], kv[1])
	}
	threads := strconv.Itoa(max(1, int(cpus)))
	for _, k := range threadEnv {
		set(k, threads)
	}
	slices.Sort(env)
	return env
}

// fixedEnv is the environment that every payload has. The last three hold the
// C library, NumPy and OpenBLAS to x86-64-v2, so that a newer processor
// computes what an older one does.
var fixedEnv = [][2]string{
	{"HOME", graph.ScratchDir}, {"TMPDIR", "/tmp"}, {"TZ", "UTC"}, {"LANG", "C.UTF-8"}, {"LC_ALL", "C.UTF-8"},
	{"SOURCE_DATE_EPOCH", "0"}, {"PYTHONHASHSEED", "0"}, {"PYTHONDONTWRITEBYTECODE", "1"}, {"PYTHONUNBUFFERED", "1"},
	{"GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD,-AVX2,-AVX,-FMA,-FMA4"},
	{"NPY_DISABLE_CPU_FEATURES", "AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR X86_V3 X86_V4"},
	{"OPENBLAS_CORETYPE", "Nehalem"},
}

var threadEnv = []string{"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "GDAL_NUM_THREADS", "GOMAXPROCS"}
