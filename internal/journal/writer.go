package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// retryInterval is how long to leave a disk alone that could not be written.
const retryInterval = 10 * time.Second

// Run writes the records to disk until ctx is done and all that were appended before
// are written, and returns nil. It is called once, by a goroutine that does nothing
// else, because a disk may keep it waiting.
func (j *Journal) Run(ctx context.Context) error {
	if j.files == nil {
		<-ctx.Done()
		return nil
	}
	w := writer{files: j.files, max: j.opts.MaxBytes, written: j.unwritten()}
	defer w.close()
	for {
		records, changed := j.after(w.written)
		if len(records) == 0 {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
			}
			// What was appended just before is not to be lost.
			if records, _ = j.after(w.written); len(records) == 0 {
				return nil
			}
		}
		lost, err := w.write(records)
		j.report(lost, err)
		if err == nil {
			continue
		}
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
			return nil
		}
	}
}

// unwritten is the number of the last record that is on disk.
func (j *Journal) unwritten() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last - j.status.Records
}

// report keeps and logs the writer's state when it changes.
func (j *Journal) report(lost uint64, err error) {
	j.mu.Lock()
	before := j.status.Err
	j.status.Err = err
	j.status.Lost += lost
	j.mu.Unlock()
	switch {
	case err != nil && before == nil:
		j.opts.Logger.Error("journal cannot be written, it goes on in memory", "err", err)
	case err == nil && before != nil:
		j.opts.Logger.Info("journal is written again")
	}
	if lost > 0 {
		j.opts.Logger.Warn("records of the journal lost before they were written", "records", lost)
	}
}

// writer is the state of the goroutine that writes.
type writer struct {
	files   files
	max     int64
	f       file // nil: not open
	size    int64
	written uint64 // number of the last record on disk
}

// write writes records in order. After an error the file is closed, and written says
// what is on disk all the same. lost counts the records that were no longer in memory.
func (w *writer) write(records []Record) (lost uint64, err error) {
	if w.f == nil {
		if w.f, w.size, err = w.files.open(); err != nil {
			w.f = nil
			return 0, err
		}
	}
	if gap := records[0].Seq - w.written - 1; gap > 0 {
		last := records[0].Seq - 1
		records = append([]Record{{
			Seq:  last,
			At:   records[0].At,
			Kind: Gap,
			Text: fmt.Sprintf("%d events could not be written", gap),
		}}, records...)
		defer func() {
			if w.written >= last {
				lost = gap
			}
		}()
	}
	for len(records) > 0 && err == nil {
		records, err = w.fill(records)
	}
	if err == nil {
		err = w.f.Sync()
	}
	if err != nil {
		w.close()
	}
	return lost, err
}

// fill writes what the current file has room for, at least one record, in one call.
func (w *writer) fill(records []Record) (rest []Record, err error) {
	var lines []byte
	var ends []int // of the lines
	for _, r := range records {
		longer := r.AppendTo(lines)
		if len(ends) > 0 && w.size+int64(len(longer)) > w.max {
			break
		}
		lines, ends = longer, append(ends, len(longer))
	}
	if w.size > 0 && w.size+int64(ends[0]) > w.max {
		return records, w.rotate()
	}
	n, err := w.f.Write(lines)
	w.size += int64(n)
	for i, end := range ends {
		// A line that is there is not written again, or it would be there twice.
		if end <= n {
			w.written = records[i].Seq
		}
	}
	return records[len(ends):], err
}

func (w *writer) rotate() error {
	// Synced, because nobody looks at this file again.
	err := errors.Join(w.f.Sync(), w.f.Close())
	w.f = nil
	if err != nil {
		return err
	}
	if err := w.files.rotate(); err != nil {
		return err
	}
	w.f, w.size, err = w.files.open()
	if err != nil {
		w.f = nil
	}
	return err
}

func (w *writer) close() {
	if w.f != nil {
		w.f.Close()
		w.f = nil
	}
}
