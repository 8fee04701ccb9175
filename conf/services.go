package conf

import (
	"log/slog"
	"net/netip"
)

var (
	ipvsGrammar  = grammar{keys: append([]string{"on_stop", probeMarksKey}, parameterNames()...)}
	adminGrammar = grammar{keys: []string{"socket", "metrics"}}
	logGrammar   = grammar{keys: []string{"level", "format"}}
)

// What becomes of the kernel's table when the daemon stops.
const (
	stopRelease = "release"
	stopKeep    = "keep"
)

// ipvs reads [ipvs].
func (p *parser) ipvs(n *node) IPVS {
	if !p.table(n, ipvsGrammar) {
		return IPVS{ProbeMarks: defaultProbeMarks}
	}
	return IPVS{
		KeepOnStop: p.choice(n.kid("on_stop"), "an end", stopRelease, []string{stopRelease, stopKeep}, nil) == stopKeep,
		Parameters: p.parameters(n),
		ProbeMarks: p.probeMarks(n.kid(probeMarksKey)),
	}
}

// admin reads [admin].
func (p *parser) admin(n *node, ds []Director) Admin {
	a := Admin{Socket: DefaultSocket}
	if !p.table(n, adminGrammar) {
		return a
	}
	a.Socket = p.absolute(n.kid("socket"), DefaultSocket)
	if len(a.Socket) > maxSocket {
		p.errorf(n.at("socket"), "a unix socket's path has at most %d bytes, this one has %d", maxSocket, len(a.Socket))
	}
	a.Metrics = p.metrics(n.kid("metrics"), ds)
	return a
}

// metrics reads the address that metrics are served on. Unlike every other address
// it may be 0.0.0.0 or [::].
func (p *parser) metrics(n *node, ds []Director) netip.AddrPort {
	const want = `ADDRESS:PORT, such as "127.0.0.1:9650"`
	s, ok := read[string](p, n, want)
	if !ok {
		return netip.AddrPort{}
	}
	a, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		p.errorf(n, "%q is not %s%s", shorten(s), want, looksLikeHost(s))
	case a.Port() == 0:
		p.errorf(n, "port 0: want a port, such as 9650")
	case a.Addr().Is4In6():
		p.errorf(n, "%s is an IPv4 address in IPv6 form: write %q", a, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()))
	case a.Addr().Zone() != "" || a.Addr().IsMulticast():
		p.errorf(n, "%s cannot be listened on", a)
	default:
		if a.Addr().IsUnspecified() {
			p.warnf(n, "%s serves metrics to everyone who can reach this machine", a)
		} else if !a.Addr().IsLoopback() && len(ds) > 1 {
			p.warnf(n, "%s is the address of one machine, and this file is for %d directors", a.Addr(), len(ds))
		}
		return a
	}
	return netip.AddrPort{}
}

var (
	logLevels     = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	logLevelNames = []string{"debug", "info", "warn", "error"}
	logFormats    = []string{"text", "json"}
)

// log reads [log].
func (p *parser) log(n *node) Log {
	l := Log{Level: defaultLogLevel, Format: defaultLogFormat}
	if !p.table(n, logGrammar) {
		return l
	}
	if k := n.kid("level"); k != nil {
		name := p.choice(k, "a log level", "info", logLevelNames, map[string]string{"warning": "warn", "err": "error", "notice": "info"})
		l.Level = logLevels[name]
	}
	l.Format = p.choice(n.kid("format"), "a log format", defaultLogFormat, logFormats, nil)
	return l
}
