// Package catalog is the DuckDB index of a cube: .cube/catalog.duckdb. It
// answers SQL about what was built, from what, by whom, and at what cost.
//
// Nothing depends on it. Everything in it comes from records that lie beside
// it, through a [Source], and it can be made anew from them at any time
// ([Catalog.Rebuild]). A build that has nothing to do never opens it.
//
// # One file, never written in place
//
// DuckDB lets one process write to a file and shuts all others out meanwhile.
// So the catalog's file is never written once it has its name: [Catalog.Update]
// copies it (a reflink where the file system has them), adds what is new to the
// copy in one transaction, and renames the copy over it. A reader goes on with
// the file that it opened, however long; a killed writer leaves a temporary
// file that the next one removes; no reader ever waits. Writers wait for one
// another by a lock on catalog.duckdb.lock that goes with its process. Where a
// file system has no locks two writers may do the same work, and the one that
// comes last wins: as how far each record file was read stands in the same
// file, a row is never there twice nor lost for good.
//
// A file that is damaged, or was written by a program with another schema, is
// set aside as catalog.duckdb.bad and made anew.
//
// # Tables
//
// Digests are text, "sha256:…"; times are UTC timestamps; sizes are bytes and
// durations seconds.
//
//	heads     variable → the version that the cube shows now
//	versions  one row for each version: what it is and covers
//	runs      one row for each command that changed the cube
//	vertices  one row for each producer instance and run that did something
//	inputs    the versions that a vertex read
//	outputs   the versions that a vertex made
//	sources   the outside data that a vertex read
//	packages  the software inside an image, by the digest of its config
//	actions   one row for each container execution
//
// and the views
//
//	latest    each variable's head with what its version is
//	timeline  what was made when, by which run, newest first
//	lineage   edges from a version to the versions and sources it was made of
//	costs     time and memory by instance
//	failures  the actions that failed, newest first
//
// The columns stand in [Schema].
package catalog
