package main

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// notifyReady tells systemd that the service listens, if systemd wants to know it
// (Type=notify): the text READY=1 goes to the socket NOTIFY_SOCKET, as sd_notify(3) says.
func notifyReady() error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", socket)
	if err == nil {
		_, err = conn.Write([]byte("READY=1"))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		return fmt.Errorf("NOTIFY_SOCKET: systemd cannot be told that the service is ready: %w", err)
	}
	return nil
}
