// Package cube is a cube on disk: variables as immutable, content-addressed
// versions, the heads that say which version is shown now, and what a build
// needs to read, write, find and merge them.
//
// # Model
//
// A [Layout] says what an array is: its spec, its grid and its chunks. Chunks
// are cut at multiples from the lattice's origin, as tiles are, so a larger
// domain shares its chunks with a smaller one. [Cube.PutTile] turns the values
// of a tile into objects and returns a [ChunkRef] for each chunk; a [Builder]
// gathers refs into a new version and can be read while it is being built;
// [Builder.Finish] makes the immutable [Version]. [Cube.MoveHeads] shows
// versions as heads, by compare-and-swap.
//
// Coverage is not nodata: a chunk of a version is covered or not, and to read
// an uncovered cell is an [UncoveredError].
//
// # Identity
//
// Numbers are named, not bytes. All digests are SHA-256 over a domain, a zero
// byte and a preimage; integers in preimages are little-endian.
//
//	chunk    "cube.chunk"   the dtype's name, 0, number of dimensions (1 byte), each
//	                        length (8 bytes), then the decoded values within the
//	                        domain: little-endian, C order, NaN canonical
//	window   "cube.window"  the same, of a window that an action is given
//	page     "cube.page"    for each of up to 4096 chunks: 0, or 1 and its digest
//	version  "cube.version" canonical JSON: spec (what changes a value), grid, chunk,
//	                        page size and the digest of "cube.pages" over all pages'
//	file     "cube.file"    canonical JSON: media type, extension, SHA-256, size
//
// A NaN is canonical as float32 7fc00000 and float64 7ff8000000000000; −0 is
// kept; a bool is 0 or 1. A chunk that holds nothing but the fill value has the
// same digest whether it is stored or not, and is not stored. Codecs, names,
// lineage and native resolution are in no digest.
//
// # On disk
//
//	.cube/format            "cube 1\n"
//	.cube/objects/          see package cas: encoded chunks, pages, files
//	.cube/versions/<hex>    manifest of the version with that digest; <hex>.broken
//	                        where it, or an object that it names, was found damaged
//	.cube/heads             which version each variable shows
//	.cube/history           one line for each time a head moved
//	.cube/zarr/<variable>/  each head as a plain Zarr group; .current says of which
//	                        heads
//	.cube/files/            each head of kind file, by its variable and extension
//	.cube/actions/results, derivations, their indexes, claims: see package cas
//	.cube/deadletter/       see package deadletter
//	.cube/checkpoints/<hex> what the action with that ActionID left for its next
//	                        attempt, its own business; <hex>.*.gone is being removed
//	.cube/staging/          what builds put together; swept when their process is dead
//	.cube/lock              shared by who builds or writes, exclusive to gc and to who voids results
//
// A chunk's object is the whole chunk, padded with the fill value where it
// leaves the domain, through the Zarr codecs bytes (little-endian) and blosc.
// Blosc's header says how it was compressed, so that objects written under
// different settings can lie in one array.
//
// A page is "cube-pg1", the number of its chunks (4 bytes), and for each: 0 for
// an uncovered chunk, 1 and the value digest for one that is all fill, 2, value
// digest, object digest and size (8 bytes) for a stored one. Refs in an action's
// result are the same with "cube-rf1". Neither holds anything after the last.
//
// A manifest is JSON; see the fields of type manifest. The file heads is the line
// "cube-heads/1 sha256:<hex of the rest>" and JSON. A reader refuses what it does
// not know: another format name, or a digest that does not fit.
//
// Order of durability: objects, results, manifests, heads. [Cube.Sync] waits for
// all but heads, and MoveHeads for heads. No file holds an absolute path: a cube
// may be moved.
package cube
