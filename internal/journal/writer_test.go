package journal

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// fullDisk is a journal directory with little room.
type fullDisk struct {
	mu                sync.Mutex
	room              int // bytes that can still be written
	current, previous []byte
	opens             int
	syncs             error
}

func (d *fullDisk) open() (file, int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.opens++
	d.current = d.current[:bytes.LastIndexByte(d.current, '\n')+1]
	return fullFile{d}, int64(len(d.current)), nil
}

func (d *fullDisk) rotate() error {
	d.previous, d.current = d.current, nil
	return nil
}

func (d *fullDisk) give(room int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = room
}

type fullFile struct{ *fullDisk }

func (f fullFile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(b), f.room)
	f.current = append(f.current, b[:n]...)
	f.room -= n
	if n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func (f fullFile) Sync() error  { return f.syncs }
func (f fullFile) Close() error { return nil }

func (d *fullDisk) stored(t *testing.T) []Record {
	t.Helper()
	var l loaded
	l.parse(d.previous)
	l.parse(d.current)
	if l.damaged > 0 {
		t.Errorf("%d damaged lines in\n%s", l.damaged, d.current)
	}
	return l.records
}

func TestFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said notes
		j := Open(Options{Memory: 40, Logger: said.logger()})
		// A record has 50 bytes: the third of these is cut short.
		disk := &fullDisk{room: 120}
		j.opts.MaxBytes, j.files = 1<<20, disk
		stop := run(t, j)
		at := time.Unix(1_000_000_000, 0)
		for range 9 {
			j.Append(Record{At: at, Kind: "kind"})
		}
		synctest.Wait()
		const full = "level=ERROR msg=\"journal cannot be written, it goes on in memory\" err=\"no space left on device\"\n"
		if s := said.take(); s != full {
			t.Errorf("logged %q, want %q", s, full)
		}
		if s := j.Status(); !errors.Is(s.Err, syscall.ENOSPC) || s.Records != 9 || s.Lost != 0 {
			t.Errorf("status %+v", s)
		}
		// An hour without room: tried again each ten seconds, not a word more.
		time.Sleep(time.Hour)
		synctest.Wait()
		if s := said.take(); s != "" {
			t.Errorf("logged %q again", s)
		}
		if disk.opens < 300 || disk.opens > 362 {
			t.Errorf("%d attempts in an hour", disk.opens)
		}
		if records, err := j.Read(time.Time{}); err != nil || len(records) != 9 {
			t.Errorf("meanwhile %d records can be read, %v; want 9", len(records), err)
		}

		disk.give(1 << 20)
		time.Sleep(retryInterval)
		synctest.Wait()
		if s := said.take(); s != "level=INFO msg=\"journal is written again\"\n" {
			t.Errorf("logged %q", s)
		}
		checkNumbers(t, "with room again", disk.stored(t), 1, 2, 3, 4, 5, 6, 7, 8, 9)

		// More than memory holds while there is no room.
		disk.give(0)
		for range 1000 {
			j.Append(Record{At: at, Kind: "kind"})
		}
		synctest.Wait()
		said.take()
		disk.give(1 << 20)
		time.Sleep(retryInterval)
		synctest.Wait()
		stored := disk.stored(t)
		gap := stored[9]
		kept := len(stored) - 10
		if gap.Kind != Gap || gap.Text != fmt.Sprintf("%d events could not be written", 1000-kept) || gap.Seq != uint64(1009-kept) {
			t.Errorf("after %d records come %+v and %d more", 9, gap, kept)
		}
		if kept < 40 || kept > 50 || stored[len(stored)-1].Seq != 1009 {
			t.Errorf("of a thousand %d are stored, the last is %d", kept, stored[len(stored)-1].Seq)
		}
		if s := j.Status(); s.Err != nil || s.Lost != uint64(1000-kept) {
			t.Errorf("status %+v, want %d lost", s, 1000-kept)
		}
		stop()
	})
}

// A disk that never answers holds up nobody but the writer.
func TestStuckDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := Open(Options{Memory: 10})
		release := make(chan struct{})
		j.files = stuckDisk(release)
		stop := run(t, j)
		start := time.Now()
		for range 10_000 {
			j.Append(Record{Kind: "x"})
		}
		if took := time.Since(start); took != 0 {
			t.Errorf("Append waited %v", took)
		}
		if records, _ := j.after(9_999); len(records) != 1 {
			t.Errorf("%d new records can be read, want 1", len(records))
		}
		close(release)
		stop()
	})
}

type stuckDisk chan struct{}

func (d stuckDisk) open() (file, int64, error) {
	<-d
	return nil, 0, errors.New("stuck")
}
func (d stuckDisk) rotate() error { return nil }
