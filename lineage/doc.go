// Package lineage holds the records that a run leaves: who made a version, of
// what, with which software, on which machine, at what cost.
//
// # On disk
//
// A run has a folder, .cube/runs/<id>, which holds
//
//	run.json         the [Run], written when the run begins (status "running")
//	                 and replaced in one step when it ends
//	vertices.ndjson  a line for each [Vertex] that did something, durable when
//	                 Writer.Vertex returns, as are all lines before it of the
//	                 next two
//	bases.ndjson     a line for each vertex of which an action ran, before the
//	                 action's: its [Basis]
//	actions.ndjson   a line for each [Action] that ran, before its result can be
//	                 found; it survives the death of the process at once, and
//	                 that of the machine once a vertex or the run has ended
//	log              what the producers printed, all actions in one file
//
// There is no file for each tile. A run that did nothing leaves no folder.
//
// A result that a cube has is on record, wherever the process that made it was
// killed. The reverse need not be: killed between the two, or without room for the
// result, a run has the record of an action that the next one does again, and
// records again. A second line of an action in the same run says that its values
// are not those of the result that is there.
//
// run.json is an object {"format": "cube-run", "version": 1, "run": {…}}. A
// line of the .ndjson files is {"digest": "sha256:…", "vertex": {…}} or
// {"digest": "sha256:…", "action": {…}} or {"digest": "sha256:…", "basis": {…}}, where digest is the SHA-256 of the
// bytes of the record's value just as they stand in the line: a record is
// addressed by its content, and a damaged line is known. The finished run
// names the size and SHA-256 of each file, so that the digest of run.json
// covers the run. Fields that a reader does not know are ignored; a change of
// meaning raises the version, and a reader refuses versions above its own.
//
// The log is a sequence of frames: a header line "#cube-log <action id's 64
// hex digits> <n>", n bytes, and a line feed. The frames of several actions
// may alternate.
//
// A line or frame that is cut short at the end of a file is what a killed
// process leaves; readers stop before it and do not complain. While a run
// goes on its writer holds a lock (flock) on actions.ndjson; a run that is
// "running" while nobody holds the lock was killed and reads as
// [Interrupted].
//
// Run ids begin with the time, so that their order is that of the runs:
// 20200927T110000Z-5f3a9c1e. Neither they nor any clock enter a key.
//
// # Reading
//
// The preimage of each ActionID that ran is kept without a byte for each action:
// what an action was told follows from the basis of its vertex and its tile, and
// [Store.Preimage] rebuilds it and checks it against the id.
//
// A [Store] reads the runs of a cube. [Store.ByVersion] says who made a
// version first, [Trace] follows a version down to its sources, and [Explain]
// says in words what differs between two derivations.
package lineage
