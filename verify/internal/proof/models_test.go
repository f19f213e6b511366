// Package proof has models of the claim protocol, checked by SPIN. The README has the list.
package proof

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A configuration of a model, as SPIN's definitions.
type configuration struct {
	model, defines string
	large          bool // only with TICKETD_TEST_MODELS=large
}

var good = []configuration{
	{"journal", "-DTAKEOVER", false},
	{"journal", "-DTAKEOVER -DOWNERS=3 -DFAULTS=0 -DFAILS=0", false},
	{"journal", "-DLOSS -DFAULTS=2", false},
	{"journal", "-DOWNERS=3 -DFAULTS=2 -DFAILS=0", false},
	{"journal", "-DTAKEOVER -DFAULTS=2", true},
	{"shared", "-DFENCED -DFAULTS=2", false},
	{"shared", "-DWAIT", false},
	{"shared", "-DSPLIT -DFAULTS=2", false},
	{"shared", "-DCLOCKS", false},
	{"shared", "-DLIVE", false},
	{"shared", "-DWAIT -DFAULTS=2", true},
	{"shared", "-DLIVE -DFAULTS=2", true},
}

// A variant has a fault. violates is part of what SPIN says of the violation.
type variant struct{ fault, model, defines, violates string }

const (
	once       = "admitted=="
	used       = "assertion violated recorded"
	barrier    = "assertion violated lost"
	sharedUsed = "assertion violated spent"
	grace      = "assertion violated (now<"
	live       = "acceptance cycle"
)

var bad = []variant{
	{"ANSWER_BEFORE_FSYNC", "journal", "-DLOSS -DFAULTS=2", once},
	{"FAILED_IS_SAFE", "journal", "-DLOSS -DFAULTS=2", once},
	{"FOUND_IS_SAFE", "journal", "-DOWNERS=3 -DFAULTS=2 -DFAILS=0", once},
	{"AGAIN_IS_UNDONE", "journal", "-DLOSS -DFAULTS=2", once},
	{"NO_EPOCH_AFTER_LOSS", "journal", "-DLOSS -DFAULTS=2", once},
	{"MISSING_IS_EMPTY", "journal", "-DLOSS -DFAULTS=2", once},
	{"NOT_NAMED", "journal", "-DLOSS -DFAULTS=2", once},
	{"BARRIER_WITHOUT_SKEW", "journal", "-DLOSS -DFAULTS=2", once},
	{"NO_LOOK", "journal", "-DTAKEOVER -DFAULTS=0 -DFAILS=0", once},
	{"LOOK_BEFORE_FSYNC", "journal", "-DTAKEOVER -DFAULTS=0 -DFAILS=0", once},
	{"LAST_LOADED_WINS", "journal", "-DTAKEOVER -DOWNERS=3 -DFAULTS=0 -DFAILS=0", once},
	{"UNWRITTEN_IS_SPENT", "journal", "-DLOSS -DFAULTS=2", used},
	{"EPOCH_AT_EACH_START", "journal", "-DLOSS -DFAULTS=2", barrier},
	{"NOT_FENCED", "shared", "-DFENCED", once},
	{"EPOCH_KEPT", "shared", "-DFENCED", once},
	{"EMPTY_IS_COMPLETE", "shared", "-DFENCED", once},
	{"GRACE_FOR_ANY", "shared", "-DFENCED", once},
	{"GRACE_FOR_EVER", "shared", "-DFENCED", grace},
	{"TIER_OFFLINE", "shared", "-DFENCED", once},
	{"TIER_ADMITS", "shared", "-DFENCED", grace},
	{"TIER_NOTES_ALL", "shared", "-DFENCED", sharedUsed},
	{"NO_WAIT", "shared", "-DWAIT", once},
	{"REPEAT_WITHOUT_WRITE", "shared", "-DWAIT", once},
	{"LINEAGE_NOT_COMPARED", "shared", "-DSPLIT", once},
	{"NO_FILE", "shared", "-DSPLIT", once},
	{"ONE_STEP", "shared", "-DSPLIT", once},
	{"LAST_ANSWER_WINS", "shared", "-DSPLIT", once},
	{"SAME_UNKNOWN", "shared", "-DSPLIT", once},
	{"EPOCH_BY_THE_HOST", "shared", "-DCLOCKS", once},
	{"DROPPED_EARLY", "shared", "-DCLOCKS", once},
	{"NO_SECOND_LOOK", "shared", "-DCLOCKS", once},
	{"NEVER_ADOPTED", "shared", "-DLIVE", live},
}

// needSpin skips the test where a program is missing, and fails it on CI.
func needSpin(t *testing.T) {
	t.Helper()
	for _, name := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is not installed, and CI is set", name)
			}
			t.Skipf("%s is not installed", name)
		}
	}
}

// command runs a program in a folder, and returns its output.
func command(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return string(out)
}

// explore searches all states of a model, in at most 2 GB of memory, and returns the report.
// The second result reports whether SPIN wrote a trail. A short search is faster without the compiler's optimization.
func explore(t *testing.T, model, defines, optimization string) (report string, trail bool) {
	t.Helper()
	dir := t.TempDir()
	source, err := filepath.Abs(model + ".pml")
	require.NoError(t, err)
	command(t, dir, "spin", append(append([]string{"-a"}, strings.Fields(defines)...), source)...)
	mode, search := []string{"-DSAFETY"}, []string{"-m100000", "-w22"}
	if strings.Contains(defines, "-DLIVE") { // cycles, in which each process goes on if it can
		mode, search = nil, append(search, "-a", "-f")
	}
	command(t, dir, "gcc", append(mode, optimization, "-DMEMLIM=2000", "-o", "pan", "pan.c")...)
	report = command(t, dir, "./pan", search...)
	trails, err := filepath.Glob(filepath.Join(dir, "*.trail"))
	require.NoError(t, err)
	return report, len(trails) > 0
}

var (
	statesLine = regexp.MustCompile(`(\d+) states, stored`)
	depthLine  = regexp.MustCompile(`depth reached (\d+), errors: (\d+)`)
	memoryLine = regexp.MustCompile(`([\d.]+)\ttotal actual memory usage`)
	violation  = regexp.MustCompile(`(?m)^pan:1: .*$`)
	unreached  = regexp.MustCompile(`(?m)^\t(\S+\.pml:\d+), state \d+, "(.*)"$`)
)

// SPIN finds no violation in any state of a model, and each statement is reached.
//
// TICKETD_TEST_MODELS=large adds the larger sizes.
func TestModels(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: SPIN searches for a minute or more")
	}
	needSpin(t)
	explored := make(map[string]int)           // configurations, by model
	missed := make(map[string]map[string]bool) // statements, with the configurations that do not reach them
	for _, c := range good {
		t.Run(c.model+" "+c.defines, func(t *testing.T) {
			if c.large && os.Getenv("TICKETD_TEST_MODELS") != "large" {
				t.Skip("TICKETD_TEST_MODELS=large checks it")
			}
			report, trail := explore(t, c.model, c.defines, "-O1")
			require.False(t, trail, report)
			assert.NotContains(t, report, "Search not completed")
			assert.NotContains(t, report, "max search depth too small")
			states, depth, memory := statesLine.FindStringSubmatch(report), depthLine.FindStringSubmatch(report),
				memoryLine.FindStringSubmatch(report)
			require.NotNil(t, states, report)
			require.NotNil(t, depth, report)
			require.NotNil(t, memory, report)
			require.Equal(t, "0", depth[2], report)
			explored[c.model]++
			for _, m := range unreached.FindAllStringSubmatch(report, -1) {
				if m[2] != "-end-" && m[2] != "(!(alive[id]))" { // the end of a process, and of its steps
					statement := m[1] + " " + m[2]
					if missed[statement] == nil {
						missed[statement] = make(map[string]bool)
					}
					missed[statement][c.defines] = true
				}
			}
			t.Logf("%s states, depth %s, %s MB", states[1], depth[1], memory[1])
		})
	}
	for statement, by := range missed {
		file, _, _ := strings.Cut(filepath.Base(statement), ".")
		assert.Less(t, len(by), explored[file], "no configuration reaches %s", statement)
	}
}

// Each fault leads to a violation of its property, with a trail.
func TestBadVariants(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short: SPIN searches for a minute or more")
	}
	needSpin(t)
	violated := make(map[string]bool)
	for _, v := range bad {
		t.Run(v.fault, func(t *testing.T) {
			source, err := os.ReadFile(v.model + ".pml")
			require.NoError(t, err)
			require.Contains(t, string(source), v.fault)
			report, trail := explore(t, v.model, v.defines+" -D"+v.fault, "-O0")
			require.True(t, trail, report)
			assert.Contains(t, violation.FindString(report), v.violates)
			violated[v.violates] = true
		})
	}
	for _, property := range []string{once, used, barrier, sharedUsed, grace, live} {
		assert.True(t, violated[property], "no fault violates %q", property)
	}
}
