// Package replay remembers redeemed one-time tickets. It has the interface Store, and the
// manual for all stores.
//
// # The stores
//
//   - Package memory keeps nonces in the memory of one process. A restart forgets
//     them, and refuses all tickets issued before.
//   - Package journal keeps nonces of one process in a folder. A restart forgets
//     nothing.
//   - Packages redisstore and pgstore share nonces among any number of processes, on
//     Redis or Valkey and on PostgreSQL. Package localtier stands in front of them
//     and spares the round trips of known replays.
//
// Each store's package has Open(ctx, Config). The result is a Managed.
//
// # The invariant
//
// For any one-time ticket at most one redemption succeeds; with a retry binding, only
// redemptions with the same binding do. The invariant holds under overflow, eviction and
// clock steps both ways, with verifiers of different lifetimes and skews on the same store,
// from any number of goroutines.
//
// The nonce of a ticket is the ticket's ID, scoped by the issuer if the issuer has a name
// (token.Ticket.Nonce). So two issuers may choose the same ID, by chance or on purpose, and
// each ticket is good once.
//
// A nonce is never forgotten while its ticket may still be accepted. A store admits no
// nonce without room to remember the nonce, and refuses the tickets of a past unknown to
// the store. A mistake of a store costs somebody a new ticket, and lets nobody in.
//
// # The store's clock
//
// A store judges every claim by the store's own clock, read in the same step as the claim.
// At and past the claim's RetainUntil the answer is TooLate: a delayed claim must not come
// when the nonce is already forgotten.
//
// Nonces are kept by the Window in which their tickets expire, not by arrival. So a ticket
// dated far ahead holds up no other, and an older ticket may come after a newer ticket. A
// window is dropped whole when the latest RetainUntil in the window has passed. The store
// remembers dropped windows for ever, with the latest Issued of their tickets. In a dropped
// window, tickets issued at or before that moment are ClockBehind. Tickets issued later
// cannot be among the forgotten tickets, and begin the window again.
//
// So a clock that was ahead for a moment, and dropped windows before their time, admits
// nothing twice. As soon as the clock is right, tickets issued from then on are admitted; if
// the issuer's clock is behind, after a skew. Redis has no windows, and begins a new epoch
// instead: new tickets are admitted after about a skew.
//
// A claim is also ClockBehind if the verifier has a larger skew than the verifiers before,
// and the window was dropped in the meantime. This cannot happen as long as the skews of
// the verifiers on a store differ by at most 44 s.
//
// # The barrier
//
// A store's memory is complete since the store's epoch. Tickets possibly issued at or
// before the epoch are IssuedBeforeStart. After a new epoch, new tickets are refused for
// about a skew. Each store's package says when a new epoch begins.
//
// # Grace
//
// A claim with the binding of the first claim, within Grace of that claim, is Admitted
// again, as Repeated: a client can ask again after a lost answer. A claim without a binding
// has no grace.
//
// # Your own store
//
// A Store on another database checks claims with [Claim.Check], and answers claims of spent
// nonces with [Claim.Spent]. Test the store with package replaytest. The example there is a
// whole store.
package replay
