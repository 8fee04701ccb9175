package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/hadirector/hadirector/healthcheck"
)

// processCheck counts the processes of a name in /proc.
type processCheck struct {
	name   string // as it is compared
	said   string // as it is configured
	file   string // of /proc/PID that holds it
	quorum int
	proc   string // where /proc is
}

// commLength is how much of a command's name the kernel keeps (TASK_COMM_LEN in
// linux/sched.h, less the final NUL).
const commLength = 15

func newProcess(sp healthcheck.Spec) (*processCheck, error) {
	p := sp.Process
	if p.Name == "" {
		return nil, errors.New("no process is named")
	}
	c := &processCheck{name: p.Name, said: p.Name, file: "cmdline", quorum: max(1, p.Quorum), proc: "/proc"}
	if !p.Full {
		c.file = "comm"
		c.name = p.Name[:min(len(p.Name), commLength)]
	}
	return c, nil
}

// Check succeeds when as many processes of the name run as are wanted. It stops
// counting there.
func (c *processCheck) Check(ctx context.Context) error {
	proc, err := os.Open(c.proc)
	if err != nil {
		return c.unreadable(err)
	}
	defer proc.Close()
	count := 0
	buf := make([]byte, max(256, len(c.name)+64))
	for {
		names, err := proc.Readdirnames(256)
		for _, pid := range names {
			if !digits(pid) {
				continue
			}
			counts, err := c.matches(pid, buf)
			if counts && err == nil {
				counts, err = c.runs(pid, buf)
			}
			if err != nil {
				return c.unreadable(err)
			}
			if !counts {
				continue
			}
			if count++; count >= c.quorum {
				return nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return c.tooFew(count)
		case err != nil:
			return c.unreadable(err)
		case ctx.Err() != nil:
			return &cause{text: "not asked: no time to read the list of processes", errs: []error{healthcheck.ErrNotAsked, ctx.Err()}}
		}
	}
}

func (c *processCheck) tooFew(count int) error {
	if count == 0 {
		return &cause{text: fmt.Sprintf("no process %s runs", printable(c.said))}
	}
	return &cause{text: fmt.Sprintf("%d of %d processes %s run", count, c.quorum, printable(c.said))}
}

// matches tells whether a process has the name. One that has ended meanwhile has not.
func (c *processCheck) matches(pid string, buf []byte) (bool, error) {
	text, err := readStart(c.proc+"/"+pid+"/"+c.file, buf)
	if err != nil {
		return false, own(err)
	}
	if c.file == "comm" {
		return string(bytes.TrimSuffix(text, []byte("\n"))) == c.name, nil
	}
	// The arguments end with NUL each; a program that writes its own title may leave
	// more of them.
	text = bytes.TrimRight(text, "\x00")
	return len(text) == len(c.name) && strings.ReplaceAll(string(text), "\x00", " ") == c.name, nil
}

// runs tells whether a process is more than an entry in the kernel's list.
func (c *processCheck) runs(pid string, buf []byte) (bool, error) {
	stat, err := readStart(c.proc+"/"+pid+"/stat", buf)
	if err != nil {
		return false, own(err)
	}
	// pid (comm) state ...; comm may hold anything, at most 15 bytes of it.
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 || end+2 >= len(stat) {
		return false, nil
	}
	const zombie, dead, exiting = 'Z', 'X', 'x'
	state := stat[end+2]
	return state != zombie && state != dead && state != exiting, nil
}

// own is err if it tells of the director: other processes just end meanwhile.
func own(err error) error {
	var errno syscall.Errno
	errors.As(err, &errno)
	if _, is := ownTrouble[errno]; is {
		return err
	}
	return nil
}

// readStart reads the beginning of a small file into buf.
func readStart(path string, buf []byte) ([]byte, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(fd)
	n, err := syscall.Read(fd, buf)
	return buf[:max(n, 0)], err
}

// unreadable is the cause when /proc cannot be read, which says nothing about processes.
func (c *processCheck) unreadable(err error) error {
	return &cause{text: fmt.Sprintf("not asked: %s cannot be read: %v", c.proc, innermostPath(err)), errs: []error{healthcheck.ErrNotAsked, err}}
}
