package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// The marks that the script prints around each test binary's output.
const (
	markStart = "=== BINARY "
	markEnd   = "=== STATUS "
)

// frame begins each line of the test framework itself under -test.v=test2json, so that a
// test that prints "--- PASS" does not count as one.
const frame = "\x16"

// report follows the output of the script and finds out what really ran.
type report struct {
	wanted map[string]map[string]bool // package path, test name
}

func newReport(pkgs []pkg) *report {
	r := &report{wanted: make(map[string]map[string]bool)}
	for _, p := range pkgs {
		r.wanted[p.path] = make(map[string]bool)
		for _, t := range p.tests {
			r.wanted[p.path][t] = true
		}
	}
	return r
}

// read copies the output to out as go test would print it, one summary line at each
// package's end, and returns what is wrong: failed packages, skipped tests, and tests
// that were wanted and did not run.
func (r *report) read(in io.Reader, out io.Writer, now func() time.Time) []error {
	var (
		problems []error
		current  string
		since    time.Time
	)
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line == "" && err != nil {
			break
		}
		line = strings.TrimRight(line, "\r\n")
		if path, ok := strings.CutPrefix(line, markStart); ok {
			current, since = path, now()
			continue
		}
		if status, ok := strings.CutPrefix(line, markEnd); ok {
			word := "ok  "
			if status != "0" {
				word = "FAIL"
				problems = append(problems, fmt.Errorf("%s failed", current))
			}
			fmt.Fprintf(out, "%s\t%s\t%.3fs\n", word, current, now().Sub(since).Seconds())
			current = ""
			continue
		}
		// A test that printed without a newline stands before the frame.
		before, framed, ok := strings.Cut(line, frame)
		if before != "" {
			fmt.Fprintln(out, before)
		}
		if !ok {
			continue
		}
		result, name := parse(framed)
		if strings.HasPrefix(framed, "=== ") && !strings.HasPrefix(framed, "=== RUN") {
			continue // === NAME, PAUSE and CONT: noise between the lines of one test
		}
		fmt.Fprintln(out, framed)
		switch result {
		case "SKIP":
			problems = append(problems, fmt.Errorf("%s: %s was skipped", current, name))
			fallthrough
		case "PASS", "FAIL":
			delete(r.wanted[current], name)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(r.wanted)) {
		for _, name := range slices.Sorted(maps.Keys(r.wanted[path])) {
			problems = append(problems, fmt.Errorf("%s: %s did not run", path, name))
		}
	}
	return problems
}

// parse takes "--- PASS: TestName (0.00s)" apart.
func parse(line string) (result, name string) {
	rest, ok := strings.CutPrefix(line, "--- ")
	if !ok {
		return "", ""
	}
	result, rest, _ = strings.Cut(rest, ": ")
	name, _, _ = strings.Cut(rest, " (")
	return result, name
}
