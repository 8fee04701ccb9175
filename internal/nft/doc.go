// Package nft has the daemon's tables in nftables. [Filter] keeps packets from where they
// must not go: packets to a Master's virtual addresses from the machine itself
// (Accept_Mode false, RFC 9568 section 6.1), and membership reports of virtual routers' own
// links from the wire. [Marks] gives packets the firewall marks that virtual servers ask for.
// [FullNAT] gives connections that IPVS forwards by NAT another source address.
//
// Each writes tables that nobody else writes, because the virtual routers have a process of
// their own: "nft list table inet hadirector" shows the first, "nft list table inet
// hadirector_mark" the second, "nft list table ip hadirector_fullnat" and the same of ip6 the
// third. A table is there as long as something is in it.
package nft
