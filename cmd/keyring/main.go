// Command keyring makes and rotates the keys of admitone: the security team's
// tool. Run it without arguments for help.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}
