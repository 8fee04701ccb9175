package conf

import (
	"strconv"
	"strings"
	"time"

	"github.com/hadirector/hadirector/healthcheck"
)

// timingKeys are the keys of every type of check that say when to ask and when to believe
// the answer.
var timingKeys = []string{"interval", "fast_interval", "down_interval", "jitter", "timeout", "rise", "fall", "initial"}

// connectTimeout is the key of the types that connect.
const connectTimeout = "connect_timeout"

// initials are the values of initial, in the order of their numbers.
var initials = []string{healthcheck.InitialUp.String(), healthcheck.InitialDown.String(), healthcheck.InitialLast.String()}

// timing reads the keys of every type, but for the type itself.
func (p *parser) timing(t *node, s *healthcheck.Spec, connects bool) {
	interval := func(key string, def time.Duration) time.Duration {
		return p.duration(t.kid(key), def, 100*time.Millisecond, 24*time.Hour, time.Millisecond)
	}
	timeout := func(key string, def time.Duration) time.Duration {
		return p.duration(t.kid(key), def, 10*time.Millisecond, 10*time.Minute, time.Millisecond)
	}
	s.Interval = interval("interval", defaultCheckInterval)
	s.FastInterval, s.DownInterval = interval("fast_interval", s.Interval), interval("down_interval", s.Interval)
	s.Jitter = p.jitter(t.kid("jitter"))
	s.Timeout = timeout("timeout", defaultCheckTimeout)
	if connects {
		s.ConnectTimeout = timeout(connectTimeout, s.Timeout)
	}
	s.Rise = int(p.integer(t.kid("rise"), defaultRise, 1, 1000))
	s.Fall = int(p.integer(t.kid("fall"), defaultFall, 1, 1000))
	switch p.choice(t.kid("initial"), "an initial status", initials[0], initials, nil) {
	case initials[1]:
		s.Initial = healthcheck.InitialDown
	case initials[2]:
		s.Initial = healthcheck.InitialLast
	}
	switch {
	case s.Timeout > s.Interval:
		p.warnf(t.at("timeout"), "the timeout %s is longer than the interval %s: a real server that does not answer is asked every %s only",
			formatDuration(s.Timeout), formatDuration(s.Interval), formatDuration(s.Timeout))
	case s.ConnectTimeout > s.Timeout:
		p.warnf(t.at(connectTimeout), "the connect timeout %s is longer than the timeout %s of the whole probe, which comes first",
			formatDuration(s.ConnectTimeout), formatDuration(s.Timeout))
	}
	if s.FastInterval > s.Interval {
		p.warnf(t.at("fast_interval"), "the fast interval %s is longer than the interval %s: a real server that begins to fail is asked less often",
			formatDuration(s.FastInterval), formatDuration(s.Interval))
	}
}

// maxJitter is our own: with more of it intervals say little.
const maxJitter = 50

// jitter reads "10%".
func (p *parser) jitter(n *node) int {
	const want = `a percentage from 0 to 50, such as "10%"`
	if n == nil {
		return defaultJitter
	}
	if v, ok := n.value.(int64); ok {
		p.errorf(n, "want %s, found %s: write \"%d%%\"", want, describe(v), v)
		return defaultJitter
	}
	s, ok := read[string](p, n, want)
	if !ok {
		return defaultJitter
	}
	digits, percent := strings.CutSuffix(s, "%")
	v, err := strconv.ParseUint(digits, 10, 16)
	switch {
	case err != nil:
		p.errorf(n, "%q is not %s", shorten(s), want)
	case !percent:
		p.errorf(n, "%q has no percent sign: write \"%d%%\"", s, v)
	case v > maxJitter:
		p.errorf(n, "%d%% is out of range: want %s", v, want)
	default:
		return int(v)
	}
	return defaultJitter
}

func (w *writer) timing(s healthcheck.Spec) {
	w.duration("interval", s.Interval)
	w.duration("fast_interval", s.FastInterval)
	w.duration("down_interval", s.DownInterval)
	w.text("jitter", strconv.Itoa(s.Jitter)+"%")
	w.duration("timeout", s.Timeout)
	if s.ConnectTimeout > 0 {
		w.duration(connectTimeout, s.ConnectTimeout)
	}
	w.integer("rise", int64(s.Rise))
	w.integer("fall", int64(s.Fall))
	w.text("initial", s.Initial.String())
}
