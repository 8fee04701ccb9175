// Package syncd is the synchronisation of connections between directors as values:
// which of the kernel's IPVS sync daemons should run for the director's VRRP role,
// the ordered operations that lead there, and the stream between two directors. It talks
// to no kernel and no network; packages ipvs/ipvsnl and syncd/syncconn do.
//
// The kernel's master daemon multicasts the connections that change to
// 224.0.0.81:8848, its backup daemon takes in what others send (net/netfilter/
// ipvs/ip_vs_sync.c). [ParseMessage] and [Messages] speak their language: what a master
// daemon says can be read, and a backup daemon takes what is built here. A [Conn] is what
// they speak of; [AppendConn] and [ParseConn] are for streams that need no datagrams.
//
// The kernels tell each other of changes only, and have no word for all that there is.
// [Table], the shadow table, keeps what they told: it can be passed on as a whole while it
// changes, and its digests say whether two directors have the same.
//
// [Scopes] says what of all that other directors are told, for each virtual server.
//
// [Frame] is what goes over the stream, [Link] its rules: numbers, acknowledgements, what
// is sent again, when all is sent again. Connection records pass through as bytes.
package syncd
