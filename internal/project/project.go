// Package project is a workspace on disk, ready to be planned and built: its
// cube.yaml and cube.lock, the images of its producers, the bytes of its
// sources, and its cube.
//
// [Open] reads the files. [Project.Prepare] then does, for a set of targets,
// what has to come before a plan: it makes the images of the producers that
// the targets need, pins the sources, has the drivers describe them, writes
// what it found to cube.lock, and resolves the plan. With nothing new it costs
// a few stats.
package project

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/images/drivers"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/proxy"
	"github.com/cubebuild/cube/internal/secret"
	"github.com/cubebuild/cube/internal/source"
	"github.com/cubebuild/cube/internal/yamlfile"
)

// Config says where a project is and what it may do.
type Config struct {
	Dir     string   // in the workspace
	Cache   string   // of the user: images and sources
	Sets    []string // overrides of cube.yaml, as config.File.Set takes them
	Folders []string // whose files stand in for fetched sources
	Locked  bool     // nothing that is not as cube.lock pins it
	Offline bool     // nothing is fetched
	DryRun  bool     // cube.lock is not written, and no cube is made
	// Known has nothing be made ready or fetched either: an image or a description that
	// is not at hand is an ErrUnready, and a source is what it is pinned to.
	Known  bool
	Update bool // sources of the network are fetched anew, whatever cube.lock pins

	Images images.Config
	// Upstream is how the hosts are reached that producers fetch from.
	Upstream proxy.Upstream
	S3       source.S3 // how s3: sources are reached
	// Env returns a variable of the user's environment, where secrets may be.
	Env func(name string) string
	// Runner makes the sandboxes; it is asked for when the first is needed.
	Runner func(ctx context.Context) (containers.Runner, error)
	// Notice receives what the user should know, a line at a time.
	Notice func(text string)
	// Step receives what is under way beside actions: fetching, building images.
	Step func(text string)
}

// Project is an open workspace. Its methods are for one goroutine at a time,
// except those of solve.Provider.
type Project struct {
	File    *config.File
	Lock    *config.Lock
	Images  *images.Store
	Sources *source.Cache

	cfg      Config
	cube     *cube.Cube
	executor *containers.Executor
	making   sync.Mutex // of the executor, which many actions ask for at once
	indexing sync.Mutex // of a source whose parts are gone, which many actions miss at once
	hidden   secret.Set // what was read of secrets

	fetching sync.Mutex // of a source that is brought in again

	mu      sync.Mutex
	imgs    map[string]*images.Image                   // by config digest
	used    map[string]func()                          // by manifest digest, of the images that are used: give them back
	refetch map[string]func(ctx context.Context) error // by name, of sources that a producer fetched
	staging *cube.Staging                              // nil until something is too large for memory
	scratch string                                     // in its place, where there is no cube
	secrets map[string][]byte                          // that were read
	reindex map[string]func(context.Context) error     // by instance and role
}

// Open reads the workspace that holds the configured directory.
func Open(c Config) (*Project, error) {
	path, err := config.Find(c.Dir)
	if err != nil {
		return nil, err
	}
	file, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	file.Memo = openMemo(c.Cache, file.Dir())
	for _, s := range c.Sets {
		if err := file.Set(s); err != nil {
			return nil, err
		}
	}
	p := &Project{File: file, cfg: c, imgs: map[string]*images.Image{}, used: map[string]func(){}, refetch: map[string]func(context.Context) error{},
		secrets: map[string][]byte{}, reindex: map[string]func(context.Context) error{}}
	if p.Lock, err = config.LoadLockOrNew(p.path(config.LockName)); err != nil {
		return nil, err
	}
	if p.Images, err = images.OpenStore(filepath.Join(c.Cache, "images"), c.Images); err != nil {
		return nil, err
	}
	p.Sources = source.Open(source.Config{Dir: filepath.Join(c.Cache, "sources"), Folders: c.Folders, Offline: c.Offline || c.Known, S3: c.S3,
		Secret: p.secretText, Redact: p.hidden.Redact, Progress: p.progress(),
		Waiting: func(uri string) { p.step("%s: another build fetches it; waiting", uri) }})
	return p, nil
}

// openMemo opens what is remembered of a workspace's contracts, in the user's
// cache, for as long as this very program is the one that asks.
func openMemo(cache, dir string) *config.Memo {
	exe, err := os.Executable()
	if err != nil {
		return nil
	}
	info, err := os.Stat(exe)
	if err != nil {
		return nil
	}
	program := fmt.Sprintf("%s %d %d", exe, info.Size(), info.ModTime().UnixNano())
	return config.OpenMemo(filepath.Join(cache, "contracts", graph.Sum([]byte(dir)).Hex()+".json"), program)
}

func (p *Project) path(elem ...string) string {
	return filepath.Join(append([]string{p.File.Dir()}, elem...)...)
}

// Cube opens the workspace's cube, and makes it where there is none; in a dry
// run that is cube.ErrNotCube.
func (p *Project) Cube() (*cube.Cube, error) {
	if p.cube != nil {
		return p.cube, nil
	}
	dir := p.File.Dir()
	conf := cube.Config{Compressor: p.File.Storage.Codec, Level: p.File.Storage.Level}
	c, err := cube.Open(dir, conf)
	if errors.Is(err, cube.ErrNotCube) && p.cfg.DryRun {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if errors.Is(err, cube.ErrNotCube) {
		if err = cube.Create(dir); err == nil {
			c, err = cube.Open(dir, conf)
		}
	}
	if err != nil {
		return nil, err
	}
	p.cube = c
	return c, nil
}

// Close closes what was opened.
func (p *Project) Close() error {
	_, _ = p.Sources.Save(), p.File.Memo.Save() // hints, which cost time where they are missing
	var err error
	if p.executor != nil { // its containers may be shown what lies in the staging area
		err = p.executor.Close()
	}
	for _, release := range p.used {
		release()
	}
	if p.staging != nil {
		err = errors.Join(err, p.staging.Close())
	}
	if p.scratch != "" {
		err = errors.Join(err, os.RemoveAll(p.scratch))
	}
	if p.cube != nil {
		err = errors.Join(err, p.cube.Close())
	}
	return err
}

func (p *Project) notice(format string, args ...any) {
	if p.cfg.Notice != nil {
		p.cfg.Notice(fmt.Sprintf(format, args...))
	}
}

func (p *Project) step(format string, args ...any) {
	if p.cfg.Step != nil {
		p.cfg.Step(fmt.Sprintf(format, args...))
	}
}

// producer is where an instance's contract and image come from.
type producer struct {
	manifest graph.Manifest
	source   *images.Source         // nil where the image is only in the store
	image    *images.Image          // set by build
	parts    map[string]graph.Split // by role, of the sources that it indexes
}

// producer reads an instance's contract, without making its image.
func (p *Project) producer(ctx context.Context, inst *config.Producer) (*producer, error) {
	src, manifest, err := p.Producer(inst.Image)
	if err == nil {
		return &producer{manifest: manifest, source: src}, nil
	}
	where := []string{"producers", inst.Name, "image"}
	if name, ok := config.Builtin(inst.Image); ok && errors.Is(err, fs.ErrNotExist) {
		return nil, p.File.Errorf(where, "builtin: "+strings.Join(drivers.Names(), ", "), "there is no builtin producer %s", name)
	}
	switch {
	case !config.IsPath(inst.Image):
	case isMistake(err):
		return nil, err
	case errors.Is(err, config.ErrNoProducer), errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return nil, p.File.Errorf(where, "", "%s holds no %s", inst.Image, config.ProducerName)
	default:
		return nil, p.File.Errorf(where, "", "%v", err)
	}
	if !errors.Is(err, errReference) {
		return nil, err
	}
	img, err := p.Images.Get(ctx, inst.Image)
	if err != nil {
		return nil, p.File.Errorf(where,
			"images here: cube image ls; a producer directory starts with ./", "image %s: %v", inst.Image, err)
	}
	if manifest, err = config.ManifestFromLabel(img.Label); err != nil {
		return nil, fmt.Errorf("image %s: its contract: %w", inst.Image, err)
	}
	return &producer{manifest: manifest, image: img}, nil
}

// isMistake reports whether an error shows a place in a file already.
func isMistake(err error) bool {
	var one *yamlfile.Error
	var all yamlfile.Errors
	return errors.As(err, &one) || errors.As(err, &all)
}

// errReference says that an image is neither shipped nor a directory.
var errReference = errors.New("an image reference")

// Producer returns the source and contract of a shipped producer
// (builtin:<name>) or of a producer directory, relative to the workspace.
func (p *Project) Producer(image string) (*images.Source, graph.Manifest, error) {
	return produce(p.File.Memo, p.File.Dir(), image)
}

// Producer is Project.Producer without a workspace: paths are relative to base.
func Producer(base, image string) (*images.Source, graph.Manifest, error) {
	return produce(nil, base, image)
}

func produce(memo *config.Memo, base, image string) (*images.Source, graph.Manifest, error) {
	var dir string
	var fsys fs.FS
	if name, ok := config.Builtin(image); ok {
		if fsys, ok = drivers.FS(name); !ok {
			return nil, graph.Manifest{}, fmt.Errorf("builtin:%s: %w", name, fs.ErrNotExist)
		}
	} else if config.IsPath(image) {
		dir = image
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(base, dir)
		}
		fsys = os.DirFS(dir)
	} else {
		return nil, graph.Manifest{}, errReference
	}
	c, err := memo.LoadContract(fsys, image)
	if err != nil {
		return nil, graph.Manifest{}, err
	}
	src := images.Source{Name: image, FS: fsys, Dir: dir, Recipe: c.Recipe, Label: c.Label}
	return &src, c.Manifest, nil
}

// Layers implements solve.Provider.
func (p *Project) Layers(ctx context.Context, inst *graph.Instance) ([]string, error) {
	p.mu.Lock()
	img := p.imgs[inst.Image.Config]
	p.mu.Unlock()
	if img == nil {
		return nil, fmt.Errorf("image %s of %s is not at hand", inst.Image.Ref, inst.Name)
	}
	return p.unpack(ctx, img)
}

// unpack returns the layers of an image, which stay until the project is closed.
func (p *Project) unpack(ctx context.Context, img *images.Image) ([]string, error) {
	p.mu.Lock()
	used := p.used[img.Manifest] != nil
	p.mu.Unlock()
	if used {
		return p.Images.Unpack(ctx, img)
	}
	dirs, release, err := p.Images.Use(ctx, img)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.used[img.Manifest] != nil { // by another action, meanwhile
		release()
	} else {
		p.used[img.Manifest] = release
	}
	return dirs, nil
}

// ImageByConfig returns an image of a prepared plan by its config digest, or nil.
func (p *Project) ImageByConfig(config string) *images.Image {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.imgs[config]
}

// Source implements solve.Provider. The bytes are verified, once a build; where
// the cache's copy is damaged or gone, the source is brought in again, and is
// what it was or an error.
func (p *Project) Source(ctx context.Context, s graph.Source) (string, error) {
	path, err := p.Sources.Verified(ctx, s.SHA256)
	if err == nil || !errors.Is(err, source.ErrDamaged) && !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	src := p.File.Source(s.Name)
	p.step("source %s: its copy in the cache is damaged or gone; bringing it in again", s.Name)
	var pinErr error
	if src == nil {
		pinErr = p.bringInAgain(ctx, s.Name)
	} else {
		_, pinErr = p.Sources.Pin(ctx, p.File.Dir(), source.Want{URI: src.URI, SHA256: s.SHA256, MaxSize: src.MaxSize})
	}
	if pinErr != nil {
		return "", fmt.Errorf("%w; to bring it in again: %w", err, pinErr)
	}
	return p.Sources.Verified(ctx, s.SHA256)
}

// Executor runs actions in the configured sandbox.
func (p *Project) Executor(ctx context.Context) (*containers.Executor, error) {
	p.making.Lock()
	defer p.making.Unlock()
	if p.executor != nil {
		return p.executor, nil
	}
	if _, err := p.Cube(); err != nil && !errors.Is(err, cube.ErrNotCube) {
		return nil, err
	}
	runner, err := p.cfg.Runner(ctx)
	if err != nil {
		return nil, err
	}
	p.executor = containers.NewExecutor(containers.ExecutorConfig{Runner: runner,
		Staging: containers.NewStaging(containers.StagingConfig{Memory: p.File.Staging.Memory, Disk: p.File.Staging.Disk, Dir: p.Stage})})
	return p.executor, nil
}

// Stage returns the folder for what is too large for memory, which it makes when
// it is first asked for: in the cube or, where there is none in a dry run, among
// temporary files.
func (p *Project) Stage() (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.staging != nil:
		return p.staging.Dir, nil
	case p.scratch != "":
		return p.scratch, nil
	}
	if p.cube == nil {
		var err error
		p.scratch, err = os.MkdirTemp("", "cube-")
		return p.scratch, err
	}
	s, err := p.cube.Stage()
	if err != nil {
		return "", err
	}
	p.staging = s
	return s.Dir, nil
}
