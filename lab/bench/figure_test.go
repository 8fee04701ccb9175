package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPrintFigures(t *testing.T) {
	var out strings.Builder
	printFigures(&out, "1000 connections", []string{"hadirector", "keepalived"}, [][]figure{
		{took("in sync after", 1500*time.Millisecond), part("go on", 1000, 1000), memory("memory", 34_000_000)},
		{none("in sync after", "never"), part("go on", 500, 1000), perSecond("rate", 300, 3*time.Second)},
	})
	const want = `1000 connections                                               hadirector     keepalived          ratio
  in sync after                                                    1.50 s          never               
  go on                                                         1000/1000       500/1000              2
  memory                                                          34.0 MB              -               
  rate                                                                  -          100/s               

`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
