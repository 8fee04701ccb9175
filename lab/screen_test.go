package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/lab/cluster"
)

func TestScreenLog(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct{ name, line, want string }{
		{
			name: "short",
			line: `time=2026-01-01T00:00:01.500Z level=INFO msg=starting version=devel`,
			want: "  1.50s lb-a | starting  version=devel\n",
		},
		{
			name: "broken between words",
			line: `time=2026-01-01T00:00:01.500Z level=WARN msg="real server removed" real_server=rs-1 address=10.0.0.21:80 virtual_server=web err="connect refused"`,
			want: "  1.50s lb-a | real server removed  real_server=rs-1 address=10.0.0.21:80\n" +
				"             | virtual_server=web err=\"connect refused\"\n",
		},
		{
			name: "another program's",
			line: "no head here",
			want: "  1.50s lb-a | no head here\n",
		},
		{
			name: "a word longer than the line",
			line: strings.Repeat("x", 90),
			want: "  1.50s lb-a | " + strings.Repeat("x", 90) + "\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			s := &screen{out: &out, start: start}
			s.log(cluster.Line{At: start.Add(1500 * time.Millisecond), Machine: "lb-a", Text: tt.line})
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("screen (-want +got):\n%s", diff)
			}
		})
	}
}

func TestScreenColours(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out, colour: true}
	s.log(cluster.Line{At: s.start, Machine: "lb-a", Text: "time=0 level=ERROR msg=no"})
	if want := "\x1b[31m  0.00s lb-a | no\x1b[0m\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
