// Package admitone is the root of the module and has no code of its own.
//
//   - token makes and opens login tickets.
//   - verify decides whether a ticket admits, and spends the ticket.
//   - verify/replay remembers spent one-time tickets; the folders below have the stores, and
//     replaytest to test a store.
//   - verify/web has the handlers of a login service.
//   - keyring rotates keys; keyring/kms opens key-encryption keys.
//   - client calls the HTTP API of the service.
//   - cmd/ticketd is the service, cmd/keyring and cmd/ticket are tools at a shell.
//
// docs/architecture.md draws the packages and their imports.
package admitone
