package telemetry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/internal/director"
)

// Server is the monitoring listener.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen opens the listener at addr. status is called for each request.
func Listen(addr netip.AddrPort, status func() director.Status) (*Server, error) {
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("listen for metrics on %s: %w", addr, err)
	}
	return &Server{listener: l, http: &http.Server{
		Handler: handler(status), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
	}}, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves until ctx is canceled.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.http.Close() })
	defer stop()
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

func handler(status func() director.Status) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		b := bufio.NewWriterSize(w, 64<<10)
		WriteMetrics(b, status())
		b.Flush() // the only error is that the reader went away
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		s := status()
		if !s.IPVS.InSync {
			http.Error(w, "the kernel's ipvs table is not as configured", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

func sortedKeys(m map[string]uint64) []string { return slices.Sorted(maps.Keys(m)) }
