package lineage

import (
	"errors"
	"fmt"
)

// Errors of this package.
var (
	// ErrBadID is a run id that is none.
	ErrBadID = errors.New("not a run id, which looks like 20200927T110000Z-5f3a9c1e20")
	// ErrNoRun is a run that has no record.
	ErrNoRun = errors.New("no such run")
	// ErrNoRecord is a version, derivation or instance of which no run tells.
	ErrNoRecord = errors.New("no record of it")
	// ErrNoBasis is an action of whose vertex the run kept no [Basis], as before
	// there were any.
	ErrNoBasis = errors.New("its run does not tell what it was told")
	// ErrFormat is a record file of a format or version that is not known.
	ErrFormat = errors.New("unknown record format")
	// ErrRunning is a run that goes on.
	ErrRunning = errors.New("run is going on")
)

// DamageError is a record that is not what its writer wrote. What follows it in
// the file can be read.
type DamageError struct {
	File   string
	Offset int64 // of the line or frame
	Why    string
}

// Error says where the damage is.
func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: record at byte %d is damaged: %s", e.File, e.Offset, e.Why)
}
