package kms

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/term"
)

// Terminal returns a Prompt that asks for a passphrase at the terminal of the process,
// without showing the answer. With repeat, which a new passphrase needs, the Prompt asks
// twice.
func Terminal(repeat bool) Prompt {
	return func() (string, error) {
		in, out, err := terminal()
		if err != nil {
			return "", err
		}
		defer in.Close()
		return passphraseFrom(in, out, repeat)
	}
}

// passphraseFrom asks for a passphrase at a terminal, with repeat twice.
func passphraseFrom(in *os.File, out io.Writer, repeat bool) (string, error) {
	p, err := ask(in, out, "Passphrase: ")
	if err != nil || !repeat {
		return p, err
	}
	again, err := ask(in, out, "The same again: ")
	if err != nil {
		return "", err
	}
	if subtle.ConstantTimeCompare([]byte(p), []byte(again)) == 0 {
		return "", errors.New("the two passphrases are not the same")
	}
	return p, nil
}

// terminal opens the controlling terminal. Standard input and output may be elsewhere.
func terminal() (in *os.File, out io.Writer, err error) {
	const help = "there is no terminal to ask for the passphrase; give passphrase:env:NAME or passphrase:file:PATH"
	if runtime.GOOS != "windows" {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", help, err)
		}
		return tty, tty, nil
	}
	if in, err = os.OpenFile("CONIN$", os.O_RDWR, 0); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", help, err)
	}
	return in, os.Stderr, nil
}

func ask(in *os.File, out io.Writer, text string) (string, error) {
	defer echoAgain(in)()
	fmt.Fprint(out, text)
	p, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(out)
	if err != nil {
		return "", fmt.Errorf("reading the passphrase: %w", err)
	}
	return string(p), nil
}

// echoAgain restores the present state of the terminal if a signal such as Ctrl-C ends
// the process. The function that it returns stops the watch for signals.
func echoAgain(in *os.File) (end func()) {
	state, err := term.GetState(int(in.Fd()))
	if err != nil {
		return func() {} // not a terminal; the next call will fail
	}
	signals := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case <-done:
		case s := <-signals:
			_ = term.Restore(int(in.Fd()), state)
			signal.Stop(signals)
			// The signal is sent again, to end the process or to reach other handlers.
			if self, err := os.FindProcess(os.Getpid()); err == nil {
				_ = self.Signal(s)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
