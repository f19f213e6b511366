package cache

import "math/bits"

// Filter is a blocked Bloom filter (Putze, Sanders, Singler, "Cache-, Hash- and
// Space-Efficient Bloom Filters", 2007). All bits of a key are in the same block, a cache
// line, two in each of the block's eight words. A filter never reports an added key absent.
//
// Blocked filters suffer from the unequal load of their blocks. So two blocks
// can have a key, and the key goes into the emptier block (Azar, Broder, Karlin,
// Upfal, "Balanced Allocations", 1994). A lookup visits both, and errs where
// either errs. The cost is a fraction of the gain.
//
// Full filters are chained (after Almeida, Baquero, Preguiça, Hutchison, "Scalable Bloom
// Filters", 2007), with two changes. A key goes into the emptiest of the key's blocks along
// the whole chain, since a lookup visits all blocks anyway. And the exact error rate
// decides when a chain is full, not a count of keys.
type Filter []Block

// Block is a cache line of a Filter.
type Block [8]uint64

// FilterSize rounds a number of blocks up to a power of two, or one and a half
// times a power of two. Go's allocator hands out these sizes without waste.
func FilterSize(n int) int {
	n = max(n, MinBlocks)
	unit := 1 << (bits.Len(uint(n-1)) - 2)
	return (n + unit - 1) &^ (unit - 1)
}

const (
	// BlockBytes is the size of a Block.
	BlockBytes = 64
	// MinBlocks is the least number of blocks in a filter.
	MinBlocks = 8
	// PerBlock is the number of keys to expect in a block of a full filter.
	PerBlock = 15

	// firstError is the error rate of a full chain with a single filter. Each further filter
	// adds tightening times the addition before (Almeida et al., section 3). So the limit of
	// any chain, however long, stays under firstError / (1 − tightening) = 9.5e-7; the chain's
	// last key may exceed the limit by the key's own share.
	firstError = 2.375e-7
	tightening = 0.75
)

// Key is the form of a nonce for the filters.
type Key struct {
	hash        uint64 // the high end chooses the block, the low end the shard
	left, right uint64 // 6 bits of each, word by word, choose the two bits
}

// NewKey returns the key of a nonce by the nonce's hash.
func NewKey(hash uint64) Key {
	return Key{hash, Mix(hash + 0x9e3779b97f4a7c15), Mix(hash + 0x3c6ef372fe94f82a)}
}

// Mix is the output function of SplitMix64 (Steele, Lea, Flood, "Fast Splittable
// Pseudorandom Number Generators", 2014).
func Mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// scale maps the hash to 0 … n−1, evenly, by the high bits.
func (k Key) scale(n int) int {
	hi, _ := bits.Mul64(k.hash, uint64(n))
	return int(hi)
}

// blocks returns the two blocks for the key; both may be the same block. The other half of
// the hash chooses the second.
func (f Filter) blocks(k Key) (a, b *Block) {
	other := Key{hash: bits.RotateLeft64(k.hash, 32)}
	return &f[k.scale(len(f))], &f[other.scale(len(f))]
}

func (b *Block) has(k Key) bool {
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

// add sets the bits of the key, and returns the increase of the ErrorRate.
func (b *Block) add(k Key) (increase float64) {
	before, after := uint64(1), uint64(1)
	for i, w := range b {
		before *= uint64(bits.OnesCount64(w))
		w |= uint64(1)<<(k.left&63) | uint64(1)<<(k.right&63)
		after *= uint64(bits.OnesCount64(w))
		b[i] = w
		k.left >>= 6
		k.right >>= 6
	}
	return errorRate(after) - errorRate(before)
}

// ones counts the bits set.
func (b *Block) ones() int {
	return bits.OnesCount64(b[0]) + bits.OnesCount64(b[1]) + bits.OnesCount64(b[2]) + bits.OnesCount64(b[3]) +
		bits.OnesCount64(b[4]) + bits.OnesCount64(b[5]) + bits.OnesCount64(b[6]) + bits.OnesCount64(b[7])
}

// ErrorRate returns the probability that the block has a key without its addition.
func (b *Block) ErrorRate() float64 {
	ones := uint64(1)
	for _, w := range b {
		ones *= uint64(bits.OnesCount64(w))
	}
	return errorRate(ones)
}

// errorRate returns the ErrorRate of a block from the product of the bits set in each word, at
// most 64 to the power of 8. In every word both bits of a key must be set; the bits are drawn
// independently, and may be the same bit.
func errorRate(ones uint64) float64 {
	p := float64(ones) / (1 << 48)
	return p * p
}
