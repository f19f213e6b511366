package cache

// Chain is a growing chain of Bloom filters. Where Full reports true, call Grow before Add.
// The zero Chain has no filter yet. Do not copy a Chain.
type Chain struct {
	Filters []Filter

	first     [1]Filter // the memory of Filters, until there are two
	blocks    int       // in all filters
	errorRate float64   // the sum of the filters' rates, from the bits as they are set
	limit     float64   // the errorRate at which the chain must grow
}

// FilterOverhead is the memory of a further filter beside the blocks, in bytes.
const FilterOverhead = 64

// Blocks returns the number of blocks in all filters.
func (c *Chain) Blocks() int { return c.blocks }

// Bytes returns the memory of all filters.
func (c *Chain) Bytes() int64 {
	return int64(max(0, len(c.Filters)-1))*FilterOverhead + int64(c.blocks)*BlockBytes
}

// ErrorRate returns the probability of Has for a key that was never added.
func (c *Chain) ErrorRate() float64 { return c.errorRate }

// Limit returns the error rate of the chain when full.
func (c *Chain) Limit() float64 { return c.limit }

// NextLimit returns the Limit after another Grow.
func (c *Chain) NextLimit() float64 { return firstError + tightening*c.limit }

// Has reports whether the key was added, or is mistaken for an added key.
func (c *Chain) Has(k Key) bool {
	for i := len(c.Filters) - 1; i >= 0; i-- {
		a, b := c.Filters[i].blocks(k)
		if a.has(k) || b.has(k) {
			return true
		}
	}
	return false
}

// Full reports whether the chain must grow before the next Add.
func (c *Chain) Full() bool { return c.errorRate >= c.limit }

// Add puts the key into the emptiest of the key's blocks.
func (c *Chain) Add(k Key) {
	var (
		best   *Block
		blocks int // of best's filter
		ones   int
	)
	for _, f := range c.Filters {
		a, b := f.blocks(k)
		if n := a.ones(); best == nil || n < ones {
			best, blocks, ones = a, len(f), n
		}
		if n := b.ones(); n < ones {
			best, blocks, ones = b, len(f), n
		}
	}
	c.errorRate += 2 * best.add(k) / float64(blocks)
}

// Grow adds a filter. The number of blocks must be a FilterSize.
func (c *Chain) Grow(blocks int) {
	c.limit = c.NextLimit()
	if len(c.Filters) == 0 {
		c.Filters = c.first[:0]
	}
	c.Filters = append(c.Filters, make(Filter, blocks))
	c.blocks += blocks
}

// Growth returns the size of the next filter in blocks, and the least size for the case of
// scarce memory.
//
// A chain that began with an expected size grows by a quarter. A chain of unknown size
// doubles. The least is a quarter of the chain, so the number of filters, and the work of a
// lookup, stay logarithmic.
func (c *Chain) Growth() (want, least int) {
	if len(c.Filters) == 0 {
		return MinBlocks, MinBlocks
	}
	least = FilterSize(c.blocks / 4)
	if len(c.Filters[0]) > MinBlocks {
		return least, least
	}
	return FilterSize(c.blocks), least
}
