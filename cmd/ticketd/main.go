// Command ticketd is the HTTP service of admitone. ticketd issues login tickets for
// backends, and redeems the tickets for people. Run ticketd without arguments for help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		// The first signal ends the service after its last answer. The second ends the
		// process. The default action of SIGINT would not: shells ignore SIGINT in
		// background commands.
		<-signals
		cancel()
		os.Exit(128 + int((<-signals).(syscall.Signal)))
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
