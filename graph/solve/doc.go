// Package solve executes a plan: it decides what need not run, schedules what
// must, runs it, and turns what comes out into versions of variables.
//
// A vertex is settled without enumerating its tiles where its derivation key
// (graph.Derivation) is known. Otherwise each of its tiles becomes a task as
// soon as the tiles that its windows need are there, and a task asks three
// questions, each dearer than the one before:
//
//  1. Is the cover key known? It is made of the digests of the chunks that the
//     windows touch; no data is read.
//  2. Is the ActionID known? The exact windows are read and hashed.
//  3. Otherwise the action is claimed, so that no other build on the same cube
//     does it too, and a [Backend] runs it.
//
// A tile whose windows come out as they were is answered by 1 or 2, and so a
// change stops where it makes no difference. When all tiles of a vertex are
// there its outputs become versions; heads move once, at the end of the run.
//
// Tile edges are implicit. Tiles are handed out in order of time, row and
// column, and a tile is ready when every tile of its inputs, up to the last
// that its windows meet, is done; memory does not grow with their number.
package solve
