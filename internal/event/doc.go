// Package event owns the nouns that every other room speaks of, and how they
// look on the wire. It has no state and does no I/O.
//
//	Event        immutable once accepted; its bytes are kept as rendered then
//	Subscription what a destination (later: a rule) compiles to
//	Delivery     one event to one subscription's target
//	Attempt      one try of a delivery, and its outcome
//	Target       where a subscription sends
//
// A delivery is always in one of these states, and a person can see which:
//
//	accepted ──► pending ──► delivered
//	   │            │  ▲
//	   │            ▼  │ (next try at t)
//	   │          attempt ──► failed      (no tries left)
//	   └──────► discarded ◄── pending     (destination disabled or
//	                                       deleted: with the reason)
package event
