// Package admitone is the root of the module and has no code of its own.
//
//   - token makes and opens login tickets.
//   - verify decides whether a ticket admits, and spends it.
//   - verify/replay remembers which one-time tickets were spent; its folders
//     redisstore and pgstore do so for many processes, and replaytest tests such stores.
//   - verify/web is the HTTP side of redeeming.
//   - keyring keeps keys that rotate; keyring/kms the keys that encrypt them.
//   - cmd/ticketd is the HTTP service, cmd/keyring and cmd/ticket its tools.
package admitone
