package director

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/vrrp"
)

// instancesFor are the virtual routers before and after a change, by their names, with
// the states that they are in.
type instancesFor struct {
	before, after map[string]vrrp.Instance
	states        map[vrrp.ID]vrrp.State
}

// heldOn is an address on a link.
type heldOn struct {
	link string
	addr netip.Prefix
}

// steps are what is done to the virtual routers, in the order of vrrp/router: those that
// go on, those that are in the way of others, the new ones, and those that are gone.
func (is instancesFor) steps() []Step {
	before, after := byID(is.before), byID(is.after)
	var goOn, inTheWay, gone, added []vrrp.Instance
	stay := make(map[heldOn]bool) // what no stop takes away, because a Master that goes on has it
	for _, in := range inOrder(after) {
		if old, ok := before[in.ID]; !ok || old.Link() != in.Link() {
			added = append(added, in)
			continue
		}
		goOn = append(goOn, in)
		for _, a := range in.Held() {
			stay[heldOn{in.Link(), a}] = is.states[in.ID] == vrrp.Master
		}
	}
	for _, old := range inOrder(before) {
		in, stays := after[old.ID]
		switch _, sameName := is.after[old.Name]; {
		case stays && in.Link() == old.Link():
		case stays || sameName:
			inTheWay = append(inTheWay, old)
		default:
			gone = append(gone, old)
		}
	}
	var list []Step
	for _, in := range goOn {
		list = append(list, is.goOn(before[in.ID], in, stay)...)
	}
	for _, old := range inTheWay {
		list = append(list, is.stop(old, stay)...)
	}
	for _, in := range added {
		list = append(list, start(in)...)
	}
	for _, old := range gone {
		list = append(list, is.stop(old, stay)...)
	}
	return list
}

// goOn changes a virtual router in place.
func (is instancesFor) goOn(old, in vrrp.Instance, stay map[heldOn]bool) []Step {
	if old.Equal(in) {
		return nil
	}
	var list []Step
	for _, text := range differences(old, in) {
		list = append(list, Step{Comment: "vrrp " + in.Name + ": " + text})
	}
	master := is.states[in.ID] == vrrp.Master
	when := func(s Step) {
		if !master {
			s.Later, s.Comment = true, "vrrp "+in.Name+": when it becomes Master"
		}
		list = append(list, s)
	}
	if master {
		list = append(list, filterSteps("refuse", in, old)...)
	}
	added, removed := without(in.Held(), old.Held()), without(old.Held(), in.Held())
	for _, a := range added {
		when(addAddress(in, a))
	}
	if master {
		for _, a := range removed {
			if !stay[heldOn{in.Link(), a}] {
				list = append(list, delAddress(in, a))
			}
		}
	}
	for _, r := range in.Routes {
		if slices.ContainsFunc(old.Routes, r.Equal) {
			continue
		}
		verb := "add"
		if slices.ContainsFunc(old.Routes, samePlace(r)) {
			verb = "replace"
		}
		when(Step{Command: routeCommand(verb, r, in.Link())})
	}
	for _, r := range in.Rules {
		if !slices.Contains(old.Rules, r) {
			when(Step{Command: ruleCommand("add", r)})
		}
	}
	if !master {
		return list
	}
	list = append(list, filterSteps("accept", old, in)...)
	for _, r := range old.Rules {
		if !slices.Contains(in.Rules, r) {
			list = append(list, Step{Command: ruleCommand("del", r)})
		}
	}
	for _, r := range slices.Backward(old.Routes) {
		if !slices.ContainsFunc(in.Routes, samePlace(r)) {
			list = append(list, Step{Command: routeCommand("del", r, old.Link())})
		}
	}
	return list
}

// start has a virtual router take part. It holds nothing before it is Master.
func start(in vrrp.Instance) []Step {
	text := fmt.Sprintf("vrrp %s: starts as Backup, VRID %d on %s, priority %d", in.Name, in.ID.VRID, in.ID.Interface, in.Priority)
	if in.Fault != "" {
		text = fmt.Sprintf("vrrp %s: starts in Fault: %s", in.Name, in.Fault)
	}
	list := []Step{{Comment: text}}
	if in.VMAC != nil {
		mac := vrrp.VirtualMAC(in.ID.Family, in.ID.VRID)
		list = append(list, Step{Command: fmt.Sprintf("ip link add %s link %s address %v type macvlan mode private", in.Link(), in.ID.Interface, net.HardwareAddr(mac[:]))})
	}
	first := len(list)
	for _, a := range in.Held() {
		list = append(list, addAddress(in, a))
	}
	for _, r := range in.Routes {
		list = append(list, Step{Command: routeCommand("add", r, in.Link())})
	}
	for _, r := range in.Rules {
		list = append(list, Step{Command: ruleCommand("add", r)})
	}
	for i := range list[first:] {
		list[first+i].Later, list[first+i].Comment = true, "vrrp "+in.Name+": when it becomes Master"
	}
	return list
}

// stop takes a virtual router away with all that it holds.
func (is instancesFor) stop(old vrrp.Instance, stay map[heldOn]bool) []Step {
	if is.states[old.ID] != vrrp.Master {
		list := []Step{{Comment: "vrrp " + old.Name + ": stops"}}
		return append(list, delLink(old)...)
	}
	list := []Step{{Comment: "vrrp " + old.Name + ": stops: says priority 0, and keeps its addresses until another director takes over, or none does in time"}}
	for _, r := range old.Rules {
		list = append(list, Step{Command: ruleCommand("del", r)})
	}
	for _, r := range slices.Backward(old.Routes) {
		list = append(list, Step{Command: routeCommand("del", r, old.Link())})
	}
	for _, a := range old.Held() {
		if !stay[heldOn{old.Link(), a}] {
			list = append(list, delAddress(old, a))
		}
	}
	list = append(list, filterSteps("accept", old, vrrp.Instance{})...)
	return append(list, delLink(old)...)
}

func delLink(old vrrp.Instance) []Step {
	if old.VMAC == nil {
		return nil
	}
	return []Step{{Command: "ip link del " + old.Link()}}
}

func addAddress(in vrrp.Instance, a netip.Prefix) Step {
	command := fmt.Sprintf("ip addr add %v dev %s", a, in.Link())
	if a.Addr().Is6() {
		command += " nodad preferred_lft 0"
	}
	return Step{Command: command, Comment: "vrrp " + in.Name}
}

func delAddress(in vrrp.Instance, a netip.Prefix) Step {
	return Step{Command: fmt.Sprintf("ip addr del %v dev %s", a, in.Link()), Comment: "vrrp " + in.Name}
}

// filterSteps tell, in nft's words as far as they go, of the addresses that are refused in
// the one and not in the other.
func filterSteps(word string, in, other vrrp.Instance) []Step {
	refused := func(i vrrp.Instance) []netip.Prefix {
		if !i.Refuse {
			return nil
		}
		return i.Held()
	}
	var list []string
	for _, a := range without(refused(in), refused(other)) {
		list = append(list, a.Addr().String())
	}
	if len(list) == 0 {
		return nil
	}
	return []Step{{Comment: "nft: " + word + " packets to " + strings.Join(list, ", ")}}
}

// routeCommand is what an operator would type for a route of a virtual router.
func routeCommand(verb string, r vrrp.Route, link string) string {
	text := r.String()
	if r.Type == "" && r.Dev == "" && len(r.Hops) == 0 && (!r.Via.IsValid() || r.Via.IsLinkLocalUnicast()) {
		text += " dev " + link
	}
	where := "ip"
	if r.To.Addr().Is6() {
		where = "ip -6"
	}
	if words, hops, several := strings.Cut(text, " nexthop"); several {
		return fmt.Sprintf("%s route %s %s proto 112 nexthop%s", where, verb, words, hops)
	}
	return fmt.Sprintf("%s route %s %s proto 112", where, verb, text)
}

func ruleCommand(verb string, r vrrp.Rule) string {
	where := "ip"
	if r.Family == vrrp.IPv6 {
		where = "ip -6"
	}
	return fmt.Sprintf("%s rule %s %s protocol 112", where, verb, r)
}

// samePlace tells whether the kernel takes another route for the same.
func samePlace(r vrrp.Route) func(vrrp.Route) bool {
	return func(s vrrp.Route) bool {
		return r.To.Masked() == s.To.Masked() && r.Table == s.Table && r.Metric == s.Metric
	}
}

// differences are what is another of a virtual router, by the keys of its table.
func differences(old, in vrrp.Instance) []string {
	var list []string
	for _, key := range []struct {
		name string
		of   func(vrrp.Instance) string
	}{
		{"renamed", func(i vrrp.Instance) string { return i.Name }},
		{"priority", func(i vrrp.Instance) string { return fmt.Sprint(i.Priority) }},
		{"fault", func(i vrrp.Instance) string { return i.Fault }},
		{"version", func(i vrrp.Instance) string { return fmt.Sprint(i.Version) }},
		{"advert_interval", func(i vrrp.Instance) string { return i.AdvertInterval.String() }},
		{"preempt", func(i vrrp.Instance) string { return fmt.Sprint(i.Preempt) }},
		{"preempt_delay", func(i vrrp.Instance) string { return i.PreemptDelay.String() }},
		{"start_delay", func(i vrrp.Instance) string { return i.StartDelay.String() }},
		{"sync_group", func(i vrrp.Instance) string { return i.Group }},
		{"unicast", func(i vrrp.Instance) string { return fmt.Sprint(i.Unicast) }},
		{"unicast_ttl", func(i vrrp.Instance) string { return fmt.Sprint(i.TTL) }},
		{"unicast_min_ttl", func(i vrrp.Instance) string { return fmt.Sprint(i.MinTTL) }},
		{"source", func(i vrrp.Instance) string { return addrText(i.Source) }},
		{"address", func(i vrrp.Instance) string { return addrText(i.Prefer) }},
		{"peers", func(i vrrp.Instance) string { return fmt.Sprint(i.Peers) }},
		{"checksum", func(i vrrp.Instance) string { return fmt.Sprint(i.Checksum) }},
		{"announce", func(i vrrp.Instance) string { return fmt.Sprint(i.Announcements) }},
		{"link_up_delay", func(i vrrp.Instance) string { return i.LinkUpDelay.String() }},
		{"link_down_delay", func(i vrrp.Instance) string { return i.LinkDownDelay.String() }},
		{"accept", func(i vrrp.Instance) string { return fmt.Sprint(!i.Refuse) }},
		{"vmac", func(i vrrp.Instance) string { return fmt.Sprint(i.VMAC != nil && i.VMAC.TransmitBase) }},
	} {
		if was, is := key.of(old), key.of(in); was != is {
			list = append(list, fmt.Sprintf("%s %s -> %s", key.name, orNone(was), orNone(is)))
		}
	}
	if old.Auth != in.Auth { // secrets are not shown
		list = append(list, "another password")
	}
	if !old.HMAC.Equal(in.HMAC) {
		list = append(list, "another hmac")
	}
	if !slices.Equal(old.Addresses, in.Addresses) && slices.Equal(slices.SortedFunc(slices.Values(old.Held()), netip.Prefix.Compare), slices.SortedFunc(slices.Values(in.Held()), netip.Prefix.Compare)) {
		list = append(list, "other virtual_addresses are advertised, or in another order")
	}
	return list
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// statesByID are the virtual routers' states by what they keep when they are renamed.
func statesByID(cfg *conf.Config, states map[string]vrrp.State) map[vrrp.ID]vrrp.State {
	by := make(map[vrrp.ID]vrrp.State, len(cfg.VirtualRouters))
	for _, vr := range cfg.VirtualRouters {
		by[idOf(vr)] = states[vr.Name]
	}
	return by
}

func byID(instances map[string]vrrp.Instance) map[vrrp.ID]vrrp.Instance {
	by := make(map[vrrp.ID]vrrp.Instance, len(instances))
	for _, in := range instances {
		by[in.ID] = in
	}
	return by
}

// inOrder are virtual routers in the order of their names.
func inOrder(by map[vrrp.ID]vrrp.Instance) []vrrp.Instance {
	return slices.SortedFunc(maps.Values(by), func(a, b vrrp.Instance) int { return strings.Compare(a.Name, b.Name) })
}
