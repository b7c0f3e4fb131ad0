package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cubebuild/cube/graph"
	"github.com/cubebuild/cube/images"
	"github.com/cubebuild/cube/images/drivers"
	"github.com/cubebuild/cube/internal/config"
	"github.com/cubebuild/cube/internal/project"
	"github.com/cubebuild/cube/internal/ui"
	"github.com/spf13/cobra"
)

func newImageCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:     "image",
		Short:   "build and look at the images of producers",
		GroupID: groupData,
		Long: `An image is what a producer's actions run in. "cube build" builds those that it
needs by itself. They are kept in an OCI layout in the user's cache, for all
workspaces. An image is named by a producer directory (./producers/slope), by
builtin:<name>, by its name in the store, or by the first digits of its digest.`,
		Example: "  cube image build ./producers/slope\n  cube image ls",
		Args:    knownCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newImageBuildCommand(a), newImageLsCommand(a), newImageInspectCommand(a),
		newImageLockCommand(a), newImageRmCommand(a), newImageGCCommand(a))
	return c
}

// imageStore opens the store of images.
func (a *app) imageStore() (*images.Store, error) {
	cache, err := a.cacheDir()
	if err != nil {
		return nil, err
	}
	return images.OpenStore(filepath.Join(cache, "images"), images.Config{})
}

// imageSource is the source of a producer that is named on the command line.
func (a *app) imageSource(ref string) (*images.Source, error) {
	if _, builtin := config.Builtin(ref); !builtin && !config.IsPath(ref) {
		if _, err := os.Stat(filepath.Join(a.dir, ref, config.ProducerName)); err == nil {
			ref = "./" + filepath.ToSlash(filepath.Clean(ref)) // as the shell completes it
		}
	}
	src, _, err := project.Producer(a.dir, ref)
	_, builtin := config.Builtin(ref)
	switch {
	case err == nil:
		return src, nil
	case builtin && errors.Is(err, fs.ErrNotExist):
		return nil, &usageError{fmt.Errorf("there is no %s\n  there are: builtin:%s", ref, strings.Join(drivers.Names(), ", builtin:"))}
	case errors.Is(err, config.ErrNoProducer), errors.Is(err, fs.ErrNotExist):
		return nil, &usageError{fmt.Errorf("%s holds no %s\n  a producer directory does; shipped ones are builtin:%s",
			ref, config.ProducerName, strings.Join(drivers.Names(), ", builtin:"))}
	case !config.IsPath(ref) && !builtin:
		return nil, &usageError{fmt.Errorf("%s is neither a producer directory (such as ./producers/slope) nor builtin:<name>", ref)}
	}
	return nil, err
}

// imageLine is an image as JSON.
type imageLine struct {
	Type string `json:"type"` // image
	*images.Image
	Label    json.RawMessage  `json:"contract,omitempty"`
	Size     int64            `json:"size"` // of its layers, compressed
	Packages []images.Package `json:"packages,omitempty"`
}

func newImageLine(img *images.Image) imageLine {
	l := imageLine{Type: "image", Image: img}
	for _, layer := range img.Layers {
		l.Size += layer.Size
	}
	if json.Valid(img.Label) {
		l.Label = img.Label
	}
	return l
}

// short is the digest of an image's config, cut short.
func short(digest string) string {
	if d, err := graph.ParseDigest(digest); err == nil {
		return d.Short()
	}
	return digest
}

func newImageBuildCommand(a *app) *cobra.Command {
	var locked bool
	c := &cobra.Command{
		Use:   "build [PRODUCER...]",
		Short: "build the images of producers",
		Long: `Build makes the images of producer directories and shipped producers: those named,
or all that cube.yaml names. One source and one image.lock give one digest, on any
machine. What is as it was is not built again.`,
		Example: `  cube image build
  cube image build ./producers/slope builtin:dem
  cube image build ./producers/slope --locked   # only what image.lock pins`,
		ValidArgsFunction: a.completeProducers,
		RunE:              func(c *cobra.Command, args []string) error { return runImageBuild(c.Context(), a, args, locked) },
	}
	c.Flags().BoolVar(&locked, "locked", false, "take no package that image.lock does not pin")
	return c
}

func runImageBuild(ctx context.Context, a *app, refs []string, locked bool) error {
	store, err := a.imageStore()
	if err != nil {
		return err
	}
	if len(refs) == 0 {
		if refs, err = a.workspaceProducers(); err != nil {
			return err
		}
	}
	for _, ref := range refs {
		src, err := a.imageSource(ref)
		if err != nil {
			return err
		}
		img, err := store.BuildCached(ctx, *src, images.BuildOptions{Locked: locked, Progress: a.imageProgress})
		if err != nil {
			return project.InRecipe(ref, src, err)
		}
		line := newImageLine(img)
		if a.json {
			err = a.printLines(line)
		} else {
			_, err = fmt.Fprintf(a.stdout, "%s  %s  %s  %s  %s\n", ref, short(img.Config), img.Platform, plural(len(img.Layers), "layer"), ui.Bytes(line.Size))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// imageProgress shows the steps of building an image.
func (a *app) imageProgress(e images.Event) {
	switch e.Kind {
	case images.EventNotice:
		a.notice(e.Image + ": " + e.Text)
	case images.EventStep:
		a.step("image " + e.Image + ": " + e.Text)
	}
}

// workspaceProducers are the producers of the workspace whose images can be
// built, each once.
func (a *app) workspaceProducers() ([]string, error) {
	p, err := a.open(projectFlags{dryRun: true, known: true}, nil)
	if err != nil {
		return nil, err
	}
	a.dir = p.File.Dir()
	var out []string
	seen := map[string]bool{}
	for _, inst := range p.File.Producers {
		_, builtin := config.Builtin(inst.Image)
		if (builtin || config.IsPath(inst.Image)) && !seen[inst.Image] {
			seen[inst.Image] = true
			out = append(out, inst.Image)
		}
	}
	return out, nil
}

func newImageLsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "list the images of the store",
		Long:    "Ls lists the images of the user's store, those with a name last.",
		Example: "  cube image ls\n  cube image ls --json | jq -r .config",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runImageLs(c.Context(), a) },
	}
}

func runImageLs(ctx context.Context, a *app) error {
	store, err := a.imageStore()
	if err != nil {
		return err
	}
	all, err := store.List(ctx)
	if err != nil {
		return err
	}
	t := &ui.Table{Header: []string{"name", "config", "platform", "layers", "size"}, Right: []bool{3: true, 4: true}}
	for _, img := range all {
		line := newImageLine(img)
		if a.json {
			if err := a.printLines(line); err != nil {
				return err
			}
		}
		t.Add(img.Name, short(img.Config), img.Platform, fmt.Sprint(len(img.Layers)), ui.Bytes(line.Size))
	}
	switch {
	case a.json:
		return nil
	case len(all) == 0:
		a.notice("there is no image yet; cube build makes those that it needs")
		return nil
	}
	return t.Write(a.stdout, a.style(a.stdout))
}

func newImageInspectCommand(a *app) *cobra.Command {
	var packages bool
	c := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "show what an image is made of",
		Long: `Inspect shows an image of the store: its digests, layers, command and contract,
and with --packages the software in it, as the image itself tells. With --json it
shows all of that.`,
		Example: `  cube image inspect ./producers/slope
  cube image inspect builtin:dem --packages
  cube image inspect 8b4ece54ab64 --json | jq .contract`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeImages,
		RunE:              func(c *cobra.Command, args []string) error { return runImageInspect(c.Context(), a, args[0], packages) },
	}
	c.Flags().BoolVar(&packages, "packages", false, "list the software in it")
	return c
}

func runImageInspect(ctx context.Context, a *app, ref string, packages bool) error {
	store, err := a.imageStore()
	if err != nil {
		return err
	}
	img, err := store.Get(ctx, ref)
	if errors.Is(err, images.ErrNotFound) {
		return noImage(ref)
	}
	if err != nil {
		return err
	}
	line := newImageLine(img)
	if packages || a.json {
		if line.Packages, err = store.Packages(ctx, img); err != nil {
			return err
		}
	}
	if a.json {
		return a.printLines(line)
	}
	return a.printImage(line)
}

func noImage(ref string) error {
	do := "those that there are: cube image ls"
	if _, builtin := config.Builtin(ref); builtin || config.IsPath(ref) {
		do = "make it with: cube image build " + ref
	}
	return &usageError{fmt.Errorf("there is no image %s in the store\n  %s", ref, do)}
}

func (a *app) printImage(l imageLine) error {
	t := &ui.Table{}
	add := func(name, value string) {
		if value != "" {
			t.Add(name, value)
		}
	}
	add("name", l.Name)
	add("config", l.Config)
	add("manifest", l.Manifest)
	add("platform", l.Platform)
	for i, layer := range l.Layers {
		add(fmt.Sprintf("layer %d", i+1), layer.DiffID+"  "+ui.Bytes(layer.Size))
	}
	add("command", strings.Join(l.Command, " "))
	add("user", l.User)
	add("directory", l.WorkDir)
	for _, e := range l.Env {
		add("env", e)
	}
	if m, err := config.ManifestFromLabel(l.Image.Label); err == nil {
		add("producer", m.Name+"  "+m.Description)
		for _, n := range m.Needs {
			add("needs", strings.TrimSpace(n.Variable+"  "+n.Units))
		}
		for _, o := range m.Produces {
			add("produces", strings.TrimSpace(o.Name+"  "+string(o.DType)+"  "+o.Units))
		}
	}
	for _, p := range l.Packages {
		add(p.Kind, p.Name+" "+p.Version)
	}
	return t.Write(a.stdout, a.style(a.stdout))
}

func newImageLockCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "lock DIRECTORY...",
		Short: "pin the packages of producers in image.lock",
		Long: `Lock resolves the Debian packages and wheels that a producer's image needs, as
they are to be had now, and writes their names, versions and SHA-256 to image.lock
in the producer's directory. Pins of other platforms are kept.`,
		Example:           "  cube image lock ./producers/terrain_class",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeProducers,
		RunE:              func(c *cobra.Command, args []string) error { return runImageLock(c.Context(), a, args) },
	}
}

func runImageLock(ctx context.Context, a *app, refs []string) error {
	store, err := a.imageStore()
	if err != nil {
		return err
	}
	for _, ref := range refs {
		if _, builtin := config.Builtin(ref); builtin {
			return &usageError{fmt.Errorf("%s is part of this program, and so are its pins: they change with its version", ref)}
		}
		src, err := a.imageSource(ref)
		if err != nil {
			return err
		}
		lock, err := store.Lock(ctx, *src, images.BuildOptions{Progress: a.imageProgress})
		if err != nil {
			return project.InRecipe(ref, src, err)
		}
		how, err := writeImageLock(src.Dir, lock)
		if err != nil {
			return err
		}
		if a.json {
			err = a.printLines(map[string]any{"type": "image_lock", "producer": ref, "result": how})
		} else {
			_, err = fmt.Fprintf(a.stdout, "%s: %s\n", filepath.Join(ref, images.LockFile), how)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeImageLock writes an image.lock that is not there already, and says what
// became of it.
func writeImageLock(dir string, lock []byte) (string, error) {
	if lock == nil {
		return "not needed: the image holds no packages", nil
	}
	path := filepath.Join(dir, images.LockFile)
	old, err := os.ReadFile(path)
	switch {
	case err == nil && bytes.Equal(old, lock):
		return "up to date", nil
	case err == nil:
		return "updated", os.WriteFile(path, lock, 0o644)
	case errors.Is(err, fs.ErrNotExist):
		return "written", os.WriteFile(path, lock, 0o644)
	}
	return "", err
}

func newImageRmCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "rm IMAGE...",
		Short:             "take images out of the store",
		Long:              `Rm takes images out of the store. Their bytes go with "cube image gc".`,
		Example:           "  cube image rm ./producers/slope",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completeImages,
		RunE: func(c *cobra.Command, args []string) error {
			store, err := a.imageStore()
			if err != nil {
				return err
			}
			for _, ref := range args {
				if err := store.Remove(c.Context(), ref); errors.Is(err, images.ErrNotFound) {
					return noImage(ref)
				} else if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func newImageGCCommand(a *app) *cobra.Command {
	var days int
	c := &cobra.Command{
		Use:   "gc",
		Short: "free what no image needs",
		Long: `Gc frees the layers and packages that no image needs, and images without a name
that were not used for a while. What a build runs meanwhile stays. An image that is
freed is built again when it is needed.`,
		Example: "  cube image gc\n  cube image gc --days 1",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return runImageGC(c.Context(), a, days) },
	}
	c.Flags().IntVar(&days, "days", 30, "keep what was used within so many days")
	return c
}

func runImageGC(ctx context.Context, a *app, days int) error {
	if days < 0 {
		return &usageError{errors.New("--days: a number of days, 0 or more")}
	}
	store, err := a.imageStore()
	if err != nil {
		return err
	}
	freed, err := store.GC(ctx, images.GCOptions{Age: max(time.Duration(days)*24*time.Hour, time.Nanosecond)})
	if err != nil {
		return err
	}
	if a.json {
		return a.printLines(map[string]any{"type": "image_gc", "images": freed.Images, "blobs": freed.Blobs,
			"layers": freed.Layers, "downloads": freed.Downloads, "bytes": freed.Bytes})
	}
	_, err = fmt.Fprintf(a.stdout, "freed %s: %s, %s, %s, %s\n", ui.Bytes(freed.Bytes), plural(freed.Images, "image"),
		plural(freed.Layers, "layer"), plural(freed.Blobs, "blob"), plural(freed.Downloads, "download"))
	return err
}

// completeProducers completes what can be built: the workspace's producers and
// the shipped ones.
func (a *app) completeProducers(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var out []string
	if refs, err := a.workspaceProducers(); err == nil {
		out = refs
	}
	for _, name := range drivers.Names() {
		out = append(out, "builtin:"+name)
	}
	return out, cobra.ShellCompDirectiveDefault
}

// completeImages completes the names of images in the store.
func (a *app) completeImages(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	store, err := a.imageStore()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	all, err := store.List(c.Context())
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []string
	for _, img := range all {
		if img.Name != "" {
			out = append(out, img.Name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
