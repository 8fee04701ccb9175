package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hadirector/hadirector/internal/director"
	"github.com/hadirector/hadirector/internal/journal"
)

// Events is the journal as the server reads it.
type Events interface {
	Last() uint64
	Read(since time.Time) ([]journal.Record, error)
	Follow(ctx context.Context, since uint64) iter.Seq[journal.Record]
}

// Options are what a Server serves.
type Options struct {
	Path   string // of the socket
	Status func() director.Status
	Events Events
	// Reload loads the configuration file again. With an error nothing has changed.
	Reload func(ctx context.Context) (Reloaded, error)
	// Plan says what Reload would do; of a configuration that is given, or of the file
	// if text is nil. Nothing is changed.
	Plan func(ctx context.Context, name string, text []byte) (Planned, error)
	// Switchover gives virtual routers to another director; an error means that nothing
	// has happened, or that nobody waits for the outcome any more.
	Switchover func(ctx context.Context, by string, names []string) ([]director.SwitchedOver, error)
	// Override lays a change of real servers over the configuration. An error means
	// that nothing has happened.
	Override func(ctx context.Context, req director.OverrideRequest) (Overridden, error)
	Logger   *slog.Logger
}

// Reloaded is the outcome of a reload.
type Reloaded struct {
	File string `json:"file"`
	Hash string `json:"hash"`
	// Changed are the first keys that differ from the configuration before.
	Changed []string `json:"changed"`
	// Steps are what was done about that so far, in its order.
	Steps []director.Step `json:"steps"`
	// Warnings are about the new configuration.
	Warnings []string `json:"warnings"`
	// Refused is what the kernel did not take of it so far.
	Refused []string `json:"refused"`
}

// Server is the admin socket.
type Server struct {
	o        Options
	listener net.Listener
	http     *http.Server
}

// Listen opens the socket. A socket that a killed daemon left behind is replaced; one
// that a running daemon answers on is an error, and so is any other file.
func Listen(o Options) (*Server, error) {
	if info, err := os.Lstat(o.Path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("listen on %s: there is something else than a socket", o.Path)
	}
	if conn, err := net.Dial("unix", o.Path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("listen on %s: another hadirector is running there", o.Path)
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		if err := os.Remove(o.Path); err != nil {
			return nil, fmt.Errorf("replace the socket of an earlier run: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o755); err != nil {
		return nil, fmt.Errorf("make the admin socket's directory: %w", err)
	}
	l, err := listenPrivate(o.Path)
	if err != nil {
		return nil, fmt.Errorf("listen on the admin socket: %w", err)
	}
	s := &Server{o: o, listener: l}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", s.status)
	mux.HandleFunc("GET /v1/events", s.events)
	mux.HandleFunc("POST /v1/reload", s.reload)
	mux.HandleFunc("POST /v1/plan", s.plan)
	mux.HandleFunc("POST /v1/switchover", s.switchover)
	mux.HandleFunc("POST /v1/override", s.override)
	s.http = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ConnContext: withCaller}
	return s, nil
}

// listenPrivate makes the socket with mode 0600 from its first moment on: it is bound
// under a name of its own in a directory that nobody else can enter, and then moved.
func listenPrivate(path string) (net.Listener, error) {
	dir, err := os.MkdirTemp(filepath.Dir(path), ".admin-*") // mode 0700
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	tmp := filepath.Join(dir, "s")
	l, err := net.Listen("unix", tmp)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // it will be known by another name
	if err := errors.Join(os.Chmod(tmp, 0o600), os.Rename(tmp, path)); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Run serves until ctx is canceled, and removes the socket.
func (s *Server) Run(ctx context.Context) error {
	defer os.Remove(s.o.Path)
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	ended := make(chan error, 1)
	go func() { ended <- s.http.Serve(s.listener) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the admin socket: %w", err)
	case <-ctx.Done():
	}
	// Those who follow the events see their stream end, not break.
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if s.http.Shutdown(patience) != nil {
		s.http.Close()
	}
	<-ended
	return nil
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, s.o.Status())
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	s.o.Logger.Info("reload requested", "by", "admin socket")
	out, err := s.o.Reload(r.Context())
	if err != nil {
		s.reply(w, http.StatusConflict, apiError{err.Error()})
		return
	}
	s.reply(w, http.StatusOK, out)
}

// switchover gives the virtual routers named by the parameter instance away, all of
// them without one.
func (s *Server) switchover(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.reply(w, http.StatusBadRequest, apiError{err.Error()})
		return
	}
	out, err := s.o.Switchover(r.Context(), "admin socket", r.Form["instance"])
	if err != nil {
		s.reply(w, http.StatusConflict, apiError{err.Error()})
		return
	}
	s.reply(w, http.StatusOK, out)
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	var since time.Time
	if v := r.FormValue("since"); v != "" {
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			s.reply(w, http.StatusBadRequest, apiError{fmt.Sprintf("since: %v", err)})
			return
		}
		since = t
	}
	last := s.o.Events.Last() // before Read, so that nothing falls between
	records, err := s.o.Events.Read(since)
	if err != nil {
		s.o.Logger.Warn("older events cannot be read", "err", err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	for _, rec := range records {
		if enc.Encode(rec) != nil {
			return // the reader is gone
		}
		last = max(last, rec.Seq)
	}
	if r.FormValue("follow") == "" {
		return
	}
	flush := http.NewResponseController(w)
	if flush.Flush() != nil {
		return
	}
	for rec := range s.o.Events.Follow(r.Context(), last) {
		if enc.Encode(rec) != nil || flush.Flush() != nil {
			return
		}
	}
}

type apiError struct {
	Error string `json:"error"`
}

func (s *Server) reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.o.Logger.Debug("admin reader went away", "err", err)
	}
}
