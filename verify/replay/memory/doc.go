// Package memory is a replay.Store in the memory of one process.
package memory
