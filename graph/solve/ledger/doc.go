//go:build linux

// Package ledger shares out the resources of a machine among all builds on it:
// together they never take more than each of them knows the machine to have.
//
// # The file
//
// Builds that share a machine share a file, of version 1:
//
//	0      16 bytes   "cube-ledger 1\n", filled up with zeros
//	16     8 bytes    the last ticket that was given, little-endian
//	24     8 bytes    how many demands were admitted, ever
//	65536  65536 bytes for each build: a little-endian length of 4 bytes, and so
//	       much JSON: an [Entry]
//
// A build holds an open-file-description lock on the first byte of its part for
// as long as it lives. A part whose byte nobody has locked says nothing, and the
// next build takes it. So what a killed build held is free when the kernel has
// closed its files: there is nothing to sweep and nothing to unlock. Who reads
// and writes holds a lock on byte 0 meanwhile, which is a matter of microseconds.
//
// Nothing but speed rests on the file: it may be deleted while no build runs. It
// is of one boot of one machine, and its name says which.
//
// What an action of a batch had stays held when it ends, but for its processors: the
// container that waits for the next one has it still. Its kin take it over; before
// anybody else gets it the container is ended. While another build waits for it,
// kin do so for three seconds.
//
// Who waits is written down too, and is passed over only so often (package
// resource says how often); one that has not looked for two seconds, because it
// was stopped, is passed over meanwhile.
package ledger
