//go:build linux

// Package wire is what an engine and a worker say to each other: version 1.
//
// A worker is a process that runs actions for an engine. They talk in frames
// over a [Conn]. A frame is little-endian:
//
//	1 byte    kind
//	1 byte    0
//	2 bytes   number of blobs
//	4 bytes   length of the body, at most 64 MiB
//	8 bytes   the action that it is about, a number that the engine gives; 0: none
//	          for each blob: 1 byte for where it is (0: there is none, 1: in the
//	          frame, 2: in a file beside it), and 8 bytes for the length of one in
//	          the frame
//	          the body
//	          the blobs that are in the frame
//
// Bodies are JSON. The engine begins:
//
//	S  [Setup]    how to work; beside it the program that sandboxes begin with
//	R  [Action]   run it; blobs are the inputs' values, in their order
//	C  -          stop the action
//
// and the worker answers:
//
//	H  [Hello]    it is ready, or why not
//	L  -          what the payload prints, as blob 0
//	D  [Done]     the action succeeded; blobs are its outputs, in order of role
//	F  -          it failed: a containers.Failure
//	E  [Fault]    it could not be run: the machine's fault
//
// D, F or E is the last frame of an action. A worker that ends without one has
// lost it. A worker lives no longer than its connection.
//
// Values beyond [Inline] bytes go beside the frame, as a file in memory that is
// mapped and not copied, where the Conn can pass one ([Socket]); on one that
// cannot they are in it. Read and Append know nothing of descriptors, so that a
// worker on another machine can speak over a stream.
package wire
