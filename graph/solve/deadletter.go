package solve

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube"
	"github.com/cubebuild/cube/cube/deadletter"
	"github.com/cubebuild/cube/graph"
)

// DeadLetters are the actions of a cube that spent their attempts.
func DeadLetters(c *cube.Cube) *deadletter.Store { return deadletter.Open(c.Path("deadletter")) }

const (
	// maxLetters is how many dead letters a cube keeps: who looks into ten
	// thousand failures learns nothing from more, and each is a file. All
	// failures are in the records of the run.
	maxLetters = 10_000
	letterLog  = 64 << 10 // how much of the end of a log a letter holds
)

// letters counts the dead letters of a cube while it is built: those that there
// were, and those that it has added.
type letters struct {
	once sync.Once
	err  error
	n    atomic.Int64
}

// count counts the letters that there are, once.
func (l *letters) count(store *deadletter.Store) error {
	l.once.Do(func() {
		var ids []graph.ActionID
		ids, l.err = store.IDs()
		l.n.Add(int64(len(ids)))
	})
	return l.err
}

// bury keeps an action that spent its attempts. What it says is durable, also
// where the build is interrupted next.
func (b *build) bury(j *job, limits graph.Resources, f deadletter.Failure, done *TileDone) error {
	store := DeadLetters(b.Cube)
	if err := b.letters.count(store); err != nil {
		return err
	}
	if b.letters.n.Add(1) > maxLetters {
		return nil
	}
	return store.Put(b.letter(j, limits, f, done))
}

func (b *build) letter(j *job, limits graph.Resources, f deadletter.Failure, done *TileDone) *deadletter.Letter {
	l := &deadletter.Letter{
		Action: j.id, Run: b.RunID, Written: time.Now().UTC(), Targets: b.plan.Targets,
		Instance: j.Name, Grid: j.GridName, Tile: j.tile.Box,
		Failure: f, Losses: done.Losses, Log: done.Log[max(0, len(done.Log)-letterLog):], Request: j.request,
	}
	for _, o := range j.Outputs {
		l.Variables = append(l.Variables, o.Variable)
	}
	for _, a := range done.Failed {
		u := a.Failure.Usage
		l.Attempts = append(l.Attempts, deadletter.Attempt{Started: a.Started.UTC(), Wall: a.Wall, User: u.User, System: u.System,
			MaxRSS: u.MaxRSS, Memory: a.Memory, Failure: failureOf(a.Failure)})
	}
	if f.Kind == deadletter.Lost || f.Kind == deadletter.Merge { // the last one, of which no container tells
		l.Attempts = append(l.Attempts, deadletter.Attempt{Started: done.Started.UTC(), Wall: done.Wall, Memory: limits.Memory, Failure: f})
	}
	for i, w := range j.windows {
		window := deadletter.Window{Role: w.Binding.Role, Variable: w.Binding.Variable, Box: w.Box, Digest: j.action.Windows[j.WindowKey(i)]}
		if v, ok := j.arrays[i].(*cube.Version); ok {
			window.Version = v.Digest()
		}
		l.Windows = append(l.Windows, window)
	}
	if !j.IsMerge() {
		b.describeContainer(l, j.Instance, limits)
	}
	return l
}

// describeContainer says what an action's container is made of, and how it is
// started again.
func (b *build) describeContainer(l *deadletter.Letter, inst *graph.Instance, limits graph.Resources) {
	l.Image = deadletter.Image{Ref: inst.Image.Ref, Config: inst.Image.Config, Manifest: inst.Image.Manifest,
		Platform: inst.Image.Platform, DiffIDs: inst.Image.DiffIDs}
	l.Command, l.Params, l.Limits = inst.Image.Command, inst.Params, limits
	l.Repeat = []string{"cube", "repeat", l.Action.Hex()}
	for _, role := range slices.Sorted(maps.Keys(inst.Sources)) {
		l.Sources = append(l.Sources, deadletter.Source{Role: role, Name: inst.Sources[role], SHA256: b.ws.Sources[inst.Sources[role]].SHA256})
	}
}

func failureOf(f *containers.Failure) deadletter.Failure {
	return deadletter.Failure{Kind: string(f.Kind), Code: f.Code, Detail: f.Detail}
}

// unbury drops the dead letter of an action that came to a result after all. One
// that another build wrote meanwhile, where there was none, is left to [Settle] at
// the end.
func (b *build) unbury(j *job) error {
	store := DeadLetters(b.Cube)
	if err := b.letters.count(store); err != nil || b.letters.n.Load() == 0 {
		return err
	}
	_, err := store.Remove(j.id)
	return err
}

// setAside reports, from its dead letter, an action that is not among those
// that a build with RetryOnly tries again.
func (b *build) setAside(j *job) (TileDone, bool, error) {
	if b.RetryOnly == nil || b.RetryOnly[j.id] || j.IsMerge() {
		return TileDone{}, false, nil
	}
	l, err := DeadLetters(b.Cube).Get(j.id)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, deadletter.ErrFormat) {
		return TileDone{}, false, nil
	}
	if err != nil {
		return TileDone{}, false, err
	}
	done := j.done(Failed, &containers.Failure{Kind: containers.FailureKind(l.Failure.Kind), Code: l.Failure.Code, Detail: l.Failure.Detail})
	if l.Failure.Kind == deadletter.Lost {
		done.Outcome, done.Err = Lost, errors.New(l.Failure.Detail)
	}
	done.Log, done.Repeated = l.Log, true
	return done, true, nil
}

// Settle drops the dead letters of actions that have a result: another build's,
// or one's that was killed. Run ends with it. The caller holds no claim.
func Settle(c *cube.Cube) error {
	store := DeadLetters(c)
	ids, err := store.IDs()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if ok, err := HasResult(c, id); err != nil {
			return err
		} else if !ok {
			continue
		}
		if _, err := store.Remove(id); err != nil {
			return err
		}
	}
	return nil
}

// HasResult reports whether a cube remembers a result of an action.
func HasResult(c *cube.Cube, id graph.ActionID) (bool, error) {
	_, ok, err := c.Results().Get(id)
	return ok, err
}
