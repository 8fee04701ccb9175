package telemetry

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/hadirector/hadirector/internal/director"
)

// listenRetry is how long an address that cannot be listened on is left alone: another
// program may hold it, or it may come with an interface.
const listenRetry = 5 * time.Second

// Server is the monitoring listener.
type Server struct {
	addr   netip.AddrPort
	http   *http.Server
	logger *slog.Logger
}

// New returns a server for addr. status is called for each request of the metrics,
// inSync for each request of the health. Nothing is opened before Run.
func New(addr netip.AddrPort, status func() director.Status, inSync func() bool, logger *slog.Logger) *Server {
	return &Server{addr: addr, logger: logger, http: &http.Server{
		Handler: handler(status, inSync), ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second,
	}}
}

// Run serves until ctx is canceled. An address that cannot be listened on is tried
// again: a load balancer does not stand still for its monitoring.
func (s *Server) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.http.Close() })
	defer stop()
	l, err := net.Listen("tcp", s.addr.String())
	if err != nil {
		s.logger.Warn("metrics are not served, trying again", "address", s.addr, "err", err)
	}
	for err != nil {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(listenRetry):
		}
		if l, err = net.Listen("tcp", s.addr.String()); err == nil {
			s.logger.Info("metrics are served now", "address", s.addr)
		}
	}
	if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

func handler(status func() director.Status, inSync func() bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		b := bufio.NewWriterSize(w, 64<<10)
		WriteMetrics(b, status())
		b.Flush() // the only error is that the reader went away
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !inSync() {
			http.Error(w, "the kernel's ipvs table is not as configured", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

func sortedKeys(m map[string]uint64) []string { return slices.Sorted(maps.Keys(m)) }
