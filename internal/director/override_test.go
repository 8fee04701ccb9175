package director

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/healthcheck"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/vrrp"
)

// tableWith is fullTable with the weight of web-2; -1: without it.
func tableWith(weight string) string {
	if weight == "" {
		return strings.Join(strings.SplitAfter(fullTable, "\n")[:2], "")
	}
	return strings.Replace(fullTable, "-w 2", "-w "+weight, 1)
}

// change makes a live change, which must be taken.
func (w *world) change(d *Director, req OverrideRequest) Overridden {
	w.t.Helper()
	req.By = "root"
	out, err := d.Override(w.t.Context(), req)
	if err != nil {
		w.t.Fatal(err)
	}
	synctest.Wait()
	return out
}

// connections sets what the kernel says of a real server of web.
func (w *world) connections(addr string, c ipvs.Connections) {
	w.kernel.SetConnections(webKey, netip.MustParseAddrPort(addr), c)
}

var webKey = ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:80"))

func (w *world) wantTable(want string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.kernel.String()); diff != "" {
		w.t.Errorf("table -want +got:\n%s", diff)
	}
}

func TestOverridesChangeTheTableAlone(t *testing.T) {
	for _, tt := range []struct {
		req  OverrideRequest
		want string
	}{
		{OverrideRequest{Target: "web/web-2", Kind: OverrideDrain}, tableWith("0")},
		{OverrideRequest{Target: "web/web-2", Kind: OverrideDisable}, tableWith("")},
		{OverrideRequest{Target: "web/web-2", Kind: OverrideWeight, Weight: 7}, tableWith("7")},
		{OverrideRequest{Target: "*/web-2", Kind: OverrideWeight}, tableWith("0")},
		{OverrideRequest{Target: "web", Kind: OverrideWeight, Weight: 3}, strings.Replace(tableWith("3"), "-w 1", "-w 3", 1)},
		{OverrideRequest{Target: "web/*", Kind: OverrideWeight, Weight: 3}, strings.Replace(tableWith("3"), "-w 1", "-w 3", 1)},
	} {
		t.Run(string(tt.req.Kind)+" "+tt.req.Target, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d, stop := w.run(pairTOML)
				defer stop()
				w.change(d, tt.req)
				w.wantTable(tt.want)
				if d.Status().Config.Hash != hash(parse(t, pairTOML).Fingerprint()) {
					t.Error("the configuration's fingerprint has changed")
				}
				w.change(d, OverrideRequest{Target: tt.req.Target, Kind: OverrideNone})
				w.wantTable(fullTable)
				if len(w.kept.saved) != 0 {
					t.Errorf("kept after enable: %v", w.kept.saved)
				}
			})
		})
	}
}

func TestOverrideIsSaidOnceAndShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		at := time.Now()
		w.connections("10.0.0.22:80", ipvs.Connections{Active: 3, Inactive: 1})
		w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain, For: 2 * time.Hour, Reason: "kernel update"})
		want := OverrideStatus{CountedOn: []string{"lb-a"}, Override: Override{Kind: OverrideDrain, By: "root", Director: "lb-a", At: at.Round(0), Until: at.Add(2 * time.Hour).Round(0), Reason: "kernel update"}}
		r := d.Status().VirtualServers[0].RealServers[1]
		if diff := cmp.Diff(&want, r.Override); diff != "" || r.Weight != 0 || r.ConfiguredWeight != 2 || r.Active != 3 {
			t.Errorf("status %+v -want +got:\n%s", r, diff)
		}
		w.connections("10.0.0.22:80", ipvs.Connections{Persistent: 1})
		time.Sleep(resyncMin)
		synctest.Wait()
		if d.Status().VirtualServers[0].RealServers[1].Override.SafeToStop {
			t.Error("safe to stop with a client who would come back")
		}
		w.connections("10.0.0.22:80", ipvs.Connections{})
		time.Sleep(resyncMin)
		synctest.Wait()
		if !d.Status().VirtualServers[0].RealServers[1].Override.SafeToStop {
			t.Error("not safe to stop with no connection left")
		}
		time.Sleep(2*time.Hour - 2*resyncMin - time.Nanosecond)
		synctest.Wait()
		w.wantTable(tableWith("0"))
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		w.wantTable(fullTable)
		if diff := cmp.Diff([]string{
			"override-set web/web-2: drain of web/web-2 by root, until " + at.Add(2*time.Hour).Format(time.RFC3339) + ", kernel update",
			"override-ended web/web-2: drain of web/web-2 ended: its time is over",
		}, w.recorded("override")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{
			`level=INFO msg="override set" virtual_server=web real_server=web-2 override=drain by=root director=lb-a until=` + at.Add(2*time.Hour).Format(time.RFC3339) + ` reason="kernel update"`,
			`level=INFO msg="override ended" virtual_server=web real_server=web-2 override=drain reason="its time is over"`,
		}, w.logged("msg=\"override")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if len(w.kept.saved) != 0 {
			t.Errorf("kept after its time: %v", w.kept.saved)
		}
	})
}

func TestNotSafeToStopBeforeTheKernelHasIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.becomes(vrrp.Backup, vrrp.Master, vrrp.ReasonMasterDown)
		w.kernel.FailNext("-e", syscall.EBUSY)
		w.kernel.FailNext("-e", syscall.EBUSY) // also after the table has been read again
		w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain})
		if d.Status().VirtualServers[0].RealServers[1].Override.SafeToStop {
			t.Error("safe to stop with its weight still in the kernel")
		}
		time.Sleep(retryMin)
		synctest.Wait()
		if !d.Status().VirtualServers[0].RealServers[1].Override.SafeToStop {
			t.Error("not safe to stop after it")
		}
	})
}

func TestOverridesSurviveReloadAndRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain, For: time.Hour})
		w.change(d, OverrideRequest{Target: "web/web-1", Kind: OverrideWeight, Weight: 9})
		renamed := strings.Replace(strings.Replace(pairTOML, "web-2 =", "web-two =", 1), "weight = 1", "weight = 4", 1)
		if _, err := d.Reload(t.Context(), parse(t, renamed)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.wantTable(strings.Replace(tableWith("0"), "-w 1", "-w 9", 1))
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		_, stop = w.run(renamed)
		defer stop()
		w.wantTable(strings.Replace(tableWith("0"), "-w 1", "-w 9", 1))
		if got := w.logged("override goes on"); len(got) != 2 {
			t.Errorf("log %q", got)
		}
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		w.wantTable(strings.Replace(fullTable, "-w 1", "-w 9", 1))
	})
}

func TestReloadThatRemovesARealServerEndsItsOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain})
		without := strings.Replace(pairTOML, `web-2 = {`, `web-3 = { address = "10.0.0.23:80" }`+"\n#", 1)
		for _, toml := range []string{without, pairTOML} {
			if _, err := d.Reload(t.Context(), parse(t, toml)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		w.wantTable(fullTable)
		if diff := cmp.Diff([]string{
			`level=WARN msg="override ended" virtual_server=web real_server=web-2 override=drain reason="the real server is not in the configuration any more"`,
		}, w.logged("override ended")); diff != "" {
			t.Errorf("log -want +got:\n%s", diff)
		}
		if len(w.kept.saved) != 0 {
			t.Errorf("kept: %v", w.kept.saved)
		}
	})
}

func TestWhatIsKeptIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		drain := Override{Kind: OverrideDrain}
		over := Override{Kind: OverrideDrain, Until: time.Now().Add(-time.Minute)}
		for n, kept := range []Registers{
			{{"web", "gone"}: {1, drain}, {"shop", "web-1"}: {1, drain}},
			{{"web", "web-1"}: {1, over}},
		} {
			w.kept.saved = kept
			_, stop := w.run(pairTOML)
			w.wantTable(fullTable)
			if len(w.kept.load()) != 0 || len(w.recorded("override-ended")) != 2+n {
				t.Errorf("kept %v, events %q", w.kept.load(), w.recorded("override"))
			}
			if err := stop(); err != nil {
				t.Fatal(err)
			}
		}
		w.kept.fail(errors.New("unexpected end of JSON input"))
		_, stop := w.run(pairTOML)
		defer stop()
		w.wantTable(fullTable)
		if got := w.logged("overrides of an earlier run not readable"); len(got) != 1 {
			t.Errorf("log %q", got)
		}
	})
}

func TestOverrideThatCannotBeKeptIsInForceAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.kept.fail(syscall.ENOSPC)
		out := w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain})
		if diff := cmp.Diff([]string{"not kept over a restart: no space left on device"}, out.Warnings); diff != "" {
			t.Errorf("warnings -want +got:\n%s", diff)
		}
		w.wantTable(tableWith("0"))
		w.kept.fail(nil)
		time.Sleep(overrideRetry)
		synctest.Wait()
		if len(w.kept.saved) != 1 {
			t.Errorf("kept %v, want the override", w.kept.saved)
		}
		if a, b := w.logged("overrides not written"), w.logged("overrides are written again"); len(a) != 1 || len(b) != 1 {
			t.Errorf("log %q %q", a, b)
		}
	})
}

func TestDrainedRealServerThatFailsIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		defer stop()
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain})
		w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
		w.wantTable(tableWith(""))
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		w.wantTable(tableWith("0"))
		w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDisable})
		w.verdict("10.0.0.22:80", healthcheck.Down, syscall.ECONNREFUSED)
		w.verdict("10.0.0.22:80", healthcheck.Up, nil)
		w.wantTable(tableWith(""))
		if diff := cmp.Diff([]string{
			"real-server-left web/web-2: 10.0.0.22:80 removed from web: connection refused",
			"real-server-returned web/web-2: 10.0.0.22:80 returned to web with weight 0, override drain",
			"real-server-left web/web-2: 10.0.0.22:80 removed from web: connection refused",
			"real-server-returned web/web-2: 10.0.0.22:80 passes its check, and stays disabled in web",
		}, w.recorded("real-server")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
	})
}

// A drained real server does not count to the quorum, and the connections of all of them
// go on beside the sorry server.
func TestQuorumIsOfThoseThatTakeConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(strings.Replace(pairTOML, `check     = "alive"`, "check = \"alive\"\nquorum = 2", 1))
		defer stop()
		out := w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain})
		w.wantTable("-A -t 10.0.0.100:80 -s wrr\n-a -t 10.0.0.100:80 -r 10.0.0.9:80 -g -w 1\n" +
			"-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 0\n-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 0\n")
		if diff := cmp.Diff([]string{"web: fewer than 2 real servers take connections now: sorry server 10.0.0.9:80 serves"}, out.Warnings); diff != "" {
			t.Errorf("warnings -want +got:\n%s", diff)
		}
		w.change(d, OverrideRequest{Target: "web", Kind: OverrideNone})
		w.wantTable(fullTable)
		if diff := cmp.Diff([]string{
			"quorum-lost web: fewer than 2 real servers take connections: sorry server 10.0.0.9:80 serves",
			"quorum-gained web: real servers serve again",
		}, w.recorded("quorum")); diff != "" {
			t.Errorf("events -want +got:\n%s", diff)
		}
	})
}

func TestSchedulersThatRefuseAtWeightZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(strings.Replace(pairTOML, `"wrr"`, `"sh"`, 1))
		defer stop()
		out := w.change(d, OverrideRequest{Target: "web/web-2", Kind: OverrideDrain})
		if len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "sh refuses the clients") {
			t.Errorf("warnings %q", out.Warnings)
		}
		w.change(d, OverrideRequest{Target: "web/web-1", Kind: OverrideDrain})
		w.wantTable("-A -t 10.0.0.100:80 -s sh\n-a -t 10.0.0.100:80 -r 10.0.0.9:80 -g -w 1\n")
	})
}

func TestOverrideRequestErrors(t *testing.T) {
	drain := func(target string) OverrideRequest { return OverrideRequest{Target: target, Kind: OverrideDrain} }
	for _, tt := range []struct {
		req  OverrideRequest
		want string
	}{
		{drain("wed/web-1"), `no virtual server is named "wed"; did you mean "web"?`},
		{drain("web/web-9"), `virtual server web has no real server "web-9"; did you mean "web-1"?`},
		{drain("web-1"), `no virtual server is named "web-1"; did you mean "*/web-1"?`},
		{drain("*/web-9"), `no virtual server has a real server "web-9"; did you mean "web-1"?`},
		{drain("web/sorry_server"), `virtual server web has no real server "sorry_server"`},
		{drain("empty"), `virtual server empty has no real servers`},
		{drain("*"), `"*" is every real server there is: name a virtual server or a real server`},
		{drain(""), `no virtual server is named ""`},
		{OverrideRequest{Target: "web", Kind: "drian"}, `unknown change "drian": want drain, disable, weight or enable`},
		{OverrideRequest{Target: "web", Kind: OverrideWeight, Weight: 1 << 31}, `weight 2147483648: the kernel's greatest is 2147483647`},
		{OverrideRequest{Target: "web", Kind: OverrideDrain, For: -1}, `a duration of -1ns: want at least 1s`},
		{OverrideRequest{Target: "web", Kind: OverrideNone, For: time.Hour}, `enable is for good: it takes no duration`},
		{OverrideRequest{Target: "web", Kind: OverrideDrain, Reason: strings.Repeat("x", 201)}, `the reason has 201 bytes: want at most 200`},
		{OverrideRequest{Target: "web", Kind: OverrideDrain, Reason: "a\x1b[2Jb"}, `the reason has characters that cannot be printed`},
	} {
		t.Run(tt.want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				d, stop := w.run(strings.Replace(pairTOML, "[check.alive]", "[virtual_server.empty]\naddress = \"10.0.0.100:81\"\nprotocol = \"tcp\"\n[check.alive]", 1))
				defer stop()
				before := w.kernel.String()
				if _, err := d.Override(t.Context(), tt.req); err == nil || err.Error() != tt.want {
					t.Errorf("got  %v\nwant %v", err, tt.want)
				}
				synctest.Wait()
				w.wantTable(before)
				if len(w.recorded("override")) != 0 {
					t.Error("it was recorded")
				}
			})
		})
	}
}

func TestOverrideAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		d, stop := w.run(pairTOML)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Override(ctx, OverrideRequest{Target: "web", Kind: OverrideDrain}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}
