package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFind(t *testing.T) {
	root := t.TempDir()
	files := map[string]string{
		"go.mod":               "module example.com/m\n\ngo 1.26.0\n",
		"a/plain_test.go":      "package a\n\nfunc TestPlain(t *testing.T) {}\n",
		"a/tagged_test.go":     "// Copyright.\n\n//go:build ipvs\n\npackage a\n\nfunc TestB(t *testing.T) {}\nfunc TestA(t *testing.T) {}\nfunc TestMain(m *testing.M) {}\nfunc helper() {}\n",
		"a/other_test.go":      "//go:build integration\n\npackage a\n\nfunc TestOther(t *testing.T) {}\n",
		"a/without_test.go":    "//go:build !ipvs\n\npackage a\n\nfunc TestWithout(t *testing.T) {}\n",
		"a/alone_test.go":      "//go:build ipvs && alone\n\npackage a\n\nfunc TestAlone(t *testing.T) {}\n",
		"b/both_test.go":       "//go:build linux && (ipvs || integration)\n\npackage b\n\nfunc TestBoth(t *testing.T) {}\n",
		"c/testdata/x_test.go": "//go:build ipvs\n\npackage x\n\nfunc TestData(t *testing.T) {}\n",
		"c/late_test.go":       "package c\n\n//go:build ipvs\n\nfunc TestLate(t *testing.T) {}\n",
	}
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := find(root, "ipvs")
	if err != nil {
		t.Fatal(err)
	}
	want := []pkg{
		{path: "example.com/m/a", dir: "a", tests: []string{"TestA", "TestB"}},
		{path: "example.com/m/b", dir: "b", tests: []string{"TestBoth"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(pkg{})); diff != "" {
		t.Errorf("find (-want +got):\n%s", diff)
	}
	got, err = find(root, "ipvs,alone")
	if err != nil {
		t.Fatal(err)
	}
	want = []pkg{{path: "example.com/m/a", dir: "a", tests: []string{"TestAlone"}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(pkg{})); diff != "" {
		t.Errorf("find with two tags (-want +got):\n%s", diff)
	}
}

func TestReport(t *testing.T) {
	for _, tt := range []struct {
		name     string
		output   string
		want     string
		problems []string
	}{
		{
			name: "all passed",
			output: "\n=== BINARY m/a\n\x16=== RUN   TestA\n\x16=== RUN   TestA/sub\nhello    a_test.go:3: x\n" +
				"\x16--- PASS: TestA/sub (0.00s)\n\x16=== NAME  TestA\n    a_test.go:4: end\nhalf a line\x16--- PASS: TestA (0.10s)\n" +
				"\x16=== RUN   TestB\n\x16--- PASS: TestB (0.00s)\n\x16=== NAME  \n\x16PASS\n\n=== STATUS 0\n",
			want: "=== RUN   TestA\n=== RUN   TestA/sub\nhello    a_test.go:3: x\n--- PASS: TestA/sub (0.00s)\n" +
				"    a_test.go:4: end\nhalf a line\n--- PASS: TestA (0.10s)\n" +
				"=== RUN   TestB\n--- PASS: TestB (0.00s)\nPASS\nok  \tm/a\t1.000s\n",
		},
		{
			name:     "a subtest was skipped",
			output:   "=== BINARY m/a\n\x16--- PASS: TestA (0.10s)\n\x16--- SKIP: TestA/sub (0.00s)\n\x16--- PASS: TestB (0.00s)\n=== STATUS 0\n",
			want:     "--- PASS: TestA (0.10s)\n--- SKIP: TestA/sub (0.00s)\n--- PASS: TestB (0.00s)\nok  \tm/a\t1.000s\n",
			problems: []string{"m/a: TestA/sub was skipped"},
		},
		{
			name:     "one failed and one did not run",
			output:   "=== BINARY m/a\n\x16--- FAIL: TestA (0.10s)\n--- PASS: TestB (printed by a test)\n=== STATUS 2\n",
			want:     "--- FAIL: TestA (0.10s)\n--- PASS: TestB (printed by a test)\nFAIL\tm/a\t1.000s\n",
			problems: []string{"m/a failed", "m/a: TestB did not run"},
		},
		{
			name:     "the machine died",
			output:   "",
			problems: []string{"m/a: TestA did not run", "m/a: TestB did not run"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clock := time.Unix(0, 0)
			now := func() time.Time { clock = clock.Add(time.Second); return clock }
			var out strings.Builder
			r := newReport([]pkg{{path: "m/a", dir: "a", tests: []string{"TestA", "TestB"}}})
			var problems []string
			for _, err := range r.read(strings.NewReader(tt.output), &out, now) {
				problems = append(problems, err.Error())
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
