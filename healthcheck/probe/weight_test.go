package probe

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/hadirector/hadirector/healthcheck"
)

// realServer is what a check of a real server asks.
var realServer = healthcheck.Target{Addr: netip.MustParseAddrPort("[2001:db8::1]:80"), Check: "c"}

func newMeasurer(t *testing.T, sp healthcheck.Spec) healthcheck.Measurer {
	t.Helper()
	c, err := New(sp, realServer)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := c.(healthcheck.Measurer)
	if !ok {
		t.Fatalf("a %T has no weight to tell", c)
	}
	return m
}

func number(n int) healthcheck.Value { return healthcheck.Value{Unit: healthcheck.Number, N: n} }

// Only with a dynamic weight do other exit statuses than 0 succeed.
func TestScriptWeight(t *testing.T) {
	none := healthcheck.Value{}
	for _, tt := range []struct {
		dynamic bool
		script  string
		value   healthcheck.Value
		want    string
	}{
		{false, "exit 0", none, ""},
		{false, "exit 2", none, "exit status 2"},
		{true, "exit 0", none, ""},
		{true, "echo no; exit 1", none, "exit status 1: no"},
		{true, "echo nothing more; exit 2", number(0), ""},
		{true, "exit 3", number(1), ""},
		{true, "exit 255", number(253), ""},
		{true, "kill -KILL $$", none, "ended by SIGKILL"},
	} {
		sp := scriptSpec(t, "/bin/sh", "-c", tt.script)
		sp.Script.DynamicWeight = tt.dynamic
		value, err := newMeasurer(t, sp).Measure(t.Context())
		checkCause(t, err, tt.want)
		if value != tt.value {
			t.Errorf("%s: value %q, want %q", tt.script, value, tt.value)
		}
	}
}

func TestScriptWeightAtTheTimeout(t *testing.T) {
	sp := scriptSpec(t, "/bin/sh", "-c", "trap 'exit 5' TERM; echo late; while :; do sleep 1000; done")
	sp.Script.DynamicWeight = true
	value, err := newMeasurer(t, sp).Measure(briefly(t))
	checkCause(t, err, "timeout after 2s, killed: late")
	if value != (healthcheck.Value{}) {
		t.Errorf("value %v", value)
	}
}

func TestScriptIsToldWhomToAsk(t *testing.T) {
	sp := scriptSpec(t, "/bin/sh", "-c", `echo "$0 $1"; exit 1`, "{address}", "--port={port}")
	checkCause(t, newMeasurer(t, sp).Check(t.Context()), "exit status 1: 2001:db8::1 --port=80")
	// A track has nobody to ask, and its arguments are its own.
	checkCause(t, newChecker(t, sp).Check(t.Context()), "exit status 1: {address} --port={port}")
}

// weightTests are the numbers in a file that are no weight although they are numbers.
var weightTests = []struct {
	content string
	value   healthcheck.Value
	want    string
}{
	{"0\n", number(0), ""},
	{"2147483647\n", number(2147483647), ""},
	{"-1\n", number(0), "weight in the file is negative: -1"},
	{"2147483648\n", number(0), "number in the file is too large: 2147483648"},
}

func TestFileWeight(t *testing.T) {
	dir := t.TempDir()
	c := newMeasurer(t, fileSpec(filepath.Join(dir, "{address}", "{port}")))
	_, err := c.Measure(t.Context())
	checkCause(t, err, "file does not exist")
	if errors.Is(err, healthcheck.ErrNotAsked) {
		t.Error("no verdict, want a failure")
	}
	if err := os.Mkdir(filepath.Join(dir, "2001:db8::1"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range weightTests {
		if err := os.WriteFile(filepath.Join(dir, "2001:db8::1", "80"), []byte(tt.content), 0o644); err != nil {
			t.Fatal(err)
		}
		value, err := c.Measure(t.Context())
		checkCause(t, err, tt.want)
		if value != tt.value {
			t.Errorf("%q: value %v, want %v", tt.content, value, tt.value)
		}
	}
}

// The number of a file is a weight or it is refused.
func FuzzFileWeight(f *testing.F) {
	for _, tt := range weightTests {
		f.Add([]byte(tt.content))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "weight")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		value, err := newMeasurer(t, fileSpec(path)).Measure(t.Context())
		if value.N < 0 || value.N > 1<<31-1 || err != nil && value.N != 0 {
			t.Errorf("%q: value %s, %v", text, strconv.Itoa(value.N), err)
		}
	})
}
