package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvsnl"
	"github.com/hadirector/hadirector/syncd"
)

// connsTool makes "hadirector conns".
type connsTool struct {
	connections func() iter.Seq2[ipvs.Connection, error]
	now         func() time.Time

	config, socket  string
	virtual, real   string
	client          string
	from            netip.Prefix // client, read
	asJSON, summary bool
	configured      bool // the names are asked of a file
	names           connNames
	read, shown     int
	lastShown       time.Time // or told of
}

// newConns is "hadirector conns".
func newConns() *cobra.Command {
	return (&connsTool{connections: ipvsnl.Connections, now: time.Now}).command()
}

func (t *connsTool) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conns",
		Short: "the connection table, by the names of the configuration",
		Long: `conns prints the kernel's connections with the names of their virtual and real
servers, as they are read. The names are those that the daemon knows; without a daemon,
or with -c, a configuration file's. What has no name is shown by its address.

A template is the memory of a client with persistence, who comes back to the same real
server. Expiry is in minutes and seconds.

The kernel takes long to tell a great table, the longer the greater, and a busy one
changes meanwhile. Ctrl-C ends it, with what has been counted so far.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t.configured = cmd.Flags().Changed("config")
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // the second one ends it at once
			return t.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	configFlag(cmd, &t.config)
	socketFlag(cmd, &t.socket)
	cmd.Flags().StringVar(&t.virtual, "virtual-server", "", "only those of the virtual server `NAME`")
	cmd.Flags().StringVar(&t.real, "real-server", "", "only those of the real server `NAME`")
	cmd.Flags().StringVar(&t.client, "client", "", "only those of the client `ADDRESS`, or of a network such as 10.0.0.0/24")
	cmd.Flags().BoolVar(&t.summary, "summary", false, "only how many each real server has")
	cmd.Flags().BoolVar(&t.asJSON, "json", false, "print one JSON object per line")
	t.complete(cmd, "virtual-server", func(n connNames) []string { return n.virtuals() })
	t.complete(cmd, "real-server", func(n connNames) []string { return n.reals(t.virtual) })
	return cmd
}

// complete has the shell complete a flag with names that the daemon knows.
func (t *connsTool) complete(cmd *cobra.Command, flag string, names func(connNames) []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		s, err := admin.NewClient(t.socket).Status(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(namesOfStatus(s)), cobra.ShellCompDirectiveNoFileComp
	}) // it fails for a flag that there is not
}

func (t *connsTool) run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := t.readClient(); err != nil {
		return err
	}
	if err := t.findNames(ctx, stderr); err != nil {
		return err
	}
	if err := t.names.check(t.virtual, t.real); err != nil {
		return err
	}
	w := bufio.NewWriterSize(stdout, 1<<16)
	out := t.printer(w)
	t.lastShown = t.now()
	for c, err := range t.connections() {
		if err != nil {
			return errors.Join(w.Flush(), err)
		}
		if ctx.Err() != nil {
			break
		}
		if c.Virtual == syncd.TickService {
			continue // no client's: see director.Pass.Ticks
		}
		t.read++
		n := namedConn{Connection: c}
		n.virtual, n.real = t.names.of(c)
		if t.wants(n) {
			t.shown++
			if err := out.show(n); err != nil {
				return err
			}
		}
		if err := t.progress(w, stderr); err != nil {
			return err
		}
	}
	if err := errors.Join(out.end(), w.Flush()); err != nil {
		return err
	}
	if ctx.Err() != nil {
		fmt.Fprintf(stderr, "interrupted after %d connections: there are more\n", t.read)
		return errReported
	}
	return nil
}

func (t *connsTool) readClient() (err error) {
	if t.client == "" {
		return nil
	}
	if a, err := netip.ParseAddr(t.client); err == nil {
		t.from = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	if t.from, err = netip.ParsePrefix(t.client); err != nil {
		return usageError{fmt.Errorf("--client %q is neither an address nor a network such as 10.0.0.0/24", t.client)}
	}
	t.from = t.from.Masked()
	return nil
}

// findNames asks the daemon for the names, or reads the file. Without either, addresses
// are shown, unless a name was asked for.
func (t *connsTool) findNames(ctx context.Context, stderr io.Writer) error {
	var why error
	if !t.configured {
		s, err := admin.NewClient(t.socket).Status(ctx)
		if err == nil {
			t.names = namesOfStatus(s)
			return nil
		}
		why = err
	}
	cfg, err := conf.Load(t.config)
	switch {
	case err == nil:
		t.names = namesOfConfig(cfg)
		return nil
	case t.configured:
		fmt.Fprintln(stderr, err)
		return errReported
	case t.virtual != "" || t.real != "":
		return fmt.Errorf("the names are not known: %w; and %w", why, err)
	}
	fmt.Fprintf(stderr, "addresses are shown, the names are not known: %v; and %v\n", why, err)
	return nil
}

func (t *connsTool) wants(n namedConn) bool {
	return (t.virtual == "" || n.virtual == t.virtual) && (t.real == "" || n.real == t.real) &&
		(t.client == "" || t.from.Contains(n.Client.Addr()))
}

func (t *connsTool) printer(w *bufio.Writer) connPrinter {
	switch {
	case t.summary:
		return &connCounts{w: w, asJSON: t.asJSON, by: make(map[connPair]*connCount)}
	case t.asJSON:
		return connObjects{json.NewEncoder(w)}
	}
	return newConnLines(w, t.names)
}

const (
	// silence is how long nothing is shown before a word of what is going on.
	silence = 3 * time.Second
	// flushPause is how long a line waits for others at most.
	flushPause = 200 * time.Millisecond
)

// progress lets what is there be seen, and says what is going on when there is nothing.
func (t *connsTool) progress(w *bufio.Writer, stderr io.Writer) error {
	now := t.now()
	if w.Buffered() > 0 && now.Sub(t.lastShown) >= flushPause {
		t.lastShown = now
		return w.Flush()
	}
	if now.Sub(t.lastShown) >= silence {
		t.lastShown = now
		fmt.Fprintf(stderr, "%d connections read so far, %d of them wanted; the kernel takes long to tell a great table\n", t.read, t.shown)
	}
	return nil
}
