// Package localtier is a replay.Store in front of a shared store. It refuses known replays
// without a round trip.
//
// The local tier is a negative cache. After the shared store has called a nonce
// AlreadyUsed, the local tier refuses the nonce itself. The latest 16,384 of these nonces
// are remembered. The local tier never admits by itself: every other claim goes to the
// shared store, and so does every claim with a binding, since only the shared store knows
// the grace.
package localtier
