//go:build !linux

package solve

// machineMemory is the memory of this machine in bytes; 0 where it is unknown.
func machineMemory() int64 { return 0 }
