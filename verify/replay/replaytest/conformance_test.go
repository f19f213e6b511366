package replaytest_test

import "testing"

// The example's store passes the suite.
func TestExampleConforms(t *testing.T) { conformance(t) }
