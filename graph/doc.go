// Package graph holds the nouns of a build and the pure functions over them:
// variables and needs, the producer's contract, the workspace, identity
// (digests, canonical JSON, action and derivation keys), resolution and plans.
// It does no I/O: a plan depends only on its arguments.
//
// A build goes through this package in three steps.
//
//	Workspace --Resolve--> Plan --(per tile)--> Action --ID--> ActionID
//
// A [Workspace] names grids, sources and producer instances. [Resolve] walks
// requires → produces backward from the targets and returns a [Plan]: one
// [Vertex] per instance that the targets need, in an order in which each
// follows what it reads. A vertex expands, lazily, into one [Action] per tile;
// the digest of everything that an action's sandbox exposes is its [ActionID].
//
// The words are those of ARCHITECTURE.md: a role is a variable's name inside a
// producer's contract, a variable its name in the workspace.
package graph
