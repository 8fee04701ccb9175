package nft

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// The registers: keys begin in the first, and no key is so long that it reaches the one that
// has what is translated to.
const (
	keyRegister = unix.NFT_REG32_00
	valRegister = unix.NFT_REG_4
)

// rules are the table's rules, by chain.
func (t natTable) rules() map[string][]*natRule {
	rules := map[string][]*natRule{guardChain: {t.guard()}, lateChain: {t.lateGuard()}}
	for _, s := range natSets[:6] {
		rules[fullNATChain] = append(rules[fullNATChain], t.translate(s))
	}
	return rules
}

// translate makes the connections of a set come from the address that the client connected
// to, and those of a map from what it says.
func (t natTable) translate(s natSet) *natRule {
	words := t.addr.Bytes / 4
	at := keyRegister + words // behind the real server's address
	r := t.rule().add(t.network(false, keyRegister))
	switch s {
	case byService, byServiceFrom:
		r.original(t.addr, at).add(
			&expr.Ct{Key: expr.CtKeyPROTODST, Direction: dirOriginal, Register: at + words},
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: at + words + 1})
	case byAddress, byAddressFrom:
		r.original(t.addr, at).add(&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: at + words})
	case byMark, byMarkFrom:
		r = t.rule().original(t.addr, keyRegister).
			add(&expr.Lookup{SourceRegister: keyRegister, SetName: string(markedServers), Invert: true},
				t.network(false, keyRegister), &expr.Meta{Key: expr.MetaKeyMARK, Register: at})
	}
	lookup := &expr.Lookup{SourceRegister: keyRegister, SetName: string(s), IsDestRegSet: s.isMap(), DestRegister: valRegister}
	r.add(lookup)
	if !s.isMap() {
		r.original(t.addr, valRegister)
	}
	return r.add(&expr.NAT{Type: expr.NATTypeSourceNAT, Family: uint32(t.table.Family), RegAddrMin: valRegister})
}

// guard drops what comes from a real server's port and belongs to no known connection.
func (t natTable) guard() *natRule {
	return t.rule().add(isProtocol(unix.IPPROTO_TCP)...).add(
		t.network(true, keyRegister),
		&expr.Payload{DestRegister: keyRegister + t.addr.Bytes/4, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 2},
		&expr.Lookup{SourceRegister: keyRegister, SetName: string(guardedServers)},
	).dropUnknown()
}

// lateGuard drops what comes from a real server, begins no connection and belongs to none.
func (t natTable) lateGuard() *natRule {
	const flagsAt, syn = 13, 0x02
	return t.rule().add(isProtocol(unix.IPPROTO_TCP)...).add(
		t.network(true, keyRegister),
		&expr.Lookup{SourceRegister: keyRegister, SetName: string(anyPortServers)},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: flagsAt, Len: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{syn}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0}},
	).dropUnknown()
}

// dropUnknown drops packets of connections that are new or invalid.
func (r *natRule) dropUnknown() *natRule {
	return r.add(
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitNEW | expr.CtStateBitINVALID), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	).add(verdict(expr.VerdictDrop)...)
}

// network loads the packet's source or destination address.
func (t natTable) network(source bool, register uint32) expr.Any {
	offset := uint32(12)
	if t.table.Family == nftables.TableFamilyIPv6 {
		offset = 8
	}
	if !source {
		offset += t.addr.Bytes
	}
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: t.addr.Bytes}
}

// natRule is a rule in the making, in the kernel's form. The library makes all of it but one
// expression.
type natRule struct {
	family byte
	list   []netlink.Attribute
	err    error
}

func (t natTable) rule() *natRule { return &natRule{family: byte(t.table.Family)} }

func (r *natRule) add(exprs ...expr.Any) *natRule {
	for _, e := range exprs {
		b, err := expr.Marshal(r.family, e)
		r.element(b, err)
	}
	return r
}

func (r *natRule) element(b []byte, err error) {
	if err != nil && r.err == nil {
		r.err = err
	}
	r.list = append(r.list, netlink.Attribute{Type: unix.NLA_F_NESTED | unix.NFTA_LIST_ELEM, Data: b})
}

// dirOriginal is IP_CT_DIR_ORIGINAL.
const dirOriginal = 0

// original loads the address that the client connected to: "ct original ip daddr". The
// library has only an older form of it, of which a list of rules makes nft abort.
func (r *natRule) original(addr nftables.SetDatatype, register uint32) *natRule {
	key := uint32(unix.NFT_CT_DST_IP)
	if addr.Bytes == 16 {
		key = unix.NFT_CT_DST_IP6
	}
	data, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_CT_KEY, Data: binaryutil.BigEndian.PutUint32(key)},
		{Type: unix.NFTA_CT_DIRECTION, Data: []byte{dirOriginal}},
		{Type: unix.NFTA_CT_DREG, Data: binaryutil.BigEndian.PutUint32(register)},
	})
	if err == nil {
		data, err = netlink.MarshalAttributes([]netlink.Attribute{
			{Type: unix.NFTA_EXPR_NAME, Data: []byte("ct\x00")},
			{Type: unix.NLA_F_NESTED | unix.NFTA_EXPR_DATA, Data: data},
		})
	}
	r.element(data, err)
	return r
}

// message is the request for the rule in a chain.
func (r *natRule) message(chain string) (netlink.Message, error) {
	exprs, err := netlink.MarshalAttributes(r.list)
	if err := errors.Join(r.err, err); err != nil {
		return netlink.Message{}, err
	}
	data, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_RULE_TABLE, Data: []byte(fullNATTable + "\x00")},
		{Type: unix.NFTA_RULE_CHAIN, Data: []byte(chain + "\x00")},
		{Type: unix.NLA_F_NESTED | unix.NFTA_RULE_EXPRESSIONS, Data: exprs},
	})
	return request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWRULE, netlink.Acknowledge|netlink.Create|unix.NLM_F_APPEND, r.family, 0, data), err
}

// request is a message with its header (struct nfgenmsg, linux/netfilter/nfnetlink.h).
func request(kind netlink.HeaderType, flags netlink.HeaderFlags, family, resource byte, data []byte) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{Type: kind, Flags: netlink.Request | flags},
		Data:   slices.Concat([]byte{family, unix.NFNETLINK_V0, 0, resource}, data),
	}
}

// addRules adds the table's rules, in one transaction.
func (t natTable) addRules() error {
	batch := []netlink.Message{request(unix.NFNL_MSG_BATCH_BEGIN, 0, 0, unix.NFNL_SUBSYS_NFTABLES, nil)}
	for chain, rules := range t.rules() {
		for _, r := range rules {
			m, err := r.message(chain)
			if err != nil {
				return fmt.Errorf("encode rules of table %s %s: %w", familyWord(t.table.Family), fullNATTable, err)
			}
			batch = append(batch, m)
		}
	}
	batch = append(batch, request(unix.NFNL_MSG_BATCH_END, 0, 0, unix.NFNL_SUBSYS_NFTABLES, nil))
	if err := send(batch); err != nil {
		return fmt.Errorf("write rules of table %s %s: %w", familyWord(t.table.Family), fullNATTable, err)
	}
	return nil
}

// send sends a transaction. The kernel answers each message that asks for it.
func send(batch []netlink.Message) error {
	c, err := connect()
	if err != nil {
		return err
	}
	defer c.Close()
	sent, err := c.SendMessages(batch)
	if err != nil {
		return err
	}
	for _, m := range sent {
		if m.Header.Flags&netlink.Acknowledge == 0 {
			continue
		}
		if _, err := c.Receive(); err != nil {
			return err
		}
	}
	return nil
}

// countRules counts the rules that the kernel has in a chain. The library cannot read them.
func (t natTable) countRules(chain string) (int, error) {
	fail := func(err error) (int, error) {
		return 0, fmt.Errorf("list rules of table %s %s: %w", familyWord(t.table.Family), fullNATTable, err)
	}
	names, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_RULE_TABLE, Data: []byte(fullNATTable + "\x00")},
		{Type: unix.NFTA_RULE_CHAIN, Data: []byte(chain + "\x00")},
	})
	if err != nil {
		return fail(err)
	}
	c, err := connect()
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	rules, err := c.Execute(request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETRULE, netlink.Dump, byte(t.table.Family), 0, names))
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fail(err)
	}
	return len(rules), nil
}
