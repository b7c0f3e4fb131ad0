// Package zarr reads and writes Zarr version 3 groups and arrays over any
// key-value store, and opens those of version 2. It depends on nothing else of this project, so that any Go
// program can use it.
//
// # Model
//
// A [Store] maps keys such as "dem/c/0/3" to bytes; [DirStore] keeps them as
// files below a directory and [MemStore] in memory. An [Array] is metadata
// ([ArrayMeta], the zarr.json document) and chunks: boxes of one size, cut from
// the array's origin, each under its own key. A chunk goes through a
// [codec.Pipeline] on its way to the store; a chunk that the store does not have
// holds the fill value everywhere. A chunk that overhangs the array's edge is
// stored whole, padded with the fill value. A [Group] holds arrays and further
// groups, and repeats their metadata inline (consolidated metadata), so that a
// reader opens it with one Get.
//
// Values in memory are always little-endian and in C order, whatever the store
// holds: region and chunk methods take and give plain bytes. [Bytes] shows a
// slice of numbers as such bytes without copying.
//
// # Errors
//
// A key that is not there is [ErrNotExist], which is also [io/fs.ErrNotExist].
// Documents and chunks that break the format are [ErrCorrupt]; what the format
// allows and this package does not do is [ErrUnsupported]. Metadata and chunks
// are not trusted: sizes are bounded and checked for overflow before anything
// is allocated, a chunk may not decode to more than its shape holds, and
// unknown fields are refused unless they say that they need not be understood.
//
// # Concurrency
//
// Every method may be called from many goroutines at once. Region methods work
// on several chunks at the same time. Writes through one *Array that meet in a
// chunk are serialised, so none is lost; writes to one chunk through two
// *Arrays, or from two processes, must not overlap in time.
package zarr
