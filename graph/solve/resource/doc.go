// Package resource accounts for what actions need of a machine: processors,
// memory, GPUs, and named tokens such as licences. It is pure: who holds and
// who waits is the caller's to know, and package ledger keeps it for all
// builds of a machine.
//
// # Who goes first
//
// Whoever waits has a ticket, and tickets are in order of arrival. A demand is
// admitted where what is free holds it. It may so go ahead of an earlier one
// that is larger; but one that saw [Patience] others being admitted since it
// came is owed what it waits for, and nobody who came later may take what would
// be lacking for it. What is owed are its GPUs and tokens at all times, its
// processors and memory from when these are free: an action that waits for a
// licence keeps no processor idle. Thus small actions fill what a large one
// leaves, and none waits for ever behind them.
package resource
