package routerproc

import (
	"errors"
	"fmt"
	"time"
)

// kid is a child that runs, with what is between it and its parent.
type kid struct {
	Child
	pipe    *pipe[fromChild, toChild]
	begun   time.Time
	told    bool   // it has been told its start
	talks   bool   // it has said something
	facts   Facts  // that it has said
	killed  string // why its parent killed it
	pinging bool   // a ping is to be sent
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
	k.killed = why
	k.Kill()
}

// end reaps a child and says why it ended at a time.
func (k *kid) end(at time.Time) End {
	e := End{At: at, PID: k.PID(), Why: "exit status 0"}
	if err := k.reap(); err != nil {
		e.Why = err.Error()
	}
	return e
}

// reapPatience is how long a child may take to end after it has closed its connection.
const reapPatience = 2 * time.Second

// reap waits for a child whose connection is closed, and returns why it ended.
func (k *kid) reap() error {
	ended := make(chan error, 1)
	go func() { ended <- k.Wait() }()
	timer := time.NewTimer(reapPatience)
	defer timer.Stop()
	var err error
	select {
	case err = <-ended:
	case <-timer.C:
		k.Kill()
		err = <-ended
	}
	k.pipe.close()
	if k.killed != "" {
		err = errors.New(k.killed)
	}
	return err
}
