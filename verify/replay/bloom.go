package replay

import "math/bits"

// A filter is a blocked Bloom filter (Putze, Sanders, Singler, "Cache-, Hash-
// and Space-Efficient Bloom Filters", 2007): a key has all its bits in one
// block of one cache line, two in each of the block's eight words. What is in
// a filter is never reported absent.
//
// Filters are chained as they fill (after Almeida, Baquero, Preguiça,
// Hutchison, "Scalable Bloom Filters", 2007), with two changes. A key goes into
// the emptiest of its blocks along the chain: a lookup visits every filter
// anyway, so the choice costs nothing, and it evens out what blocked filters
// suffer from, the unequal load of their blocks. And a chain is full by its
// error rate, which is kept exactly, and not by a count of keys.
type filter []block

type block [8]uint64

const (
	blockBytes = 64
	minBlocks  = 8 // of a filter

	// firstError is the error rate at which a chain of one filter is full.
	// Each further filter raises the limit by tightening times what the one
	// before did (Almeida et al., section 3), so that no chain, however
	// long, reaches firstError / (1 − tightening) = 9.5e-7 by more than its
	// last key's share.
	firstError = 0.95e-7
	tightening = 0.9
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

func (f filter) block(k key) *block { return &f[k.scale(len(f))] }

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
