package healthcheck

import (
	"net/netip"
	"strconv"
	"time"
)

// Type is the kind of a check. Ping and Process ask the director itself or its network,
// and serve as the tracks of virtual routers; Script and File serve as tracks and for real
// servers; the others ask a real server.
type Type string

// The kinds of checks.
const (
	TCP     Type = "tcp"
	HTTP    Type = "http"
	HTTPS   Type = "https"
	GRPC    Type = "grpc"
	DNS     Type = "dns"
	SMTP    Type = "smtp"
	UDP     Type = "udp"
	Script  Type = "script"
	Ping    Type = "ping"
	Process Type = "process"
	File    Type = "file"
	ICMP    Type = "icmp"
	Agent   Type = "agent"
)

// Spec is one configured check, [check.NAME]: what to ask and when to believe the
// answer. It is a comparable value, so that an unchanged check can be recognised.
type Spec struct {
	Name string
	Type Type
	// Interval is the time from the start of one probe to the start of the next.
	// FastInterval is that while a run of verdicts against the status goes on, and
	// DownInterval while the target is down otherwise; 0 means Interval.
	Interval, FastInterval, DownInterval time.Duration
	// Jitter is by how much, in percent, each of these is longer or shorter at random.
	Jitter int
	// Timeout bounds a whole probe, from connect to verdict, and ConnectTimeout the
	// connect alone, if it is not 0.
	Timeout, ConnectTimeout time.Duration
	// Rise and Fall are how many successes bring a real server up, and how many
	// failures take it down. The first verdict after a start needs only one.
	Rise, Fall int
	// Initial is what a target counts as until its first verdict.
	Initial Initial
	// Port is asked in place of the target's, by the types that ask one; 0: the target's.
	Port uint16
	// ViaVIP says that real servers are asked through their virtual server's address, by
	// the types that connect. The Path of each target says how.
	ViaVIP  bool
	TCP     TCPSpec     // for Type TCP
	HTTP    HTTPSpec    // for Types HTTP and HTTPS
	DNS     DNSSpec     // for Type DNS
	SMTP    SMTPSpec    // for Type SMTP
	UDP     UDPSpec     // for Type UDP
	TLS     TLSSpec     // for Type HTTPS, and for GRPC with TLS
	GRPC    GRPCSpec    // for Type GRPC
	Script  ScriptSpec  // for Type Script
	Ping    PingSpec    // for Type Ping
	Process ProcessSpec // for Type Process
	File    FileSpec    // for Type File
	Agent   AgentSpec   // for Type Agent
}

// HTTPSpec is what an HTTP check asks for and accepts.
type HTTPSpec struct {
	Method string // GET, HEAD, OPTIONS or POST
	Path   string // the request target, from the slash on
	Host   string // the Host header; empty: the target's address
	// Headers are further headers, "Name: value", separated by line feeds.
	Headers string
	// Body is that of a POST.
	Body string
	// Status are the accepted ones, as ParseStatuses reads them.
	Status string
	// Each of these that is not empty is wanted of the answer's body: a text somewhere in
	// it; a match of a regular expression (RE2, package regexp); its digest, "sha256:" or
	// "md5:" and lower-case hexadecimal digits.
	Expect, ExpectRegex, ExpectDigest string
}

// ScriptSpec is a program that is run; exit status 0 is success.
type ScriptSpec struct {
	// Command is the program's absolute path and its arguments, separated by NUL bytes.
	// No shell reads it. The arguments may have placeholders.
	Command string
	// User is whom the program runs as, a name or a numeric id; empty: nobody.
	User string
	// DynamicWeight makes exit statuses from 2 on a success too, with the status less 2 as
	// the weight (keepalived's misc_dynamic).
	DynamicWeight bool
}

// PingSpec is a host that must answer an ICMP or ICMPv6 echo request.
type PingSpec struct {
	Address netip.Addr
	// Interface is the one the request leaves by; empty: whichever the route says. A
	// link-local address needs one, here or as its zone.
	Interface string
}

// ProcessSpec is a program of which enough processes must run.
type ProcessSpec struct {
	// Name is the command's name as in /proc/PID/comm, of which the kernel keeps 15
	// bytes. With Full it is the whole command line, words separated by a space.
	Name string
	Full bool
	// Quorum is how many must run; below 1 means 1.
	Quorum int
}

// FileSpec is a file that holds one decimal number, which becomes the value of the
// target's status. That of a real server is a weight, and not negative.
type FileSpec struct {
	Path string // absolute; may have placeholders
}

// AgentSpec is a program beside a real server's service that says in a line of HAProxy's
// agent protocol how the real server is.
type AgentSpec struct {
	Port uint16
	Send string // sent as it is when the connection is there; may be empty
	// IgnoreSilence has the last answer stand when none comes that can be understood. Else
	// that is a failure.
	IgnoreSilence bool
}

// Target is what is asked: an address and the check to make there. Virtual servers
// that name the same target share one probe. A target without an address is a check
// of the director itself: a track.
type Target struct {
	Addr  netip.AddrPort
	Check string // name of the Spec
	Path  Path   // how it is asked
}

// Status is a target's health.
type Status uint8

// The statuses. Unknown is that of a target without a first verdict.
const (
	Unknown Status = iota
	Up
	Down
)

func (s Status) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	}
	return "unknown"
}

// Value is what a successful probe of a [Measurer] brings besides the success. The zero
// value says nothing. For a real server a number is the weight that it should have in
// place of the configured one, and a percentage the part of the configured one; 0 of
// either lets its connections go on and gives it no new ones.
type Value struct {
	Unit Unit
	N    int
}

// Unit is what the number of a [Value] counts.
type Unit uint8

// The units.
const (
	NoUnit Unit = iota
	Number
	Percent
)

func (v Value) String() string {
	switch v.Unit {
	case Number:
		return strconv.Itoa(v.N)
	case Percent:
		return strconv.Itoa(v.N) + "%"
	}
	return ""
}

// Event is a change of a target's status, value or notice. Err is the cause when it went down.
type Event struct {
	Target Target
	Status Status
	// Value is that of a [Measurer] as long as its target is up, else the zero value.
	Value Value
	// Notice is that of a [Noticer] as long as its target is up, else the zero value.
	Notice Notice
	Err    error
	At     time.Time
}
