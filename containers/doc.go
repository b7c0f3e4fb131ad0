// Package containers runs one action in one sandbox.
//
// A [Runner] takes a [Spec], which is all that the sandbox will hold (image
// layers, command, environment, mounts, limits), runs the payload to its end
// and returns an [Exit]. What isolates the payload is the business of the
// packages below: containers/native makes the sandbox itself from the kernel's
// namespaces, with no daemon and no other program.
//
// A [Starter] keeps a container between the tiles of a batch: a payload that
// serves them reads the line [Request] for each and answers as [ParseAnswer]
// says. An [Executor] keeps such containers by what they are made of, so that an
// action is the same whoever serves it.
//
// Whatever the implementation, a payload sees the same: the image read-only,
// the mounts it was given, the environment it was given, and neither network
// nor other processes nor anything that differs from run to run or from host
// to host, as far as the kernel can hide it.
package containers
