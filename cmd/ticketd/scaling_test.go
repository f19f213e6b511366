package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/admitone/admitone/verify"
)

// The table of sizes in docs/scaling.md is the plan's.
func TestScalingTable(t *testing.T) {
	page, err := os.ReadFile("../../docs/scaling.md")
	require.NoError(t, err)
	var b strings.Builder
	b.WriteString("| redemptions a second | remembered | `memory` | journal | its disk | Redis | PostgreSQL |\n" +
		"|---|---|---|---|---|---|---|\n")
	for _, rate := range []float64{10, 100, 1000, 10_000, 100_000, 1_000_000} {
		p, err := newPlan(rate, 5*time.Minute, verify.Skew, false, defaultCeilings())
		require.NoError(t, err)
		fmt.Fprintf(&b, "| %s | %s |", humanize.Comma(int64(rate)), humanize.Comma(p.Live))
		for _, n := range []int64{p.Memory.Bytes, p.Journal.Bytes, p.Journal.DiskBytes, p.Redis.Bytes, p.Postgres.DiskBytes} {
			fmt.Fprintf(&b, " %s |", humanize.IBytes(uint64(n)))
		}
		b.WriteByte('\n')
	}
	assert.True(t, strings.Contains(string(page), b.String()), "docs/scaling.md lacks the table:\n%s", b.String())
}
