package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	tableName = "hadirector"
	// inputPriority is behind IPVS, which takes packets to virtual servers at 98 and 99
	// (ip_vs_core.c), and behind the operator's filter chains, whose accept does not
	// end the way through other chains.
	inputPriority = 110
	// outputPriority is that of filter chains.
	outputPriority = 0
	// chunk is how many elements go into one message. Its length is limited.
	chunk = 1000
	// buffer holds a transaction of many thousand addresses.
	buffer = 8 << 20
)

// The types of ICMPv6 messages (RFC 4861, RFC 2710, RFC 3810).
const (
	mldReport             = 131
	mldDone               = 132
	neighborSolicitation  = 135
	neighborAdvertisement = 136
	mldReport2            = 143
)

// dial returns the library's way to the kernel. It asks first whether that has nftables: one
// without answers a transaction once, and the library waits for an answer to each of its
// messages.
func dial() (*nftables.Conn, error) {
	if _, err := generation(); err != nil {
		return nil, err
	}
	return nftables.New(nftables.WithSockOptions(func(c *netlink.Conn) error {
		// More than the limit needs a privilege that may be missing; then large sets fail.
		_ = c.SetWriteBuffer(buffer)
		return c.SetReadDeadline(time.Now().Add(patience))
	}))
}

// replace puts a table with this content in the place of the one that is there, if
// there is one, or deletes that one if the content is empty, in one transaction.
func replace(want content) error {
	c, err := dial()
	if err != nil {
		return err
	}
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: tableName}
	// To delete a table that is not there would be an error.
	c.AddTable(t)
	c.DelTable(t)
	if !want.empty() {
		t = c.AddTable(t)
		if err := addInput(c, t, want.refused); err != nil {
			return err
		}
		if err := addOutput(c, t, want.links); err != nil {
			return err
		}
	}
	if err := c.Flush(); err != nil {
		return fmt.Errorf("write table inet %s: %w", tableName, err)
	}
	return nil
}

// addInput adds, as nft prints it:
//
//	chain input { type filter hook input priority 110; policy accept;
//	  ip daddr @refused4 drop
//	  icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
//	  ip6 daddr @refused6 drop }
func addInput(c *nftables.Conn, t *nftables.Table, refused []netip.Addr) error {
	if len(refused) == 0 {
		return nil
	}
	refused4, err := addSet(c, t, "refused4", nftables.TypeIPAddr, elements(refused, netip.Addr.Is4))
	if err != nil {
		return err
	}
	refused6, err := addSet(c, t, "refused6", nftables.TypeIP6Addr, elements(refused, netip.Addr.Is6))
	if err != nil {
		return err
	}
	neighbors, err := addICMPSet(c, t, neighborSolicitation, neighborAdvertisement)
	if err != nil {
		return err
	}
	chain := c.AddChain(&nftables.Chain{
		Name: "input", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityRef(inputPriority),
	})
	rule := func(e ...[]expr.Any) { c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: slices.Concat(e...)}) }
	rule(isIPv4(), header(16, 4), in(refused4), verdict(expr.VerdictDrop))
	rule(isICMPv6(), icmpType(), in(neighbors), verdict(expr.VerdictAccept))
	rule(isIPv6(), header(24, 16), in(refused6), verdict(expr.VerdictDrop))
	return nil
}

// addOutput adds, as nft prints it:
//
//	chain output { type filter hook output priority filter; policy accept;
//	  oifname @links meta l4proto igmp drop
//	  oifname @links icmpv6 type { mld-listener-report, mld-listener-done, mld2-listener-report } ip6 saddr :: drop }
func addOutput(c *nftables.Conn, t *nftables.Table, links []string) error {
	if len(links) == 0 {
		return nil
	}
	var names []nftables.SetElement
	for _, l := range links {
		names = append(names, nftables.SetElement{Key: append([]byte(l), make([]byte, unix.IFNAMSIZ-len(l))...)})
	}
	set, err := addSet(c, t, "links", nftables.TypeIFName, names)
	if err != nil {
		return err
	}
	reports, err := addICMPSet(c, t, mldReport, mldDone, mldReport2)
	if err != nil {
		return err
	}
	chain := c.AddChain(&nftables.Chain{
		Name: "output", Table: t, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRef(outputPriority),
	})
	onLink := slices.Concat([]expr.Any{&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1}}, in(set))
	rule := func(e ...[]expr.Any) { c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: slices.Concat(e...)}) }
	rule(onLink, isIPv4(), isProtocol(unix.IPPROTO_IGMP), verdict(expr.VerdictDrop))
	rule(onLink, isICMPv6(), icmpType(), in(reports), header(8, 16), equal(make([]byte, 16)), verdict(expr.VerdictDrop))
	return nil
}

func addSet(c *nftables.Conn, t *nftables.Table, name string, key nftables.SetDatatype, elems []nftables.SetElement) (*nftables.Set, error) {
	s := &nftables.Set{Table: t, Name: name, KeyType: key}
	if key == nftables.TypeIFName {
		s.KeyByteOrder = binaryutil.NativeEndian
	}
	if err := c.AddSet(s, nil); err != nil {
		return nil, fmt.Errorf("add set %s: %w", name, err)
	}
	for part := range slices.Chunk(elems, chunk) {
		if err := c.SetAddElements(s, part); err != nil {
			return nil, fmt.Errorf("add elements to set %s: %w", name, err)
		}
	}
	return s, nil
}

func addICMPSet(c *nftables.Conn, t *nftables.Table, types ...byte) (*nftables.Set, error) {
	s := &nftables.Set{Table: t, Anonymous: true, Constant: true, KeyType: nftables.TypeICMP6Type}
	var elems []nftables.SetElement
	for _, n := range types {
		elems = append(elems, nftables.SetElement{Key: []byte{n}})
	}
	if err := c.AddSet(s, elems); err != nil {
		return nil, fmt.Errorf("add set of icmpv6 types: %w", err)
	}
	return s, nil
}

func elements(addrs []netip.Addr, of func(netip.Addr) bool) []nftables.SetElement {
	var elems []nftables.SetElement
	for _, a := range addrs {
		if of(a) {
			elems = append(elems, nftables.SetElement{Key: a.AsSlice()})
		}
	}
	return elems
}

// What follows is the words that rules are made of. Each uses register 1 alone.

func equal(data []byte) []expr.Any {
	return []expr.Any{&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}}
}

func isIPv4() []expr.Any { return isFamily(unix.NFPROTO_IPV4) }

func isIPv6() []expr.Any { return isFamily(unix.NFPROTO_IPV6) }

func isFamily(f byte) []expr.Any {
	return slices.Concat([]expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}}, equal([]byte{f}))
}

func isProtocol(p byte) []expr.Any {
	return slices.Concat([]expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}}, equal([]byte{p}))
}

func isICMPv6() []expr.Any { return slices.Concat(isIPv6(), isProtocol(unix.IPPROTO_ICMPV6)) }

// header loads a field of the network header.
func header(offset, length uint32) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length}}
}

func icmpType() []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1}}
}

func in(s *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID}}
}

func verdict(v expr.VerdictKind) []expr.Any { return []expr.Any{&expr.Verdict{Kind: v}} }
