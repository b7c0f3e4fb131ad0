package solve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cubebuild/cube/containers"
	"github.com/cubebuild/cube/cube/deadletter"
	"github.com/cubebuild/cube/graph"
)

// Attempt is one that failed.
type Attempt struct {
	Started time.Time
	Wall    time.Duration
	Memory  int64 // the limit that it had, in bytes
	Failure *containers.Failure
	Log     []byte // the end of what it printed
}

// attemptLog is how much is kept of what an attempt printed that another one
// followed.
const attemptLog = 16 << 10

// run runs the action with its retries, and commits what comes out. It calls
// free when the action has ended, so that the next one runs meanwhile, and
// while it waits for another attempt.
func (b *build) run(ctx context.Context, j *job, free func()) (done TileDone, err error) {
	if err := b.admit(j); err != nil {
		return j.done(Blocked, nil), err
	}
	done = j.done(Ran, nil)
	done.Shared, done.Request, done.Windows, done.Parts, done.Started = &j.shared, j.action.Request, j.action.Windows, j.action.Parts, time.Now()
	done.Read = j.given()
	if j.IsMerge() {
		return b.runMerge(ctx, j, done)
	}
	action, err := b.containerAction(ctx, j)
	if err == nil {
		err = b.checkpoint(&action, j)
	}
	if err != nil {
		return done, err
	}
	policy := retries{j.Instance.RetryPolicy(b.Retry), b.mostMemory}
	defer func() { free() }()
	for {
		result, f, err := b.attempt(ctx, j, action, &done)
		if lost := (*LostError)(nil); ctx.Err() == nil && errors.As(err, &lost) {
			done.Outcome, done.Err = Lost, fmt.Errorf("it was %w, the last of %d times: whatever runs it comes to an end", lost, done.Losses)
			return done, b.fail(ctx, j, action.Limits, deadletter.Failure{Kind: deadletter.Lost, Detail: done.Err.Error()}, &done)
		}
		if err != nil {
			return done, err
		}
		if f == nil {
			free()
			if err = b.dropCheckpoint(action, j); err == nil {
				err = b.commit(ctx, j, result, &done)
			}
			if err == nil {
				err = b.unbury(j)
			}
			done.Wall = time.Since(done.Started)
			return done, errors.Join(err, result.Close())
		}
		pause, memory, again := policy.next(done.Attempts, f, action.Limits.Memory)
		if !again {
			if !b.KeepGoing {
				b.sched.stop() // before there is room for another one
			}
			done.Outcome, done.Err = Failed, f
			return done, b.fail(ctx, j, action.Limits, failureOf(f), &done)
		}
		action.Limits.Memory = memory
		b.emit(Retried{Vertex: j.Vertex, Tile: j.tile, Action: j.id, Attempt: done.Attempts, Err: f, Pause: pause})
		free()
		if free, err = b.waitForAttempt(ctx, j, pause, memory); err != nil {
			return done, err
		}
	}
}

// attempt runs the action once. The failure is the producer's and is noted in
// done, the error the machine's.
func (b *build) attempt(ctx context.Context, j *job, action containers.Action, done *TileDone) (*containers.Result, *containers.Failure, error) {
	done.Attempts++
	a := Attempt{Started: time.Now(), Memory: action.Limits.Memory}
	b.emit(Started{Vertex: j.Vertex, Tile: j.tile, Action: j.id, Attempt: done.Attempts, Time: a.Started})
	result, log, err := b.tillSeen(ctx, j, action, done)
	done.Log, done.Wall = log.Bytes(), time.Since(done.Started)
	if err == nil {
		done.spend(result.Usage)
		done.Unenforced = result.Unenforced
		return result, nil, nil
	}
	if ctx.Err() != nil || !errors.As(err, &a.Failure) {
		return nil, nil, err
	}
	done.spend(a.Failure.Usage)
	if a.Failure.Kind == containers.FailedDisk { // nothing goes on from one that is full
		if err := b.dropCheckpoint(action, j); err != nil {
			return nil, nil, err
		}
	}
	a.Wall, a.Log = time.Since(a.Started), done.Log[max(0, len(done.Log)-attemptLog):]
	done.Failed = append(done.Failed, a)
	return nil, a.Failure, nil
}

// conclude tells what came of an action, before any of it is kept.
func (b *build) conclude(done *TileDone) error {
	done.Wall = time.Since(done.Started)
	if err := b.emit(Concluded{*done}); err != nil {
		return err
	}
	done.Concluded = true
	return nil
}

// fail keeps that an action failed, or was lost.
func (b *build) fail(ctx context.Context, j *job, limits graph.Resources, f deadletter.Failure, done *TileDone) error {
	if err := b.conclude(done); err != nil {
		return err
	}
	return errors.Join(b.disown(ctx, j), b.bury(j, limits, f, done), b.rememberFailure(ctx, j, f, done.Log))
}

// given is how many bytes the windows of a tile hold.
func (j *job) given() (n int64) {
	for i, values := range j.values {
		n += int64(len(values))
		if f, ok := fileOf(j.arrays[i]); ok {
			n += f.Size
		}
	}
	return n
}

// spend adds what an attempt used.
func (d *TileDone) spend(u containers.Usage) {
	d.Usage.Wall += u.Wall
	d.Usage.User += u.User
	d.Usage.System += u.System
	d.Usage.MaxRSS = max(d.Usage.MaxRSS, u.MaxRSS)
}

// waitForAttempt lets the pause before another attempt pass, and waits until
// there is room for it. Meanwhile another action runs.
func (b *build) waitForAttempt(ctx context.Context, j *job, pause time.Duration, memory int64) (free func(), err error) {
	free = func() {}
	err = b.crew.stepAside(func() error {
		if err := sleep(ctx, pause); err != nil {
			return err
		}
		free, err = b.reserve(ctx, j, memory)
		return err
	})
	return free, err
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
