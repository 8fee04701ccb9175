// Package nft keeps packets from where they must not go, with nftables: packets to a
// Master's virtual addresses from the machine itself (Accept_Mode false, RFC 9568
// section 6.1), and membership reports of virtual routers' own links from the wire.
//
// Everything is in one table of the family inet that is the daemon's own, "hadirector".
// "nft list table inet hadirector" shows it. It is there as long as something is in it.
package nft
