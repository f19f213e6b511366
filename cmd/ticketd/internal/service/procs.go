package service

import (
	"os"
	"runtime"
	"sync"
)

// addProc raises GOMAXPROCS by 1, once in a process with a journal. A commit of the journal
// waits in fsync, and Go counts a waiting system call as running until a monitor notices,
// on a loaded machine milliseconds later. With two processors, half of the service would stand
// still for this time. From then on GOMAXPROCS does not follow a changed CPU limit of a
// container.
var addProc = sync.OnceFunc(func() {
	runtime.GOMAXPROCS(procs(runtime.GOMAXPROCS(0), os.Getenv("GOMAXPROCS")))
})

// procs returns the GOMAXPROCS for a service with a journal: n + 1, unless the environment
// sets the variable.
func procs(n int, variable string) int {
	if variable != "" {
		return n
	}
	return n + 1
}
