package vrrp_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/hadirector/hadirector/vrrp"
)

// These tests follow RFC 3768 where version 2 differs from version 3.

func version2(interval time.Duration) func(*vrrp.Params) {
	return func(p *vrrp.Params) { p.Version, p.AdvertInterval = vrrp.Version2, interval }
}

func heard2(from string, p vrrp.Priority, interval time.Duration, auth vrrp.Auth) vrrp.AdvertReceived {
	ev := heardEvery(from, p, interval)
	ev.Advert.Version, ev.Advert.Auth = vrrp.Version2, auth
	return ev
}

// Section 6.1: Skew_Time is "((256 - Priority) / 256)" seconds, and
// Master_Down_Interval "(3 * Advertisement_Interval) + Skew_Time": the skew does not
// grow with the interval.
func TestRFC3768_6_1_Skew(t *testing.T) {
	vr := at(t, vrrp.Backup, params(version2(10*time.Second)))
	wantState(t, vr, vrrp.Backup, "30.609375s")
	do(vr, time.Second, heard2("192.0.2.9", 0, 10*time.Second, vrrp.Auth{}))
	wantState(t, vr, vrrp.Backup, "1.609375s")
}

// Section 6.4.2: an accepted advertisement sets Master_Down_Timer to
// Master_Down_Interval; no interval is learned from it.
func TestRFC3768_6_4_2_Accepted(t *testing.T) {
	vr := at(t, vrrp.Backup, params(version2(2*time.Second)))
	do(vr, time.Second, heard2("192.0.2.9", 100, 2*time.Second, vrrp.Auth{}))
	wantState(t, vr, vrrp.Backup, "7.609375s")
}

// Section 6.4.3 has no answer to a losing advertisement; ours is RFC 9568's, which
// keepalived gives in version 2 as well.
func TestRFC3768_6_4_3_Asserts(t *testing.T) {
	vr := at(t, vrrp.Master, params(version2(time.Second)))
	wantActions(t, do(vr, 500*time.Millisecond, heard2("192.0.2.9", 99, time.Second, vrrp.Auth{})), "advert 100")
}

// Section 7.1: "MUST verify that the Adver Interval in the packet is the same as the
// locally configured for this virtual router. If the above check fails, the receiver
// MUST discard the packet"; and "MUST verify that the Auth Type matches the locally
// configured authentication method" (RFC 2338 for types other than 0).
func TestRFC3768_7_1_Discards(t *testing.T) {
	plain := params(version2(time.Second))
	locked := params(version2(time.Second), func(p *vrrp.Params) { p.Auth = vrrp.Password("secret12") })
	for _, tt := range []struct {
		name   string
		params vrrp.Params
		ev     vrrp.AdvertReceived
		want   error
	}{
		{"taken", plain, heard2("192.0.2.9", 200, time.Second, vrrp.Auth{}), nil},
		{"data without a type is ignored", plain, heard2("192.0.2.9", 200, time.Second, vrrp.Auth{Data: [8]byte{1}}), nil},
		{"interval", plain, heard2("192.0.2.9", 200, 2*time.Second, vrrp.Auth{}), vrrp.ErrInterval},
		{"password where none is expected", plain, heard2("192.0.2.9", 200, time.Second, vrrp.Password("secret12")), vrrp.ErrAuth},
		{"no password", locked, heard2("192.0.2.9", 200, time.Second, vrrp.Auth{}), vrrp.ErrAuth},
		{"wrong password", locked, heard2("192.0.2.9", 200, time.Second, vrrp.Password("secret13")), vrrp.ErrAuth},
		{"the password's first eight bytes", locked, heard2("192.0.2.9", 200, time.Second, vrrp.Password("secret123")), nil},
		{"version 3", plain, heard("192.0.2.9", 200), vrrp.ErrVersion},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.params.Check(tt.ev.From, tt.ev.Advert); !errors.Is(err, tt.want) {
				t.Errorf("check gives %v, want %v", err, tt.want)
			}
			vr := at(t, vrrp.Master, tt.params)
			do(vr, 100*time.Millisecond, tt.ev)
			want := vrrp.Backup
			if tt.want != nil {
				want = vrrp.Master
			}
			if got := vr.Snapshot().State; got != want {
				t.Errorf("state %v, want %v", got, want)
			}
		})
	}
}

// Section 7.1 lets a receiver drop an advertisement with another list of addresses.
// We take it: see Params.Mismatch.
func TestRFC3768_7_1_OtherAddresses(t *testing.T) {
	vr := at(t, vrrp.Master, params(version2(time.Second)))
	ev := heard2("192.0.2.9", 200, time.Second, vrrp.Auth{})
	ev.Advert.Addresses = append(ev.Advert.Addresses, netip.MustParseAddr("192.0.2.101"))
	do(vr, 100*time.Millisecond, ev)
	if got := vr.Snapshot().State; got != vrrp.Backup {
		t.Errorf("state %v, want backup", got)
	}
}

// What a version 2 router sends carries the password that it demands.
func TestRFC3768_AdvertCarriesAuth(t *testing.T) {
	vr := vrrp.NewVirtualRouter(51, params(version2(3*time.Second), priority(255), func(p *vrrp.Params) { p.Auth = vrrp.Password("secret12") }))
	sent := vr.Handle(t0, vrrp.Startup{})[0].(vrrp.SendAdvert).Advert
	if sent.Version != 2 || sent.VRID != 51 || sent.Interval != 3*time.Second || sent.Auth != vrrp.Password("secret12") {
		t.Errorf("sent %+v", sent)
	}
}

// A new password is in force at once: what carries the old one no longer counts, and a
// Master sends the new one without losing its part.
func TestPasswordChangesInPlace(t *testing.T) {
	with := func(text string) vrrp.Params {
		return params(version2(time.Second), func(p *vrrp.Params) { p.Auth = vrrp.Password(text) })
	}
	backup := at(t, vrrp.Backup, with("old"))
	do(backup, 0, vrrp.ParamsChanged{Params: with("new")})
	before, _ := backup.Deadline()
	do(backup, time.Second, heard2("192.0.2.9", 200, time.Second, vrrp.Password("old")))
	if after, _ := backup.Deadline(); after != before {
		t.Errorf("an advertisement with the old password moved the deadline from %v to %v", before, after)
	}
	do(backup, time.Second, heard2("192.0.2.9", 200, time.Second, vrrp.Password("new")))
	if after, _ := backup.Deadline(); !after.After(before) {
		t.Errorf("an advertisement with the new password left the deadline at %v", after)
	}

	master := at(t, vrrp.Master, with("old"))
	do(master, 0, vrrp.ParamsChanged{Params: with("new")})
	if got := master.Snapshot().State; got != vrrp.Master {
		t.Errorf("the Master became %v", got)
	}
	sent := 0
	for _, a := range master.Handle(t0.Add(time.Second), vrrp.Timeout{}) {
		if a, ok := a.(vrrp.SendAdvert); ok {
			sent++
			if a.Advert.Auth != vrrp.Password("new") {
				t.Errorf("sent %+v, want the new password", a.Advert)
			}
		}
	}
	if sent == 0 {
		t.Error("the Master sent nothing")
	}
}
