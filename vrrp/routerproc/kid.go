package routerproc

import (
	"errors"
	"fmt"
	"time"
)

// kid is a child that runs, with what is between it and its parent.
type kid struct {
	Child
	pipe   *pipe[fromChild, toChild]
	begun  time.Time
	told   bool   // it has been told its start
	talks  bool   // it has said something
	facts  Facts  // that it has said
	killed string // why its parent killed it
	// overdue is when one that was killed is given up, though its connection has not
	// closed: it hangs in the kernel, or a debugger has it. It runs no more.
	overdue <-chan time.Time
	pinging bool // a ping is to be sent
	// silence counts the ticks since the last ping was due, -1 if that one has been
	// answered; pings counts all.
	silence, pings int
}

func newKid(c Child, now time.Time) *kid {
	return &kid{Child: c, pipe: newPipe[fromChild, toChild](c.Conn()), begun: now, silence: -1}
}

// in is what it says; nil if there is no child.
func (k *kid) in() <-chan fromChild {
	if k == nil {
		return nil
	}
	return k.pipe.in
}

// out takes what it is told next; nil if there is nothing.
func (k *kid) out(more bool) chan<- toChild {
	if !more {
		return nil
	}
	return k.pipe.out
}

// heard takes in what concerns the child itself.
func (k *kid) heard(m fromChild) {
	k.talks = true
	switch {
	case m.Facts != nil:
		k.facts = *m.Facts
	case m.Pong != nil:
		k.silence = -1
	}
}

// tick makes a ping due, or kills a child that has not answered the last ones.
func (k *kid) tick() {
	if k == nil || k.killed != "" {
		return
	}
	if k.silence < 0 {
		k.silence, k.pinging = 0, true
		k.pings++
		return
	}
	k.silence++
	limit := maxSilence
	if !k.talks {
		limit = maxStartSilence
	}
	if k.silence >= limit {
		k.kill(fmt.Sprintf("no answer for %v, killed", time.Duration(k.silence)*pingInterval))
	}
}

func (k *kid) kill(why string) {
	k.killed, k.overdue = why, time.After(reapPatience)
	k.Kill()
}

// givenUp delivers when it is given up; nil if there is no child.
func (k *kid) givenUp() <-chan time.Time {
	if k == nil {
		return nil
	}
	return k.overdue
}

// stopped delivers when it was stopped by a signal; nil if that makes no difference.
func (k *kid) stopped() <-chan struct{} {
	if k == nil || k.killed != "" {
		return nil
	}
	return k.Stopped()
}

// halted takes in that it was stopped by a signal: whatever that was for, it does not
// advertise any more, and keeps its addresses. On a machine that stood still as a whole it
// goes on together with this process.
func (k *kid) halted(all bool) {
	if !all {
		k.kill("stopped by a signal, killed")
	}
}

// lost makes sure, when its connection is closed, that it writes nothing any more. One
// that closed it has ended but for its memory.
func (k *kid) lost() {
	if errors.Is(k.pipe.err, errGarbled) {
		k.kill(k.pipe.err.Error() + ", killed")
	}
}

// why reaps a child and says why it ended.
func (k *kid) why() string {
	if err := k.reap(); err != nil {
		return err.Error()
	}
	return "exit status 0"
}

// reapPatience is how long a child may take to end after it has closed its connection, or
// has been killed.
const reapPatience = 2 * time.Second

// reap waits for a child whose connection is closed or which was killed, and returns why it
// ended. One that does not end even then is left behind: it is the kernel's or a debugger's,
// and does nothing any more.
func (k *kid) reap() error {
	ended := make(chan error, 1)
	go func() { ended <- k.Wait() }()
	err := errors.New("killed, and the kernel does not let it end")
	for range 2 {
		timer := time.NewTimer(reapPatience)
		select {
		case err = <-ended:
		case <-timer.C:
			k.Kill()
			continue
		}
		timer.Stop()
		break
	}
	k.pipe.close()
	if k.killed != "" {
		err = errors.New(k.killed)
	}
	return err
}
