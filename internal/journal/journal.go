package journal

import (
	"context"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Options are how a journal is kept.
type Options struct {
	Dir      string       // the state directory; empty: in memory only
	MaxBytes int64        // of each of the two files; 0: 4 MiB
	Memory   int          // records in memory; 0: 4096
	Logger   *slog.Logger // nil: none
}

// Journal is an open journal. Its methods may be called by anybody at any time, and
// none of them waits for the disk but Read.
type Journal struct {
	opts  Options
	files files // nil: in memory only

	mu sync.Mutex // guards what follows; nothing is done under it that can wait
	// records are the newest, by number, without holes but where the disk had some.
	records []Record
	last    uint64        // number of the newest record ever
	older   bool          // the disk may hold records from before records
	changed chan struct{} // closed, and replaced, when a record comes
	status  Status
}

// Status is how the journal is.
type Status struct {
	Records uint64 // appended since the start
	Lost    uint64 // of those, how many will never be on disk
	Err     error  // why the disk is not written at the moment; nil: it is
}

// Open reads what a former process left. It never fails: what cannot be read is told to
// the log, and the journal begins with what could be.
func Open(o Options) *Journal {
	if o.MaxBytes == 0 {
		o.MaxBytes = 4 << 20
	}
	if o.Memory == 0 {
		o.Memory = 4096
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	j := &Journal{opts: o, changed: make(chan struct{})}
	if o.Dir == "" {
		return j
	}
	j.files = directory(o.Dir)
	l, err := load(o.Dir)
	if err != nil {
		o.Logger.Error("journal cannot be read", "err", err)
	}
	if l.cut > 0 {
		o.Logger.Warn("incomplete last record of the journal dropped", "bytes", l.cut)
	}
	if l.damaged > 0 {
		o.Logger.Warn("damaged records of the journal skipped", "records", l.damaged)
	}
	for _, r := range l.records {
		j.last = max(j.last, r.Seq)
	}
	j.records = l.records
	j.older = err != nil
	j.trim()
	return j
}

// trim keeps the newest records. To copy seldom it lets a quarter more come together.
func (j *Journal) trim() {
	if n := len(j.records) - j.opts.Memory; n > 0 && len(j.records) > j.opts.Memory+j.opts.Memory/4 {
		j.records = slices.Clone(j.records[n:])
		j.older = true
	}
}

// Append adds a record and returns its number.
func (j *Journal) Append(r Record) uint64 {
	r = r.clean(time.Now())
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	j.status.Records++
	r.Seq = j.last
	j.records = append(j.records, r)
	j.trim()
	close(j.changed)
	j.changed = make(chan struct{})
	return r.Seq
}

// Last is the number of the newest record; 0: there is none.
func (j *Journal) Last() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last
}

// Status returns how the journal is.
func (j *Journal) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.status
}

// Recent returns the records in memory, oldest first: the newest of all.
func (j *Journal) Recent() []Record {
	records, _ := j.after(0)
	return records
}

// after returns the records in memory with higher numbers, and a channel that is closed
// when there are more.
func (j *Journal) after(seq uint64) ([]Record, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	// From the end: numbers only grow there, while a disk may hold anything.
	i := len(j.records)
	for i > 0 && j.records[i-1].Seq > seq {
		i--
	}
	return slices.Clone(j.records[i:]), j.changed
}

// Follow yields the records in memory with numbers above since, and then every new one
// until ctx is done. One who cannot keep up misses records, which their numbers show.
func (j *Journal) Follow(ctx context.Context, since uint64) iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for {
			records, changed := j.after(since)
			for _, r := range records {
				if ctx.Err() != nil || !yield(r) {
					return
				}
				since = r.Seq
			}
			if len(records) > 0 {
				continue
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Read returns the records since a time, oldest first, from memory and, if that does not
// reach back far enough, from disk. With an error it still returns what it could read.
func (j *Journal) Read(since time.Time) ([]Record, error) {
	j.mu.Lock()
	recent, older := slices.Clone(j.records), j.older
	j.mu.Unlock()
	if !older || len(recent) > 0 && recent[0].At.Before(since) {
		return keepSince(recent, since), nil
	}
	stored, err := ReadDir(j.opts.Dir, since)
	type id struct {
		seq uint64
		at  time.Time
	}
	known := make(map[id]bool, len(recent))
	for _, r := range recent {
		known[id{r.Seq, r.At}] = true
	}
	stored = slices.DeleteFunc(stored, func(r Record) bool { return known[id{r.Seq, r.At}] })
	return append(stored, keepSince(recent, since)...), err
}
