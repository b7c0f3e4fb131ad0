// Package cas keeps what a cube is made of on disk: content-addressed objects
// and append-only logs of what refers to them. Several processes may use one
// directory at once, and any of them may be killed at any instant.
//
// # Objects
//
// A [Store] is a folder of read-only files, each named by the SHA-256 of its
// bytes:
//
//	ab/abcdef…           an object: 64 lower-case hex digits, below the first two
//	.sync-…              an empty file of a Sync that is under way
//	temp/…               files being written; swept when their writer is dead
//	damaged/abcdef…      objects whose bytes no longer have their digest
//	marks/<nanoseconds>.<boot id>.<random>
//	                     one empty file per process with objects that may not
//	                     be on stable storage yet, locked while it lives
//
// [Store.Put] writes a temporary file and renames it, and does not wait for
// the disk; [Store.Sync] does, for everything put so far. A process's mark is
// made before its first object since its last Sync and removed after the next.
// A mark of an earlier boot therefore says that objects may have been lost by a
// power cut, and which: those that are not older than the mark.
// [Store.Recover] verifies them. Get verifies each object in any case.
//
// # Logs
//
// A [Log] maps keys to values; a key is put once and keeps its value until it
// is deleted. Its file is a header and records, all integers little-endian:
//
//	header   8 bytes  "cube-log"
//	         4 bytes  version, 1
//	         4 bytes  CRC-32C of the twelve bytes before
//	record   4 bytes  magic, c5 b3 1e 0d
//	         1 byte   kind: 1 put, 2 deleted
//	         3 bytes  zero
//	         4 bytes  length of the value, at most 64 MiB
//	         4 bytes  CRC-32C of kind to length, key and value
//	        32 bytes  key
//	           n      value
//
// A writer holds an exclusive flock on the file. It reads what others appended
// since it last looked, cuts off a tail that is no whole record (its writer was
// killed), and appends. Readers take no lock: they read to the last whole
// record and go on from there when the file has grown. Damage before a whole
// record is skipped. A reader of version 1 refuses a file of any other version.
// [Log.Compact] writes a new file and renames it over the old one; whoever has
// the old one open sees that it has no name any more and opens the new one.
//
// Beside a long log lies its index, under the log's name with ".index" behind
// it, so that opening the log costs what was appended since:
//
//	header   8 bytes  "cube-idx"
//	         4 bytes  version, 1
//	         4 bytes  zero
//	         8 bytes  how far the log was read
//	         8 bytes  offset of the last record there
//	         8 bytes  number of entries
//	        48 bytes  that record, up to its value
//	entry    8 bytes  bytes 8 to 15 of a key that has a value; entries are in
//	                  the order of these as numbers
//	         8 bytes  offset of its record
//	footer   4 bytes  CRC-32C of all before
//
// [Log.Close] writes it, where much is new, with the log's lock held, and does
// not wait for the disk. Compact removes it. It is only a shortcut: one that is
// damaged, of another version, or whose last record the log does not have in
// that place is passed over, and the log is read whole; what is found by it is
// checked as every record is.
//
// # Claims
//
// [Claims] keep two processes from doing the same work at once. A claim is an
// open-file-description lock on one byte of an empty file, at the offset that
// the key's first 62 bits make. It vanishes with its process. Nothing but cost
// rests on one.
package cas
