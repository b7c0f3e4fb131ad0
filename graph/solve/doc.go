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
// A vertex that is not known differs from what its head was made of by a few
// chunks of its inputs, most often. It begins with the head's version then, and
// only the tiles that a change may reach become tasks.
//
// Tile edges are implicit: they follow from where tiles lie. Tiles are looked at
// in order of time, row and column. One that is not ready waits for a single
// tile of an input that is not done, and is looked at again when that is, so
// that a tile which is late holds up only those that read it; as many wait as
// workers may have use for, so that memory does not grow with the number of
// tiles. What a long computation waits for goes first, and otherwise the vertex
// nearest to the targets: few tiles are alive at a time.
package solve
