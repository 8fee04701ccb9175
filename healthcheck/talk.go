package healthcheck

import "time"

// TCPSpec is what a TCP check says once it is connected, and what has to come back. The
// zero value connects and nothing more.
type TCPSpec struct {
	// Send is what the check says, as bytes; empty: the server speaks first.
	Send string
	// Expect are bytes that the answer must have in it, and Regexp, in place of it, a
	// regular expression (RE2) that must match in it. Both empty: nothing is read.
	Expect, Regexp string
}

// DNSSpec is a question to a name server, and the answers that are good.
type DNSSpec struct {
	// TCP asks over TCP in place of UDP.
	TCP bool
	// Name is asked for: a domain name in its full form, with a dot at the end.
	Name string
	// Record is the type of record that is asked for, by its name: "A", "SOA".
	Record string
	// Codes are the accepted response codes by their names, separated by commas:
	// "NOERROR,NXDOMAIN".
	Codes string
	// Answer is the data that one record of that type in the answer must have; empty: the
	// response code alone counts.
	Answer string
}

// SMTPSpec is how a check talks to a mail server.
type SMTPSpec struct {
	// Helo is the name by which it introduces itself; empty: the address that it has on the
	// connection.
	Helo string
	// StartTLS makes the connection secure, as the check's TLSSpec says.
	StartTLS bool
}

// UDPSpec is a datagram that is sent to a server, and what has to come back.
type UDPSpec struct {
	// Payload is the datagram's data.
	Payload string
	// Wait is how long a check that needs no reply waits for an ICMP error. 0: a reply is
	// needed.
	Wait time.Duration
	// Reply is what the reply has to begin with.
	Reply Pattern
	// ReplyMin and ReplyMax are how long it may be, in bytes, both included.
	ReplyMin, ReplyMax int
}

// MaxReply is the longest reply to a UDP check that can be asked for, in bytes.
const MaxReply = 4096
