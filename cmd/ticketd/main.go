// Command ticketd is the HTTP service of admitone: it issues login tickets for
// backends and redeems them for people. Run it without arguments for help.
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
		// The first signal ends the service when it has answered, another one ends the
		// process. Not by its default action: shells have SIGINT ignored in what they
		// start in the background.
		<-signals
		cancel()
		os.Exit(128 + int((<-signals).(syscall.Signal)))
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}
