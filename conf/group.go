package conf

import (
	"slices"
	"strings"

	"github.com/hadirector/hadirector/vrrp"
)

// syncGroup reads the name of a sync group, for which the rules of a table's name hold.
func (p *parser) syncGroup(n *node) string {
	const want = `the name of a sync group, such as "site"`
	s := p.text(n, want, "")
	if len(s) > maxName || strings.ContainsFunc(s, notInName) {
		p.errorf(n, "%q is not %s: letters, digits, \".\", \"_\" and \"-\", at most %d of them", shorten(s), want, maxName)
		return ""
	}
	return s
}

func (p *parser) onSplit(n *node) OnSplit {
	take, hold := SplitTake.String(), SplitHold.String()
	if p.choice(n, "an answer to a split", take, []string{take, hold}, nil) == hold {
		return SplitHold
	}
	return SplitTake
}

// groupContradictions looks at the virtual routers that are Master together or not at
// all.
func (p *parser) groupContradictions(c *Config) {
	members := map[string][]VirtualRouter{}
	for _, vr := range c.VirtualRouters {
		if vr.SyncGroup == "" {
			continue
		}
		n := p.root.at("vrrp", vr.Name, "sync_group")
		before := members[vr.SyncGroup]
		members[vr.SyncGroup] = append(before, vr)
		if len(before) == 0 {
			continue
		}
		first := before[0]
		if a, b := first.best(c.Directors), vr.best(c.Directors); a != "" && b != "" && a != b {
			p.warnf(n, "%s has the highest priority here, and %s has it in %s: a sync group is Master on one director, so want the same in all its members",
				b, a, first.Name)
		}
		if !slices.Equal(first.weights(), vr.weights()) {
			p.warnf(n, "the weights in track are not those of %s: a sync group is Master on one director, so want the same in all its members", first.Name)
		}
	}
	for _, vr := range c.VirtualRouters {
		n := p.root.at("vrrp", vr.Name, "sync_group")
		switch group := members[vr.SyncGroup]; {
		case vr.SyncGroup == "":
		case len(group) > 1:
			for _, d := range c.Directors {
				if vr.Priority[d.Name] == vrrp.PriorityOwner {
					p.errorf(n, "%s is the owner of the addresses (priority 255), and an owner is Master whatever the rest of the sync group is", d.Name)
				}
			}
		case len(c.VirtualRouters) == len(p.root.at("vrrp").kids):
			p.warnf(n, "no other virtual router is in the sync group %q", vr.SyncGroup)
		}
	}
}

// best is the director of the highest priority, "" if two have it.
func (vr VirtualRouter) best(ds []Director) string {
	name, highest := "", vrrp.Priority(0)
	for _, d := range ds {
		switch priority := vr.Priority[d.Name]; {
		case priority > highest:
			name, highest = d.Name, priority
		case priority == highest:
			name = ""
		}
	}
	return name
}

// splitContradictions reports a virtual router that would wait for news that nobody
// brings.
func (p *parser) splitContradictions(c *Config) {
	for _, vr := range c.VirtualRouters {
		if vr.OnSplit == SplitHold && p.root.at("sync").kid("key_file") == nil {
			p.errorf(p.root.at("vrrp", vr.Name, "on_split"), "hold needs [sync] with a key_file: without it there is no second heartbeat that says whether the Master is alive")
		}
	}
}
