package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// Requests opens a new connection to Target every Interval and sends one HTTP request on
// it. Run it in one goroutine; the other methods may be called from any.
type Requests struct {
	Target   netip.AddrPort
	Interval time.Duration
	// Timeout is how long a request may take, from the first SYN to the last byte. It is
	// short, so that a request sent into a dead director is over before TCP sends its SYN
	// again (after one second): the gap then ends when a new client gets through.
	Timeout time.Duration
	// Enter moves the calling thread to where the clients are, a network namespace. The
	// thread is not used for anything else afterwards. Nil: nowhere.
	Enter func() error

	mu      sync.Mutex // guards results
	results []Result
}

// Result is one request.
type Result struct {
	Start  time.Time
	Took   time.Duration
	Server string // the first line of the answer: which real server it was
	Err    error  // nil: answered, with status 200
}

// End is when the request was completed or given up.
func (r Result) End() time.Time { return r.Start.Add(r.Took) }

// Run sends requests until ctx is done, and waits for those under way. The error is not
// nil if no request could be sent at all, because Enter failed.
func (r *Requests) Run(ctx context.Context) error {
	var (
		workers sync.WaitGroup
		failed  = make(chan error, 1)
		work    = make(chan time.Time)
	)
	defer workers.Wait()
	ticker := time.NewTicker(r.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-ticker.C:
			start := time.Now()
			select {
			case work <- start: // somebody is idle
			default:
				workers.Go(func() {
					if err := r.worker(ctx, start, work); err != nil {
						select {
						case failed <- err:
						default:
						}
					}
				})
			}
		}
	}
}

// worker sends requests one after the other, the first one at once.
func (r *Requests) worker(ctx context.Context, start time.Time, work <-chan time.Time) error {
	if r.Enter != nil {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := r.Enter(); err != nil {
			return err
		}
	}
	for {
		server, err := r.request(start)
		result := Result{Start: start, Took: time.Since(start), Server: server, Err: err}
		r.mu.Lock()
		r.results = append(r.results, result)
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case start = <-work:
		}
	}
}

func (r *Requests) request(start time.Time) (server string, err error) {
	dialer := net.Dialer{Deadline: start.Add(r.Timeout)}
	conn, err := dialer.Dial("tcp4", r.Target.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(start.Add(r.Timeout)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", r.Target); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", resp.Status)
	}
	server, _, _ = strings.Cut(string(body), "\n")
	return server, nil
}

// Between returns the requests that started in [from, to), in the order of their start.
func (r *Requests) Between(from, to time.Time) []Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	var results []Result
	for _, result := range r.results {
		if !result.Start.Before(from) && result.Start.Before(to) {
			results = append(results, result)
		}
	}
	slices.SortFunc(results, func(a, b Result) int { return a.Start.Compare(b.Start) })
	return results
}

// Summary is what some requests amounted to.
type Summary struct {
	Sent     int
	Lost     int            // sent and not answered
	ByServer map[string]int // answered, by real server
	Gap      time.Duration  // the client-visible gap
}

// Summarise counts requests and computes their gap: the longest time without a completed
// request, between the first start and the last end.
func Summarise(results []Result) Summary {
	s := Summary{Sent: len(results), ByServer: make(map[string]int)}
	if len(results) == 0 {
		return s
	}
	ends := []time.Time{results[0].Start}
	last := results[0].Start
	for _, r := range results {
		if r.End().After(last) {
			last = r.End()
		}
		if r.Err != nil {
			s.Lost++
			continue
		}
		s.ByServer[r.Server]++
		ends = append(ends, r.End())
	}
	ends = append(ends, last)
	slices.SortFunc(ends, time.Time.Compare)
	for i := 1; i < len(ends); i++ {
		s.Gap = max(s.Gap, ends[i].Sub(ends[i-1]))
	}
	return s
}

// WaitFor waits until a request that started at or after from was answered by server ("":
// by any), and returns it.
func (r *Requests) WaitFor(ctx context.Context, from time.Time, server string) (Result, error) {
	for ticker := time.Tick(r.Interval); ; {
		for _, result := range r.Between(from, time.Now()) {
			if result.Err == nil && (server == "" || result.Server == server) {
				return result, nil
			}
		}
		select {
		case <-ctx.Done():
			return Result{}, fmt.Errorf("no answer from %q: %w", server, context.Cause(ctx))
		case <-ticker:
		}
	}
}
