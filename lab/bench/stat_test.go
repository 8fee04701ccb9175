package bench

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCompare(t *testing.T) {
	ms := func(values ...int) (d []time.Duration) {
		for _, v := range values {
			d = append(d, time.Duration(v)*time.Millisecond)
		}
		return d
	}
	const m = time.Millisecond
	for _, tt := range []struct {
		name         string
		ours, theirs []time.Duration
		want         comparison
	}{
		{"the same", ms(360, 380, 340), ms(360, 380, 340), comparison{ratio: 1, noise: 2 * m, verdict: equal}},
		{"what the meter cannot see", ms(362), ms(360), comparison{ratio: 362. / 360, differ: 2 * m, noise: 2 * m, verdict: equal}},
		{"slower by more", ms(363), ms(360), comparison{ratio: 363. / 360, differ: 3 * m, noise: 2 * m, verdict: slower}},
		// The differences are 3, 3 and 3, however far the rounds lie apart.
		{"slower in every round", ms(313, 363, 413), ms(310, 360, 410), comparison{ratio: 363. / 360, differ: 3 * m, noise: 2 * m, verdict: slower}},
		// The differences are 40, 5 and -30: their median deviates by 35 from the others.
		{"rounds that disagree", ms(400, 365, 330), ms(360, 360, 360), comparison{ratio: 365. / 360, differ: 5 * m, noise: 37 * m, verdict: equal}},
		{"faster", ms(4, 5, 4), ms(62, 61, 62), comparison{ratio: 4. / 62, differ: -58 * m, noise: 2 * m, verdict: faster}},
		// One bad round of three is not the median.
		{"an outlier", ms(360, 900, 360), ms(360, 360, 360), comparison{ratio: 1, noise: 2 * m, verdict: equal}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, compare(tt.ours, tt.theirs), cmp.AllowUnexported(comparison{})); diff != "" {
				t.Errorf("compare (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPhases(t *testing.T) {
	want := []time.Duration{10 * time.Millisecond, 30 * time.Millisecond, 50 * time.Millisecond, 70 * time.Millisecond, 90 * time.Millisecond}
	var got []time.Duration
	for round := range 5 {
		got = append(got, phase(round, 5, 100*time.Millisecond))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}
