package director

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

var (
	theVIP  = netip.MustParseAddr("10.0.0.100")
	addrB   = netip.MustParseAddr("10.0.0.12")
	macB    = vrrp.MAC{2, 0, 0, 0, 0, 0xb}
	macRS   = vrrp.MAC{2, 0, 0, 0, 0, 0x21}
	macVMAC = vrrp.MAC{0, 0, 0x5e, 0, 1, 51}
)

// fakeSegment is a Prober over machines that the test moves.
type fakeSegment struct {
	mu    sync.Mutex // guards everything below
	has   map[vrrp.MAC][]netip.Addr
	held  []netip.Addr
	err   error
	asked []vrrp.Inquiry
}

func (s *fakeSegment) Probe(ctx context.Context, in vrrp.Inquiry) (vrrp.Answers, error) {
	select {
	case <-ctx.Done():
		return vrrp.Answers{}, ctx.Err()
	case <-time.After(500 * time.Millisecond):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, in)
	got := vrrp.Answers{By: make(map[netip.Addr][]vrrp.Answer)}
	for mac, addrs := range s.has {
		for _, a := range addrs {
			if slices.Contains(in.Virtual, a) || slices.Contains(in.Own, a) {
				got.By[a] = append(got.By[a], vrrp.Answer{MAC: mac, Times: 1})
			}
		}
	}
	for _, a := range in.Virtual {
		if slices.Contains(s.held, a) {
			got.Held = append(got.Held, a)
		}
	}
	return got, s.err
}

// are puts machines on the segment, and addresses on this one.
func (s *fakeSegment) are(has map[vrrp.MAC][]netip.Addr, held ...netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.has, s.held = has, held
}

func (s *fakeSegment) fails(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *fakeSegment) inquiries() []vrrp.Inquiry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// machines is short for what are takes.
type machines = map[vrrp.MAC][]netip.Addr

// witnessWorld runs lb-a on a segment.
func witnessWorld(t *testing.T, toml string) (*world, *fakeSegment, *Director, func() error) {
	w, s := newWorld(t), &fakeSegment{}
	w.prober, w.peers = s, &fakePeers{}
	d, stop := w.run(toml)
	return w, s, d, stop
}

// isNow lets the virtual router be in a state, with lb-b as Master unless lb-a is, and
// tells the director.
func (w *world) isNow(from, to vrrp.State, reason vrrp.Reason) {
	s := vrrp.Snapshot{State: to, Params: vrrp.Params{Priority: 150}, MasterAddr: addrB, MasterPriority: 100}
	if to == vrrp.Master {
		s.MasterAddr = netip.MustParseAddr("10.0.0.11")
	}
	w.vrrp.snapshot(s)
	w.becomes(from, to, reason)
}

func verdictOf(t *testing.T, d *Director) string {
	t.Helper()
	s := d.Status().VirtualRouters[0].Witness
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("%s: %s", s.Addresses[0].Verdict, s.Addresses[0].Text)
}

func TestBackupWitnessesTheMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s, d, stop := witnessWorld(t, keyedTOML)
		defer stop()
		if got := verdictOf(t, d); got != "none" {
			t.Errorf("before it takes part: %s", got)
		}
		s.are(machines{macB: {addrB, theVIP}})
		w.isNow(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		isSilent(2 * time.Second)
		if got := verdictOf(t, d); got != "owner-ok: lb-b has it" {
			t.Errorf("at first: %s", got)
		}
		s.are(machines{macB: {addrB, theVIP}, macRS: {theVIP}})
		isSilent(7 * time.Second) // the next round, and the one that confirms it
		if got := verdictOf(t, d); got != "stranger: 02:00:00:00:00:21 answers for it beside lb-b, and is no director" {
			t.Errorf("with a real server that answers: %s", got)
		}
		s.are(machines{macB: {addrB}})
		isSilent(4 * time.Second)
		if got := verdictOf(t, d); got != "no-owner: nobody answers for it" {
			t.Errorf("without an owner: %s", got)
		}
		s.are(machines{macB: {addrB, theVIP}})
		isSilent(4 * time.Second)
		if diff := cmp.Diff([]string{
			"witness-stranger web: 10.0.0.100: 02:00:00:00:00:21 answers for it beside lb-b, and is no director",
			"witness-no-owner web: 10.0.0.100: nobody answers for it",
			"witness-owner-ok web: 10.0.0.100: lb-b has it",
		}, w.recorded("witness")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			`level=WARN msg="a stranger answers for a virtual address" virtual_router=web interface=eth0 vrid=51 address=10.0.0.100 was=owner-ok owners=lb-b macs=02:00:00:00:00:21`,
			`level=WARN msg="virtual address has no owner" virtual_router=web interface=eth0 vrid=51 address=10.0.0.100 was=stranger`,
			`level=INFO msg="virtual address has its owner, and nobody else" virtual_router=web interface=eth0 vrid=51 address=10.0.0.100 was=no-owner owners=lb-b`,
		}, append(w.logged("a stranger"), w.logged("virtual address has")...)); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if diff := cmp.Diff(map[vrrp.Verdict]uint64{"owner-ok": 2, "stranger": 1, "no-owner": 1}, d.Status().VirtualRouters[0].Witness.Changes); diff != "" {
			t.Errorf("changes -want +got:\n%s", diff)
		}
		if got := w.recorded("takeover"); len(got) > 0 {
			t.Errorf("a start was called a takeover: %q", got)
		}
		w.isNow(vrrp.Backup, vrrp.Fault, vrrp.ReasonFailed)
		if got := d.Status().VirtualRouters[0].Witness.Addresses[0].Verdict; got != vrrp.VerdictUnknown {
			t.Errorf("in fault: %s", got)
		}
		before := len(s.inquiries())
		isSilent(time.Minute)
		if got := len(s.inquiries()); got != before {
			t.Errorf("asked %d times in fault", got-before)
		}
	})
}

// A report crosses another way than a snapshot, and may be first.
func TestSnapshotMayComeAfterTheReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s, d, stop := witnessWorld(t, keyedTOML)
		defer stop()
		s.are(machines{macB: {addrB, theVIP}})
		w.becomes(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		isSilent(100 * time.Millisecond)
		w.vrrp.snapshot(vrrp.Snapshot{State: vrrp.Backup, MasterAddr: addrB})
		isSilent(1900 * time.Millisecond)
		if got := verdictOf(t, d); got != "owner-ok: lb-b has it" {
			t.Errorf("two seconds after the report: %s", got)
		}
	})
}

// A Backup that starts hears the Master a moment later. That is no change of Master, and
// puts nothing off.
func TestTheMastersNameMayComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s, d, stop := witnessWorld(t, keyedTOML)
		defer stop()
		s.are(machines{macB: {addrB, theVIP}})
		w.vrrp.snapshot(vrrp.Snapshot{State: vrrp.Backup})
		w.becomes(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		isSilent(500 * time.Millisecond)
		w.vrrp.snapshot(vrrp.Snapshot{State: vrrp.Backup, MasterAddr: addrB})
		isSilent(1100 * time.Millisecond)
		if got := verdictOf(t, d); got != "owner-ok: lb-b has it" {
			t.Errorf("after the first round: %s", got)
		}
	})
}

func TestLoserConfirmsTheTakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s, _, stop := witnessWorld(t, keyedTOML)
		defer stop()
		s.are(machines{macB: {addrB}}, theVIP)
		w.isNow(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		w.isNow(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		isSilent(10 * time.Second)
		s.are(machines{macB: {addrB, theVIP}})
		w.isNow(vrrp.Master, vrrp.Backup, vrrp.ReasonHigherPriority)
		isSilent(time.Minute)
		if diff := cmp.Diff([]string{
			"takeover-confirmed web: confirmed by the witness: the new Master alone answers for the virtual addresses, 1.5s after the change",
		}, w.recorded("takeover")); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if got := w.recorded("witness"); len(got) > 0 {
			t.Errorf("an orderly hand-over: %q", got)
		}
	})
}

func TestMasterAnnouncesAgainAsLongAsTheAddressIsDisputed(t *testing.T) {
	for _, tt := range []struct {
		name      string
		otherwise vrrp.State // what lb-b says that it is
		priority  string     // lb-b's
		want      bool
	}{
		{"against one that has no right", vrrp.Backup, "160", true},
		{"against a Master that comes after it", vrrp.Master, "100", true},
		{"not against a Master that comes before it", vrrp.Master, "160", false},
		{"not against a Master of the same priority and the higher address", vrrp.Master, "150", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, s, d, stop := witnessWorld(t, strings.Replace(keyedTOML, "priority = 100", "priority = "+tt.priority, 1))
				defer stop()
				w.peers.becomes(true, nil)
				w.peers.says(tt.otherwise)
				s.are(machines{macB: {addrB, theVIP}}, theVIP)
				w.isNow(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
				w.isNow(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
				isSilent(8 * time.Second) // rounds at 1, 2, 4.5, 7 s; the second confirms
				if got := verdictOf(t, d); got != "two-owners: lb-a and lb-b have it" {
					t.Errorf("verdict %s", got)
				}
				want := 0
				if tt.want {
					want = 3
				}
				got := slices.DeleteFunc(w.told(), func(l string) bool { return l != "announce web" })
				if len(got) != want {
					t.Errorf("announced %d times, want %d", len(got), want)
				}
			})
		})
	}
}

func TestWhoIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		toml := strings.Replace(keyedTOML, "[virtual_server.web]\n", `[vrrp.other]
interface         = "eth0"
vrid              = 52
virtual_addresses = ["10.0.0.101/24", "10.0.0.102/24"]
vmac              = true
[vrrp.third]
interface         = "eth2"
vrid              = 53
virtual_addresses = ["10.2.0.100/24"]
[virtual_server.web]
`, 1)
		w, s, _, stop := witnessWorld(t, toml)
		defer stop()
		w.vrrp.mu.Lock()
		w.vrrp.snapshots = map[string]vrrp.Snapshot{
			"web":   {State: vrrp.Backup, MasterAddr: addrB},
			"other": {State: vrrp.Master, MasterAddr: netip.MustParseAddr("10.0.0.11")},
			"third": {State: vrrp.Backup, MasterAddr: netip.MustParseAddr("10.2.0.12")},
		}
		w.vrrp.mu.Unlock()
		w.becomes(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		isSilent(1600 * time.Millisecond)
		want := []vrrp.Inquiry{
			{Interface: "eth0", Links: []string{"vrrp.52"}, Own: []netip.Addr{addrB},
				Virtual: []netip.Addr{theVIP, netip.MustParseAddr("10.0.0.101"), netip.MustParseAddr("10.0.0.102")}},
			// What it advertises from is on the segment for sure; the other address may be.
			{Interface: "eth2", Virtual: []netip.Addr{netip.MustParseAddr("10.2.0.100")}, Own: []netip.Addr{addrB, netip.MustParseAddr("10.2.0.12")}},
		}
		got := slices.SortedFunc(slices.Values(s.inquiries()), func(a, b vrrp.Inquiry) int { return strings.Compare(a.Interface, b.Interface) })
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

// An excluded address of the other family is on the link of its virtual router, and has
// the MAC address of that one's family.
func TestExcludedAddressOfTheOtherFamily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		excluded := netip.MustParseAddr("2001:db8::110")
		w, s, d, stop := witnessWorld(t, strings.Replace(keyedTOML, "vrid              = 51", "vrid = 51\nvmac = true\nexcluded_addresses = [\"2001:db8::110/64\"]", 1))
		defer stop()
		s.are(machines{macVMAC: {theVIP, excluded}, macB: {addrB}})
		w.isNow(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		isSilent(10 * time.Second)
		for _, a := range d.Status().VirtualRouters[0].Witness.Addresses {
			if a.Verdict != "owner-ok" {
				t.Errorf("%v: %s: %s", a.Address, a.Verdict, a.Text)
			}
		}
	})
}

func TestDirectorsEthernetAddressIsBelievedForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s, d, stop := witnessWorld(t, keyedTOML)
		defer stop()
		s.are(machines{macB: {addrB, theVIP}, macVMAC: {addrB}})
		w.isNow(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		isSilent(10 * time.Second)
		s.are(machines{macB: {theVIP}})
		isSilent(50 * time.Second)
		if got := verdictOf(t, d); got != "owner-ok: lb-b has it" {
			t.Errorf("after 50s without an answer for its own address: %s", got)
		}
		isSilent(20 * time.Second)
		if got := verdictOf(t, d); got != "unknown: 02:00:00:00:00:0b answers for it, and may be lb-b" {
			t.Errorf("after 70s: %s", got)
		}
		if got := w.recorded("witness"); len(got) > 0 {
			t.Errorf("what is not known is no event: %q", got)
		}
	})
}

func TestRoundsThatCannotBeAskedAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s, d, stop := witnessWorld(t, keyedTOML)
		defer stop()
		s.fails(errors.New("ask who has the addresses on eth0: network is down"))
		w.isNow(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		isSilent(8 * time.Second)
		got := d.Status().VirtualRouters[0].Witness
		if got == nil || got.Rounds != 0 || got.Failed != 2 || got.Error != "ask who has the addresses on eth0: network is down" || got.Addresses[0].Text != "not known" {
			t.Errorf("status %+v", got)
		}
		s.fails(nil)
		isSilent(8 * time.Second)
		if got := d.Status().VirtualRouters[0].Witness; got.Error != "" || got.Rounds == 0 || got.Failed != 2 {
			t.Errorf("status afterwards %+v", got)
		}
	})
}

func TestReloadKeepsTheVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s, d, stop := witnessWorld(t, keyedTOML)
		defer stop()
		s.are(machines{macB: {addrB, theVIP}, macRS: {theVIP}})
		w.isNow(vrrp.Initialize, vrrp.Backup, vrrp.ReasonStartup)
		isSilent(5 * time.Second)
		if _, err := d.Reload(t.Context(), parse(t, strings.Replace(keyedTOML, `["10.0.0.100/24"]`, `["10.0.0.100/24", "10.0.0.101/24"]`, 1))); err != nil {
			t.Fatal(err)
		}
		isSilent(time.Second)
		said := d.Status().VirtualRouters[0].Witness.Addresses
		if len(said) != 2 || said[0].Verdict != vrrp.VerdictStranger || said[1].Verdict != vrrp.VerdictUnknown {
			t.Errorf("after the reload: %+v", said)
		}
		isSilent(5 * time.Second)
		if diff := cmp.Diff([]string{
			"witness-stranger web: 10.0.0.100: 02:00:00:00:00:21 answers for it beside lb-b, and is no director",
			"witness-no-owner web: 10.0.0.101: nobody answers for it",
		}, w.recorded("witness")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
	})
}
