package solve

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cubebuild/cube/containers"
)

// maxLosses is how often an attempt may be lost: it is begun again, because it
// was nobody's fault, and not for ever, because it may have been.
const maxLosses = 3

// lossPause is the pause after the first loss; it doubles.
const lossPause = 100 * time.Millisecond

// tillSeen has the backend run an attempt until somebody sees its end. The last
// [LostError] is the error where nobody did. What an action prints begins anew with
// each time.
func (b *build) tillSeen(ctx context.Context, j *job, action containers.Action, done *TileDone) (*containers.Result, *tail, error) {
	for times := 1; ; times++ {
		log := &tail{limit: maxLog}
		result, err := b.runLogged(ctx, j, action, log)
		var lost *LostError
		if ctx.Err() != nil || !errors.As(err, &lost) {
			return result, log, err
		}
		done.Losses++
		if times == maxLosses {
			return nil, log, err
		}
		pause := lossPause << (times - 1)
		b.emit(Retried{Vertex: j.Vertex, Tile: j.tile, Action: j.id, Attempt: done.Attempts, Err: err, Pause: pause, Lost: true})
		if err := sleep(ctx, pause); err != nil {
			return nil, log, err
		}
	}
}

// runLogged has the backend run an action, whose log goes to those who follow it,
// too.
func (b *build) runLogged(ctx context.Context, j *job, action containers.Action, log *tail) (*containers.Result, error) {
	action.Log = log
	if b.Log != nil {
		live := b.Log(j.id)
		defer live.Close()
		action.Log = io.MultiWriter(log, live)
	}
	return b.Backend.Run(ctx, action)
}
