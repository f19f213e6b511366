// Command ticket issues, inspects and redeems login tickets at a shell. Run it
// without arguments for help.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
