package director

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hadirector/hadirector/conf"
)

// keyedRetry is how long a part that could not be made waits for its next attempt. What
// stands in the way is usually a key file that an operator has yet to copy.
const keyedRetry = 10 * time.Second

// keyed is a part that the cluster's keys protect: the membership, the relay.
type keyed interface {
	Run(ctx context.Context) error
	// Rekey goes on with the keys that a configuration asks for now. One of them was
	// accepted before.
	Rekey(*conf.Config) error
}

// keyedRunner keeps such a part going over reloads: it makes it anew when what it depends on
// has changed, and only then.
type keyedRunner[P keyed, N any] struct {
	what   string // in the log
	make   func(cfg *conf.Config, changed chan<- struct{}) (P, error)
	keyIDs func(*conf.Config) ([]string, error)
	// wants tells whether a configuration asks for the part, and what it depends on beside
	// the keys.
	wants   func(*conf.Config) (dependence string, wanted bool)
	tell    func(P, N)
	changed chan struct{}
	logger  *slog.Logger
	configs mailbox[*conf.Config]
	news    mailbox[N]
	// current and failure are what readers see of it.
	current atomic.Pointer[runningPart[P]]
	failure atomic.Pointer[string]
}

// runningPart is a running part with its number among those of this process.
type runningPart[P keyed] struct {
	part  P
	epoch int
}

// dependence is what a running part depends on.
type dependence struct {
	keyFile string
	keyIDs  string // the one in use first
	rest    string
}

// rekeys tells whether only the keys differ, and one of them is in both: then the
// part goes on.
func (d dependence) rekeys(from dependence) bool {
	same := from
	same.keyIDs = d.keyIDs
	return same == d && slices.ContainsFunc(strings.Fields(d.keyIDs), func(id string) bool {
		return slices.Contains(strings.Fields(from.keyIDs), id)
	})
}

func (r *keyedRunner[P, N]) configure(cfg *conf.Config) { r.configs.put(cfg) }
func (r *keyedRunner[P, N]) update(n N)                 { r.news.put(n) }

// wanted tells what a configuration asks for, if anything.
func (r *keyedRunner[P, N]) wanted(cfg *conf.Config) (d dependence, wanted bool, err error) {
	rest, wanted := r.wants(cfg)
	if !wanted || r.make == nil {
		return dependence{}, false, nil
	}
	ids, err := r.keyIDs(cfg)
	return dependence{keyFile: cfg.Sync.KeyFile, keyIDs: strings.Join(ids, " "), rest: rest}, true, err
}

// run works until ctx is canceled.
func (r *keyedRunner[P, N]) run(ctx context.Context) error {
	var (
		cfg     *conf.Config
		now     dependence // of the running one
		running *runner
		last    N
		told    bool // there is a last
		epoch   int
		retry   = time.NewTimer(0)
	)
	<-retry.C
	defer retry.Stop()
	stop := func() {
		if running == nil {
			return
		}
		r.current.Store(nil)
		if err := running.stop(); err != nil {
			r.logger.Warn(r.what+" ended with an error", "err", err)
		}
		running, now = nil, dependence{}
	}
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case last = <-r.news:
			told = true
			if p := r.current.Load(); p != nil {
				r.tell(p.part, last)
			}
			continue
		case cfg = <-r.configs:
		case <-retry.C:
		}
		retry.Stop()
		want, wanted, err := r.wanted(cfg)
		if !wanted {
			stop()
			r.fail("")
			continue
		}
		if err == nil && running != nil && want == now {
			r.fail("")
			continue
		}
		if err == nil && running != nil && want.rekeys(now) {
			if err = r.current.Load().part.Rekey(cfg); err == nil {
				now = want
				r.fail("")
				continue
			}
		}
		// A key that cannot be read leaves the running part as it is.
		var part P
		if err == nil {
			stop()
			part, err = r.make(cfg, r.changed)
		}
		if err != nil {
			r.fail(err.Error())
			retry.Reset(keyedRetry)
			continue
		}
		r.fail("")
		epoch++
		now, running = want, spawn(part.Run)
		if told { // otherwise the first one is on its way
			r.tell(part, last)
		}
		r.current.Store(&runningPart[P]{part, epoch})
	}
}

// fail publishes why there is no such part, once for each reason.
func (r *keyedRunner[P, N]) fail(why string) {
	was := r.failure.Swap(&why)
	if why != "" && (was == nil || *was != why) {
		r.logger.Error("no "+r.what+", trying again", "err", why)
	}
	r.wake()
}

// failed is why there is no such part; empty: there is one, or none is wanted.
func (r *keyedRunner[P, N]) failed() string {
	if why := r.failure.Load(); why != nil {
		return *why
	}
	return ""
}

// wake tells the director's loop that there is news.
func (r *keyedRunner[P, N]) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}
