package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/hadirector/hadirector/lab/cluster"
	"github.com/hadirector/hadirector/lab/load"
)

const (
	// crashLimit ends a scenario that does not come to an end.
	crashLimit = 10 * time.Minute
	// goOnLimit is how long a connection may be silent that goes on. TCP sends again what was
	// lost, so this is many times what it needs.
	goOnLimit = 20 * time.Second
)

// crash is a Master that loses its power, with idle connections, and comes back.
type crash struct {
	both  bool          // the standby is there before the connections are
	netem string        // what the sync network does to packets
	cut   time.Duration // for how long there is none, while half of the connections are opened
}

func (e crash) measure(ctx context.Context, o SyncOptions, s syncer) (figures []figure, synced time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, crashLimit, fmt.Errorf("it took longer than %v", crashLimit))
	defer cancel()
	b, err := newSyncBed(o, s, e.netem)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.start(ctx, cluster.LBA, s.toMaster()); err != nil {
		return nil, 0, err
	}
	synced, known, err := e.open(ctx, b)
	if err != nil {
		return nil, 0, err
	}

	if err := b.told(); err != nil {
		return nil, 0, err
	}
	lbb := b.lb[cluster.LBB]
	mark := len(lbb.Lines())
	if err := b.PowerOff(cluster.LBA); err != nil {
		return nil, 0, err
	}
	if _, mark, err = lbb.Wait(ctx, mark, s.toMaster()...); err != nil {
		return nil, 0, err
	}
	kept := b.goOn(ctx)
	// What was lost is opened anew, so that as many are there when the Master comes back.
	if err := errors.Join(b.dial(ctx, o.Connections-kept), b.rest(ctx)); err != nil {
		return nil, 0, err
	}

	if err := errors.Join(b.PowerOn(cluster.LBA), b.wire(cluster.LBA)); err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	if err := b.start(ctx, cluster.LBA, s.toMaster()); err != nil {
		return nil, 0, err
	}
	back := time.Since(begin)
	if _, _, err := lbb.Wait(ctx, mark, s.toBackup()...); err != nil {
		return nil, 0, err
	}
	if err := b.told(); err != nil {
		return nil, 0, err
	}
	keptAgain := b.goOn(ctx)
	first, second := part("go on after the Master's power cut", kept, o.Connections), part("go on after its return", keptAgain, o.Connections)
	first.short, second.short = kept < o.Connections, keptAgain < o.Connections
	return []figure{
		b.syncedFigure("in sync after", synced, known), first,
		took("Master again after", back), second,
	}, synced, nil
}

// open opens the connections, has the standby started, and waits until it knows them. It
// returns how long that took, from when there was something to be told and somebody to hear
// it.
func (e crash) open(ctx context.Context, b *syncBed) (synced time.Duration, known bool, err error) {
	standby := func() error { return b.start(ctx, cluster.LBB, b.s.toBackup()) }
	if !e.both {
		if err := errors.Join(b.dial(ctx, b.o.Connections), b.rest(ctx)); err != nil {
			return 0, false, err
		}
		begin := time.Now()
		if err := standby(); err != nil {
			return 0, false, err
		}
		return b.inSync(ctx, b.o.Connections, begin)
	}
	if err := standby(); err != nil {
		return 0, false, err
	}
	if _, _, err := b.inSync(ctx, 0, time.Now()); err != nil {
		return 0, false, err
	}
	before := b.o.Connections
	if e.cut > 0 {
		before /= 2
	}
	if err := b.dial(ctx, before); err != nil {
		return 0, false, err
	}
	begin := time.Now()
	if e.cut > 0 {
		// They have time to be told, all before the cut.
		if _, _, err := b.inSync(ctx, before, begin); err != nil {
			return 0, false, err
		}
		mended := time.Now().Add(e.cut)
		if err := b.CutSync(cluster.LBA); err != nil {
			return 0, false, err
		}
		err := b.dial(ctx, b.o.Connections-before)
		if err := errors.Join(err, sleep(ctx, mended), b.MendSync(cluster.LBA)); err != nil {
			return 0, false, err
		}
		begin = time.Now()
	}
	return b.inSync(ctx, b.o.Connections, begin)
}

// rest waits until the connections are idle: until then the kernel's daemon may still tell of
// them, which the next to start would hear.
func (b *syncBed) rest(ctx context.Context) error { return sleep(ctx, time.Now().Add(b.o.Rest)) }

// dial opens connections to the echo service. A line is exchanged on each.
func (b *syncBed) dial(ctx context.Context, n int) error {
	if n == 0 {
		return nil
	}
	conns, err := load.Open(ctx, netip.AddrPortFrom(cluster.VIP, cluster.EchoPort), n, 0, b.client)
	if err != nil {
		return err
	}
	b.conns = append(b.conns, conns)
	return nil
}

// told says how many of the connections each director has, for whoever wonders at a result.
func (b *syncBed) told() error {
	for _, machine := range []string{cluster.LBA, cluster.LBB} {
		n, err := connections(b.Cluster, machine, cluster.EchoPort)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.o.Progress, "%s: %s has %d connections\n", b.s, machine, n.all())
	}
	return nil
}

// goOn exchanges a line on each connection and returns on how many that worked.
func (b *syncBed) goOn(ctx context.Context) (kept int) {
	ctx, cancel := context.WithTimeout(ctx, goOnLimit)
	defer cancel()
	since := time.Now()
	for _, c := range b.conns {
		c.Speak()
	}
	for _, c := range b.conns {
		n, lost := c.Kept(ctx, since)
		kept += n
		fmt.Fprintf(b.o.Progress, "%s: %d connections go on; not: %v\n", b.s, n, lost)
	}
	return kept
}

// impair has a director's sync network do to packets that leave what netem says.
func (b *syncBed) impair(machine, netem string) error {
	_, err := b.Run(machine, "tc", append([]string{"qdisc", "add", "dev", "eth1", "root", "netem"}, strings.Fields(netem)...)...)
	return err
}
