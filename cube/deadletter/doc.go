// Package deadletter keeps the actions of a cube that spent their attempts,
// each with all that is needed to look into it and to do it again.
//
// # On disk
//
//	.cube/deadletter/<hex>.json   the [Letter] of the action with that ActionID
//
// A letter is one object {"format": "cube-deadletter", "version": 1, "digest":
// "sha256:…", "letter": {…}}, where digest is the SHA-256 of the bytes of the
// letter's value just as they stand in the file. Times are RFC 3339 in UTC,
// lengths of time nanoseconds, bytes base64. Fields that a reader does not know
// are ignored; a change of meaning raises the version, and a reader refuses
// versions above its own. A file is written as a whole or not at all, and is
// durable when Put returns: temporary file, fsync, rename, fsync of the folder.
//
// A letter is no result and is in no key. Its inputs are not in it but named by
// the digest of each window and, where there is one, by the version that the
// window was read from: they are laid out anew from there.
package deadletter
