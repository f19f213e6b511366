package durable_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/admitone/admitone/internal/durable"
)

// One process changes a file under the file's lock, and reads the file back.
func Example() {
	dir, _ := os.MkdirTemp("", "durable")
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "state")

	lock, err := durable.Lock(path + ".lock")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lock.Close()
	if err := durable.WriteFile(path, []byte("generation 2\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}
	data, err := durable.ReadPrivate(path, 4096)
	fmt.Print(string(data), err)
	// Output:
	// generation 2
	// <nil>
}
