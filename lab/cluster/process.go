package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that runs on a machine. Its output is kept, line by line.
type Process struct {
	Machine string
	Name    string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process has ended and its output is read

	mu      sync.Mutex // guards lines and changed
	lines   []Line
	changed chan struct{} // closed and replaced at each new line, and at the end
}

// Pin gives a machine one processor of its own: what is started on it from now on runs there
// and nowhere else. What its kernel does for its network goes on anywhere.
func (c *Cluster) Pin(machine string, processor int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pinned[machine] = processor
}

// Start starts a program on a machine. It runs in a process group of its own, so that a
// Ctrl-C in the terminal reaches the lab alone, which then ends it in order.
func (c *Cluster) Start(machine, name string, args ...string) (*Process, error) {
	c.mu.Lock()
	processor, pinned := c.pinned[machine]
	c.mu.Unlock()
	if pinned {
		args = append([]string{"taskset", "--cpu-list", strconv.Itoa(processor)}, args...)
	}
	p := &Process{
		Machine: machine,
		Name:    name,
		cmd:     exec.Command("ip", append([]string{"netns", "exec", c.Namespace(machine)}, args...)...),
		done:    make(chan struct{}),
		changed: make(chan struct{}),
	}
	p.cmd.Dir = c.MachineDir(machine)
	output, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}

	started := make(chan error)
	c.spawn <- func() { started <- p.cmd.Start() }
	if err := <-started; err != nil {
		output.Close()
		return nil, fmt.Errorf("start %s on %s: %w", name, machine, err)
	}
	go func() {
		defer output.Close()
		p.follow(bufio.NewScanner(output), c.log)
	}()
	c.mu.Lock()
	c.processes = append(c.processes, p)
	c.mu.Unlock()
	return p, nil
}

// StartOnSwitch starts a program where the bridges are: br0 sees all that travels on the LAN.
func (c *Cluster) StartOnSwitch(name string, args ...string) (*Process, error) {
	return c.Start(network, name, args...)
}

// follow keeps and passes on the output until the program, and what it started, is gone.
func (p *Process) follow(output *bufio.Scanner, log func(Line)) {
	for output.Scan() {
		line := Line{At: time.Now(), Machine: p.Machine, Process: p.Name, Text: output.Text()}
		p.mu.Lock()
		p.lines = append(p.lines, line)
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
		log(line)
	}
	_ = p.cmd.Wait() // ExitCode has the status
	close(p.done)
}

// Lines returns what the process has printed so far.
func (p *Process) Lines() []Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines[:len(p.lines):len(p.lines)]
}

// Wait returns the first line, from index from on, that contains all of parts, and the
// index after it. It waits until there is one, the process ends, or ctx is done; the
// error then shows what the process said instead.
func (p *Process) Wait(ctx context.Context, from int, parts ...string) (Line, int, error) {
	for {
		p.mu.Lock()
		lines, changed := p.lines, p.changed
		p.mu.Unlock()
		for ; from < len(lines); from++ {
			if containsAll(lines[from].Text, parts) {
				return lines[from], from + 1, nil
			}
		}
		select {
		case <-changed:
		case <-p.done:
			if p.seen() > from {
				continue
			}
			return Line{}, from, fmt.Errorf("%s on %s ended with status %d before it said %q:\n%s",
				p.Name, p.Machine, p.ExitCode(), parts, p.Output())
		case <-ctx.Done():
			return Line{}, from, fmt.Errorf("%s on %s did not say %q: %w:\n%s",
				p.Name, p.Machine, parts, context.Cause(ctx), p.Output())
		}
	}
}

func (p *Process) seen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

func containsAll(s string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(s, part) {
			return false
		}
	}
	return true
}

// Output is all that the process has printed, as one text.
func (p *Process) Output() string {
	var b strings.Builder
	for _, l := range p.Lines() {
		b.WriteString(l.Text)
		b.WriteByte('\n')
	}
	return b.String()
}

// PID is the process's id, and that of the group of what it starts.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal to the process alone.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Stop asks the process to terminate and waits until it has, for ten seconds at most;
// then it kills it and says so.
func (p *Process) Stop() error {
	_ = p.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
		return nil
	case <-time.After(10 * time.Second):
		p.Kill()
		return fmt.Errorf("%s on %s did not end within 10 s of SIGTERM:\n%s", p.Name, p.Machine, p.Output())
	}
}

// Kill ends the process and what it started with SIGKILL, as a crash would, and waits.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return // the group's id may belong to somebody else by now
	default:
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is the process's exit status; -1 while it runs or if a signal ended it.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}
