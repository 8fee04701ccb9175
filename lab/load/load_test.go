package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSummarise(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	lost := errors.New("i/o timeout")
	at := func(ms, took int, server string, err error) Result {
		return Result{Start: start.Add(time.Duration(ms) * time.Millisecond),
			Took: time.Duration(took) * time.Millisecond, Server: server, Err: err}
	}
	for _, tt := range []struct {
		name    string
		results []Result
		want    Summary
	}{
		{name: "nothing sent", want: Summary{ByServer: map[string]int{}}},
		{
			name:    "no failure",
			results: []Result{at(0, 2, "rs-1", nil), at(10, 3, "rs-2", nil), at(20, 2, "rs-1", nil)},
			want:    Summary{Sent: 3, ByServer: map[string]int{"rs-1": 2, "rs-2": 1}, Gap: 11 * time.Millisecond},
		},
		{
			// Completed at 2 ms and at 372 ms; the request of 20 ms was over at 270 ms.
			name: "a failover",
			results: []Result{at(0, 2, "rs-1", nil), at(10, 250, "", lost), at(20, 250, "", lost),
				at(370, 2, "rs-2", nil), at(380, 2, "rs-1", nil)},
			want: Summary{Sent: 5, Lost: 2, ByServer: map[string]int{"rs-1": 2, "rs-2": 1}, Gap: 370 * time.Millisecond},
		},
		{
			// A slow answer fills the gap from when it is there: at 300 ms.
			name:    "a late answer",
			results: []Result{at(0, 1, "rs-1", nil), at(10, 290, "rs-1", nil), at(400, 1, "rs-1", nil)},
			want:    Summary{Sent: 3, ByServer: map[string]int{"rs-1": 3}, Gap: 299 * time.Millisecond},
		},
		{
			name:    "it never comes back",
			results: []Result{at(0, 2, "rs-1", nil), at(10, 250, "", lost), at(600, 250, "", lost)},
			want:    Summary{Sent: 3, Lost: 2, ByServer: map[string]int{"rs-1": 1}, Gap: 848 * time.Millisecond},
		},
		{
			name:    "it never worked",
			results: []Result{at(0, 250, "", lost), at(10, 250, "", lost)},
			want:    Summary{Sent: 2, Lost: 2, ByServer: map[string]int{}, Gap: 260 * time.Millisecond},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Summarise(tt.results)); diff != "" {
				t.Errorf("Summarise (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRequests(t *testing.T) {
	up := make(chan bool, 1)
	up <- true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ok := <-up
		up <- ok
		if !ok {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "rs-1")
	}))
	defer server.Close()

	r := &Requests{Target: addrPort(t, server.Listener), Interval: time.Millisecond, Timeout: 5 * time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()

	begin := time.Now()
	if _, err := r.WaitFor(t.Context(), begin, "rs-1"); err != nil {
		t.Fatal(err)
	}
	<-up
	up <- false
	for len(lost(r.Between(begin, time.Now()))) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s := Summarise(r.Between(begin, time.Now()))
	if s.ByServer["rs-1"] == 0 || s.Lost == 0 || s.Sent != s.ByServer["rs-1"]+s.Lost {
		t.Errorf("summary %+v: want both answered and lost requests, and no others", s)
	}
}

func lost(results []Result) []Result {
	var lost []Result
	for _, r := range results {
		if r.Err != nil {
			lost = append(lost, r)
		}
	}
	return lost
}

func TestRequestsSaysWhyItCannotRun(t *testing.T) {
	want := errors.New("no such namespace")
	r := &Requests{Interval: time.Millisecond, Enter: func() error { return want }}
	if err := r.Run(t.Context()); !errors.Is(err, want) {
		t.Errorf("Run = %v, want %v", err, want)
	}
}

// echo is an echo service. It closes a connection instead of answering the line "end".
type echo struct {
	net.Listener
	accepted chan net.Conn
}

func newEcho(t *testing.T) echo {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := echo{l, make(chan net.Conn, 10)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			e.accepted <- conn
			go func() {
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Fprintf(conn, "rs-1 %s\n", lines.Text())
				}
				conn.Close()
			}()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return e
}

func TestConnsKept(t *testing.T) {
	e := newEcho(t)
	c, err := Open(t.Context(), addrPort(t, e), 3, time.Millisecond, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if kept, lost := c.Kept(t.Context(), time.Now()); kept != 3 || len(lost) != 0 {
		t.Errorf("before the failure: kept %d, lost %v; want 3 and none", kept, lost)
	}
	if diff := cmp.Diff(map[string]int{"rs-1": 3}, c.ByServer()); diff != "" {
		t.Errorf("ByServer (-want +got):\n%s", diff)
	}

	// A reset, as from a director that does not know the connection.
	conn := (<-e.accepted).(*net.TCPConn)
	if err := conn.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	kept, lost := c.Kept(t.Context(), time.Now())
	if kept != 2 || lost["connection reset by peer"] != 1 {
		t.Errorf("after a reset: kept %d, lost %v; want 2 and one reset", kept, lost)
	}
}

func TestConnsSilent(t *testing.T) {
	e := newEcho(t)
	c, err := Open(t.Context(), addrPort(t, e), 2, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	// No line was sent since, so nothing is known of them: not kept.
	kept, lost := c.Kept(ctx, time.Now())
	if kept != 0 || lost["silent"] != 2 {
		t.Errorf("kept %d, lost %v; want 0 and two silent", kept, lost)
	}
}

func TestConnsSpeak(t *testing.T) {
	e := newEcho(t)
	c, err := Open(t.Context(), addrPort(t, e), 2, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	since := time.Now()
	c.Speak()
	if kept, lost := c.Kept(t.Context(), since); kept != 2 || len(lost) != 0 {
		t.Errorf("kept %d, lost %v; want 2 and none", kept, lost)
	}
}

func addrPort(t *testing.T, l net.Listener) netip.AddrPort {
	t.Helper()
	return netip.MustParseAddrPort(l.Addr().String())
}
