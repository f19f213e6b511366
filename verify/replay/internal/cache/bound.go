package cache

// Bound returns the least bound of memory, from usual upwards in steps of at most
// a half, that need leaves a quarter of free. need computes the memory in use
// under a bound, in bytes.
func Bound(usual int64, need func(bound int64) int64) int64 {
	bound := usual
	for need(bound) > bound/4*3 {
		bound = larger(bound)
	}
	return bound
}

// larger returns the next of 64, 96, 128, 192, 256, 384 … MiB.
func larger(bound int64) int64 {
	if bound&(bound-1) == 0 {
		return bound / 2 * 3
	}
	return bound / 3 * 4
}
