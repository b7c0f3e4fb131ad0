package solve

import "github.com/cubebuild/cube/containers"

// checkpoint gives an action the folder that stays from one attempt to the
// next, where its contract asks for one. The action is claimed: nobody else has
// it.
func (b *build) checkpoint(a *containers.Action, j *job) (err error) {
	if j.Instance.Manifest.Capabilities.Checkpoint {
		a.Alone = true
		a.Checkpoint, err = b.Cube.Checkpoint(j.id)
	}
	return err
}

// dropCheckpoint drops what an action left that is done. It comes before the
// result: where the build is killed between the two, the action begins anew, and
// never after its own end.
func (b *build) dropCheckpoint(a containers.Action, j *job) error {
	if a.Checkpoint == "" {
		return nil
	}
	return b.Cube.DropCheckpoint(j.id)
}
