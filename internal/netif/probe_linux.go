package netif

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/packet"

	"github.com/hadirector/hadirector/vrrp"
)

const (
	// probeWindow is how long after the last question answers are taken in. Machines
	// answer at once; what takes longer is a switch that learns, or a busy processor.
	probeWindow = 500 * time.Millisecond
	// probePause is the time between two questions: 255 of them take a quarter of a
	// second and fill nobody's queue.
	probePause = time.Millisecond
	// maxMACs is how many machines that answer for one address are told apart.
	maxMACs = 16
)

// Prober asks segments who has an address. It keeps nothing between rounds and may be
// used by any goroutine.
type Prober struct{}

// Probe asks and returns after half a second, and a millisecond for each address, what
// was answered. A machine does not answer itself, so the interface's own addresses are
// looked up. Addresses of in.Own that this machine has no address to ask from are left
// out. When ctx ends, Probe returns its error.
func (Prober) Probe(ctx context.Context, in vrrp.Inquiry) (vrrp.Answers, error) {
	got, err := probe(ctx, in)
	if err != nil {
		return vrrp.Answers{}, fmt.Errorf("ask who has the addresses on %s: %w", in.Interface, err)
	}
	return got, nil
}

func probe(ctx context.Context, in vrrp.Inquiry) (vrrp.Answers, error) {
	ifi, err := net.InterfaceByName(in.Interface)
	if err != nil {
		return vrrp.Answers{}, err
	}
	if len(ifi.HardwareAddr) != 6 {
		return vrrp.Answers{}, errors.New("the interface has no Ethernet address")
	}
	own, err := ownAddresses(in.Interface)
	if err != nil {
		return vrrp.Answers{}, err
	}
	r := round{mac: ifi.HardwareAddr, asked: make(map[netip.Addr]netip.Addr), by: make(map[netip.Addr][]vrrp.Answer)}
	for _, a := range in.Virtual {
		var source netip.Addr // a probe has none
		if a.Is6() {
			// An answer to a probe goes to all nodes. If the sender's Ethernet address is
			// that of a macvlan here, as with the same virtual router on both sides, the
			// kernel takes it for the macvlan's own and shows it to nobody. One to our
			// address arrives, and cannot be mistaken for an announcement.
			source, _ = askFrom(a, own, in.Virtual)
		}
		if err := r.ask(a, source); err != nil {
			return vrrp.Answers{}, err
		}
	}
	for _, a := range in.Own {
		if source, ok := askFrom(a, own, in.Virtual); ok {
			if err := r.ask(a, source); err != nil {
				return vrrp.Answers{}, err
			}
		}
	}
	// Before the round: what comes while it goes on is looked up in the next one.
	held, err := holds(own, in)
	if err != nil {
		return vrrp.Answers{}, err
	}
	if err := r.run(ctx, ifi); err != nil {
		return vrrp.Answers{}, err
	}
	return vrrp.Answers{By: r.by, Held: held}, nil
}

// askFrom chooses the address to ask for another machine's from: over IPv4 the one in
// its network, over IPv6 the link-local one, never a virtual one.
func askFrom(target netip.Addr, own []netip.Prefix, virtual []netip.Addr) (netip.Addr, bool) {
	for _, p := range own {
		a := p.Addr()
		if a.Is4() != target.Is4() || a == target || slices.Contains(virtual, a) {
			continue
		}
		if a.Is4() && p.Masked().Contains(target) || a.Is6() && a.IsLinkLocalUnicast() {
			return a, true
		}
	}
	return netip.Addr{}, false
}

// holds returns the virtual addresses that this machine has.
func holds(own []netip.Prefix, in vrrp.Inquiry) ([]netip.Addr, error) {
	for _, name := range in.Links {
		more, err := ownAddresses(name)
		if err != nil {
			return nil, err
		}
		own = append(own, more...)
	}
	var held []netip.Addr
	for _, a := range in.Virtual {
		if slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Addr() == a }) {
			held = append(held, a)
		}
	}
	return held, nil
}

// ownAddresses returns the addresses of an interface. One that is not there has none: a
// virtual router's link exists as long as it is wanted.
func ownAddresses(ifname string) ([]netip.Prefix, error) {
	ifi, err := net.InterfaceByName(ifname)
	if err != nil {
		return nil, nil
	}
	addrs, err := ifi.Addrs()
	if err != nil {
		return nil, err
	}
	var own []netip.Prefix
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if p, ok := prefixOf(n); ok {
				own = append(own, p)
			}
		}
	}
	return own, nil
}

// round is the questions of one call and the answers to them.
type round struct {
	mac       net.HardwareAddr
	questions []asked
	asked     map[netip.Addr]netip.Addr // and the address it is asked for from, if from one

	mu sync.Mutex // guards by: each family has a reader
	by map[netip.Addr][]vrrp.Answer
}

// asked is one question.
type asked struct {
	family vrrp.Family
	frame  []byte
}

func (r *round) ask(target, source netip.Addr) error {
	if _, done := r.asked[target]; done {
		return nil
	}
	f, err := question(r.mac, target, source)
	if err != nil {
		return err
	}
	r.asked[target] = source
	r.questions = append(r.questions, asked{vrrp.FamilyOf(target), f})
	return nil
}

// run sends the questions and collects the answers. Its sockets and readers are gone
// when it returns.
func (r *round) run(ctx context.Context, ifi *net.Interface) error {
	conns := make(map[vrrp.Family]*packet.Conn)
	var readers sync.WaitGroup
	var readErr error
	var once sync.Once
	defer readers.Wait()
	defer func() { // first, so that the readers end
		for _, c := range conns {
			c.Close()
		}
	}()
	for _, q := range r.questions {
		if conns[q.family] != nil {
			continue
		}
		c, err := r.listen(ifi, q.family)
		if err != nil {
			return err
		}
		conns[q.family] = c
		readers.Go(func() {
			if err := r.read(c, q.family); err != nil {
				once.Do(func() { readErr = err })
			}
		})
	}
	for _, q := range r.questions {
		if err := write(conns[q.family], q.frame, time.Now().Add(announceTimeout)); err != nil {
			return err
		}
		if err := pause(ctx, probePause); err != nil {
			return err
		}
	}
	if err := pause(ctx, probeWindow); err != nil {
		return err
	}
	for _, c := range conns {
		if err := c.SetReadDeadline(time.Now()); err != nil {
			return err
		}
	}
	readers.Wait()
	return readErr
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// listen opens the socket that sends the questions of a family and gets the answers.
func (r *round) listen(ifi *net.Interface, family vrrp.Family) (*packet.Conn, error) {
	filter, err := answerFilter(family, r.mac)
	if err != nil {
		return nil, fmt.Errorf("assemble filter: %w", err)
	}
	protocol := etherTypeARP
	if family == vrrp.IPv6 {
		protocol = etherTypeIPv6
	}
	c, err := packet.Listen(ifi, packet.Raw, protocol, &packet.Config{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	if family == vrrp.IPv6 {
		// A probe has no address that could be answered, so the answer goes to all.
		if err := c.JoinGroup(allNodesMAC); err != nil {
			c.Close()
			return nil, fmt.Errorf("join all nodes: %w", err)
		}
	}
	return c, nil
}

// read takes in answers until the deadline, or until the socket is closed.
func (r *round) read(c *packet.Conn, family vrrp.Family) error {
	b := make([]byte, maxAnswerFrame)
	for {
		n, _, err := c.ReadFrom(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, os.ErrClosed), errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("read answers: %w", err)
		}
		a, ok := parseARPAnswer(b[:n], r.mac)
		if family == vrrp.IPv6 {
			a, ok = parseNeighbourAdvertisement(b[:n])
		}
		if source, asked := r.asked[a.addr]; ok && asked && !(a.unsolicited && source.IsValid()) {
			r.note(a)
		}
	}
}

// note counts an answer.
func (r *round) note(a answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.by[a.addr]
	if i := slices.IndexFunc(list, func(b vrrp.Answer) bool { return b.MAC == a.mac }); i >= 0 {
		list[i].Times++
	} else if len(list) < maxMACs {
		r.by[a.addr] = append(list, vrrp.Answer{MAC: a.mac, Times: 1})
	}
}
