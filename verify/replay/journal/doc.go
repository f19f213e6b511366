// Package journal is a replay.Store of one process, whose memory outlives the
// process.
package journal
