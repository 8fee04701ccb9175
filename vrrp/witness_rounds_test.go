package vrrp_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/vrrp"
)

var (
	vip1 = netip.MustParseAddr("10.0.0.100")
	vip2 = netip.MustParseAddr("10.0.0.101")
	// midnight is on the grid of the regular rounds.
	midnight = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func finding(v vrrp.Verdict, owners ...string) vrrp.Finding {
	return vrrp.Finding{Verdict: v, Owners: owners}
}

// bench drives a Witness and keeps what came of it.
type bench struct {
	t *testing.T
	*vrrp.Witness
	now   time.Time
	story []string
}

func newBench(t *testing.T, offset time.Duration, addrs ...netip.Addr) *bench {
	return &bench{t: t, Witness: vrrp.NewWitness(addrs, offset), now: midnight}
}

// round waits for the next round and lets all addresses have the finding. It takes
// half a second.
func (b *bench) round(f vrrp.Finding) vrrp.WitnessNews {
	b.t.Helper()
	due, armed := b.Deadline()
	if !armed || due.Before(b.now) {
		b.t.Fatalf("at %v the next round is due at %v (%v)", b.now, due, armed)
	}
	b.now = due
	n := b.Begin()
	if _, armed := b.Deadline(); armed {
		b.t.Error("a round is due while one is under way")
	}
	begun := b.now
	b.now = b.now.Add(500 * time.Millisecond)
	found := make(map[netip.Addr]vrrp.Finding)
	for _, a := range b.Addresses() {
		found[a] = f
	}
	news := b.Done(b.now, n, found)
	line := fmt.Sprintf("%v %s", begun.Sub(midnight), f.Verdict)
	for _, c := range news.Changes {
		line += fmt.Sprintf(", %v: %s to %s", c.Addr, c.From.Verdict, c.To.Verdict)
	}
	if news.Confirmed {
		line += fmt.Sprintf(", confirmed after %v", news.After)
	}
	if len(news.Disputed) > 0 {
		line += fmt.Sprintf(", disputed %v", news.Disputed)
	}
	b.story = append(b.story, line)
	return news
}

func (b *bench) tells(want string) {
	b.t.Helper()
	if diff := cmp.Diff(strings.TrimSpace(want), strings.Join(b.story, "\n")); diff != "" {
		b.t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWitnessBelievesTwoRoundsInTurn(t *testing.T) {
	b := newBench(t, 0, vip1)
	if _, armed := b.Deadline(); armed {
		t.Error("a round is due before the virtual router takes part")
	}
	b.Changed(b.now)
	good, two := finding(vrrp.VerdictOwnerOK, "lb-a"), finding(vrrp.VerdictTwoOwners, "lb-a", "lb-b")
	for _, f := range []vrrp.Finding{good, good, two, good, two, two, two, good, two, good, good, good} {
		b.round(f)
	}
	b.tells(`
1s owner-ok, 10.0.0.100: unknown to owner-ok, confirmed after 1.5s
5s owner-ok
10s two-owners
11s owner-ok
15s two-owners
16s two-owners, 10.0.0.100: owner-ok to two-owners, disputed [10.0.0.100]
18.5s two-owners, disputed [10.0.0.100]
21s owner-ok, disputed [10.0.0.100]
22s two-owners, disputed [10.0.0.100]
24.5s owner-ok, disputed [10.0.0.100]
25.5s owner-ok, 10.0.0.100: two-owners to owner-ok
30s owner-ok`)
}

func TestWitnessConfirmsEachChangeOfMasterOnce(t *testing.T) {
	b := newBench(t, 0, vip1, vip2)
	b.Changed(b.now)
	good, none := finding(vrrp.VerdictOwnerOK, "lb-a"), finding(vrrp.VerdictNoOwner)
	b.round(none)
	b.round(good)
	b.round(good)
	b.Changed(b.now)
	b.round(finding(vrrp.VerdictOwnerOK, "lb-b"))
	b.round(finding(vrrp.VerdictOwnerOK, "lb-b"))
	b.tells(`
1s no-owner
2s owner-ok, 10.0.0.100: unknown to owner-ok, 10.0.0.101: unknown to owner-ok, confirmed after 2.5s
5s owner-ok
6.5s owner-ok, confirmed after 1.5s
10s owner-ok`)
	if f := b.Said()[1].Finding; !f.Equal(finding(vrrp.VerdictOwnerOK, "lb-b")) {
		t.Errorf("said at the end: %v", f)
	}
}

// A first verdict that is bad needs its second round, too.
func TestWitnessDoesNotAccuseAtFirstSight(t *testing.T) {
	b := newBench(t, 0, vip1)
	b.Changed(b.now)
	b.round(finding(vrrp.VerdictNoOwner))
	b.round(finding(vrrp.VerdictStranger))
	b.round(finding(vrrp.VerdictStranger))
	b.tells(`
1s no-owner
2s stranger
3s stranger, 10.0.0.100: unknown to stranger`)
	if since := b.Said()[0].Since; !since.Equal(midnight.Add(3500 * time.Millisecond)) {
		t.Errorf("since %v", since)
	}
}

func TestWitnessForgetsARoundThatAChangeOvertakes(t *testing.T) {
	b := newBench(t, 0, vip1)
	b.Changed(b.now)
	b.round(finding(vrrp.VerdictOwnerOK, "lb-a"))
	b.now = midnight.Add(5 * time.Second)
	n := b.Begin()
	b.Changed(b.now.Add(time.Millisecond))
	two := map[netip.Addr]vrrp.Finding{vip1: finding(vrrp.VerdictTwoOwners)}
	for range 2 {
		if news := b.Done(b.now.Add(time.Second), n, two); len(news.Changes) > 0 {
			t.Errorf("news of an overtaken round: %+v", news)
		}
	}
	if due, armed := b.Deadline(); !armed || due != b.now.Add(1001*time.Millisecond) {
		t.Errorf("next round at %v (%v), want a second after the change", due, armed)
	}
	b.Failed(b.now, n)
	if due, _ := b.Deadline(); due != b.now.Add(1001*time.Millisecond) {
		t.Errorf("the failure of an overtaken round moved the next one to %v", due)
	}
	n = b.Begin()
	b.Stop()
	if news := b.Done(b.now, n, two); len(news.Changes) > 0 || b.Said()[0].Finding.Verdict != vrrp.VerdictUnknown {
		t.Errorf("after Stop: news %+v, said %+v", news, b.Said())
	}
	if _, armed := b.Deadline(); armed {
		t.Error("a round is due after Stop")
	}
}

func TestWitnessTriesAgainAfterAFailure(t *testing.T) {
	b := newBench(t, 0, vip1)
	b.Changed(b.now)
	n := b.Begin()
	b.Failed(midnight.Add(time.Second), n)
	if due, armed := b.Deadline(); !armed || !due.Equal(midnight.Add(5*time.Second)) {
		t.Errorf("next round at %v (%v)", due, armed)
	}
}

// Regular rounds keep their place in the period, between half a period and one and a
// half after the last.
func TestWitnessesSpreadTheirRounds(t *testing.T) {
	for _, tt := range []struct {
		offset time.Duration
		want   string
	}{
		{0, "1s 5s 10s"},
		{1250 * time.Millisecond, "1s 6.25s 11.25s"},
		{4999 * time.Millisecond, "1s 4.999s 9.999s"},
		{8 * time.Second, "1s 8s 13s"},
	} {
		b := newBench(t, tt.offset, vip1)
		b.Changed(b.now)
		var got []string
		for range 3 {
			due, _ := b.Deadline()
			got = append(got, due.Sub(midnight).String())
			b.round(finding(vrrp.VerdictOwnerOK, "lb-a"))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("offset %v: rounds at %v, want %v", tt.offset, got, tt.want)
		}
	}
}

func TestWitnessKeepsWhatItSaysOfAddressesThatStay(t *testing.T) {
	b := newBench(t, 0, vip1)
	b.Changed(b.now)
	b.round(finding(vrrp.VerdictOwnerOK, "lb-a"))
	b.SetAddresses([]netip.Addr{vip2, vip1})
	want := []vrrp.WitnessedAddr{
		{Addr: vip1, Finding: finding(vrrp.VerdictOwnerOK, "lb-a"), Since: b.now},
		{Addr: vip2, Finding: finding(vrrp.VerdictUnknown)},
	}
	if diff := cmp.Diff(want, b.Said(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
