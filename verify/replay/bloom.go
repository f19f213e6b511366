package replay

import "math/bits"

// A filter is a blocked Bloom filter (Putze, Sanders, Singler, "Cache-, Hash-
// and Space-Efficient Bloom Filters", 2007): a key has all its bits in one
// block of one cache line, two in each of the block's eight words. What is in
// a filter is never reported absent.
//
// What blocked filters suffer from is the unequal load of their blocks. Here
// two blocks may have a key, and it goes into the emptier one (Azar, Broder,
// Karlin, Upfal, "Balanced Allocations", 1994). A lookup visits both, and errs
// where either does; what that costs is a fraction of what it saves.
//
// Filters are chained as they fill (after Almeida, Baquero, Preguiça,
// Hutchison, "Scalable Bloom Filters", 2007), with two changes. A key goes into
// the emptiest of its blocks along the whole chain, which a lookup visits
// anyway. And a chain is full by its error rate, which is kept exactly, and not
// by a count of keys.
type filter []block

type block [8]uint64

// filterSize rounds a number of blocks up to a power of two, or one and a half
// times one, which are sizes that Go's allocator hands out without waste.
func filterSize(n int) int {
	n = max(n, minBlocks)
	unit := 1 << (bits.Len(uint(n-1)) - 2)
	return (n + unit - 1) &^ (unit - 1)
}

const (
	blockBytes = 64
	minBlocks  = 8 // of a filter
	perBlock   = 15

	// firstError is the error rate at which a chain of one filter is full.
	// Each further filter raises the limit by tightening times what the one
	// before did (Almeida et al., section 3), so that no chain, however
	// long, reaches firstError / (1 − tightening) = 9.5e-7 by more than its
	// last key's share.
	firstError = 2.375e-7
	tightening = 0.75
)

// A key is a nonce as the filters see it.
type key struct {
	hash        uint64 // its high end chooses the block, its low end the shard
	left, right uint64 // 6 bits of each, word by word, choose the two bits
}

func newKey(hash uint64) key {
	return key{hash, mix(hash + 0x9e3779b97f4a7c15), mix(hash + 0x3c6ef372fe94f82a)}
}

// mix is the output function of SplitMix64 (Steele, Lea, Flood, "Fast
// Splittable Pseudorandom Number Generators", 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// scale maps the hash to 0 … n−1, evenly, by its high bits.
func (k key) scale(n int) int {
	hi, _ := bits.Mul64(k.hash, uint64(n))
	return int(hi)
}

// blocks returns the two blocks that may have the key, which may be one. The
// second is chosen by the other half of the hash.
func (f filter) blocks(k key) (a, b *block) {
	other := key{hash: bits.RotateLeft64(k.hash, 32)}
	return &f[k.scale(len(f))], &f[other.scale(len(f))]
}

func (b *block) has(k key) bool {
	for i := range b {
		want := uint64(1)<<(k.left&63) | uint64(1)<<(k.right&63)
		if b[i]&want != want {
			return false
		}
		k.left >>= 6
		k.right >>= 6
	}
	return true
}

func (b *block) add(k key) {
	for i := range b {
		b[i] |= uint64(1)<<(k.left&63) | uint64(1)<<(k.right&63)
		k.left >>= 6
		k.right >>= 6
	}
}

// ones counts the bits set.
func (b *block) ones() int {
	n := 0
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}

// errorRate returns the probability that the block has a key that was never
// added to it: in every word the key's two bits, which are drawn independently
// and may be the same one, must both be set.
func (b *block) errorRate() float64 {
	p := 1.0
	for _, w := range b {
		f := float64(bits.OnesCount64(w)) / 64
		p *= f * f
	}
	return p
}
