package director

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hadirector/hadirector/conf"
	"github.com/hadirector/hadirector/ipvs"
)

// OverrideKind is what an operator wants of a real server instead of what the
// configuration says.
type OverrideKind string

// The kinds.
const (
	// OverrideDrain gives it weight 0: its connections go on, and it gets no new ones.
	OverrideDrain OverrideKind = "drain"
	// OverrideDisable takes it out of the table, and cuts it off from its connections.
	OverrideDisable OverrideKind = "disable"
	// OverrideWeight gives it another weight.
	OverrideWeight OverrideKind = "weight"
	// OverrideNone, in a request, ends an override.
	OverrideNone OverrideKind = "enable"
)

// Override is one change of one real server, laid over the configuration until it is
// ended or its time is over.
type Override struct {
	Kind OverrideKind `json:"kind"`
	// Weight counts only with OverrideWeight.
	Weight uint32 `json:"weight"`
	By     string `json:"by"` // who asked for it
	// Director is where it was asked for: overrides are the whole cluster's.
	Director string    `json:"director,omitempty"`
	At       time.Time `json:"at"`
	Until    time.Time `json:"until,omitzero"` // zero: until it is ended
	Reason   string    `json:"reason,omitempty"`
}

// String is "drain", "disable" or "weight 5".
func (o Override) String() string {
	if o.Kind == OverrideWeight {
		return fmt.Sprintf("weight %d", o.Weight)
	}
	return string(o.Kind)
}

// over is whether its time has come.
func (o Override) over(now time.Time) bool { return !o.Until.IsZero() && !now.Before(o.Until) }

// quiet says that the real server gets no new connections.
func (o Override) quiet() bool { return o.Kind != OverrideWeight || o.Weight == 0 }

// apply returns the real server as the override wants it, or false if it wants it
// nowhere.
func (o Override) apply(rs conf.RealServer) (conf.RealServer, bool) {
	switch o.Kind {
	case OverrideDrain:
		rs.Weight = 0
	case OverrideWeight:
		rs.Weight = o.Weight
	case OverrideDisable:
		return rs, false
	}
	return rs, true
}

// ServerID is a real server of a virtual server, by their names.
type ServerID struct{ VirtualServer, RealServer string }

// String is "web/web-1", as commands and events name it.
func (id ServerID) String() string { return id.VirtualServer + "/" + id.RealServer }

func (id ServerID) compare(o ServerID) int { return strings.Compare(id.String(), o.String()) }

// Overrides are those in force, or others that are not ended.
type Overrides map[ServerID]Override

// OverrideRequest is what an operator asks for.
type OverrideRequest struct {
	// Target is "web/web-1"; "web" or "web/*" for all real servers of a virtual server;
	// "*/web-1" for one in all the virtual servers that have it.
	Target string
	Kind   OverrideKind
	Weight uint32        // only with OverrideWeight
	For    time.Duration // 0: until it is ended
	By     string
	Reason string
}

// maxReason and maxBy bound a reason and a user's name, in bytes: they are shown in a line.
const (
	maxReason = 200
	maxBy     = 255
)

// check refuses what cannot be meant. Its sentences are for the operator.
func (r OverrideRequest) check() error {
	switch {
	case !slices.Contains([]OverrideKind{OverrideDrain, OverrideDisable, OverrideWeight, OverrideNone}, r.Kind):
		return fmt.Errorf("unknown change %q: want drain, disable, weight or enable", r.Kind)
	case r.Weight > ipvs.MaxWeight:
		return fmt.Errorf("weight %d: the kernel's greatest is %d", r.Weight, ipvs.MaxWeight)
	case r.For < 0 || r.For > 0 && r.For < time.Second:
		return fmt.Errorf("a duration of %v: want at least 1s", r.For)
	case r.Kind == OverrideNone && r.For != 0:
		return errors.New("enable is for good: it takes no duration")
	case len(r.Reason) > maxReason:
		return fmt.Errorf("the reason has %d bytes: want at most %d", len(r.Reason), maxReason)
	case !printable(r.Reason):
		return errors.New("the reason has characters that cannot be printed")
	case len(r.By) > maxBy || !printable(r.By):
		return errors.New("the user's name is too long or cannot be printed")
	}
	return nil
}

// printable tells whether a text can be shown on a terminal as it is.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}

// find returns the real servers that a target names, in the order of the
// configuration. Its errors name the nearest one that there is.
func find(cfg *conf.Config, target string) ([]ServerID, error) {
	vsName, rsName, both := strings.Cut(target, "/")
	if !both {
		rsName = "*"
	}
	var ids []ServerID
	var vsNames, rsNames []string
	for _, vs := range cfg.VirtualServers {
		vsNames = append(vsNames, vs.Name)
		if vsName != "*" && vsName != vs.Name {
			continue
		}
		for _, rs := range vs.RealServers {
			rsNames = append(rsNames, rs.Name)
			if rsName == "*" || rsName == rs.Name {
				ids = append(ids, ServerID{vs.Name, rs.Name})
			}
		}
	}
	switch {
	case target == "*" || target == "*/*":
		return nil, fmt.Errorf("%q is every real server there is: name a virtual server or a real server", target)
	case len(ids) > 0:
		return ids, nil
	case vsName != "*" && !slices.Contains(vsNames, vsName):
		if !both && hasRealServer(cfg, vsName) {
			return nil, fmt.Errorf("no virtual server is named %q; did you mean \"*/%s\"?", vsName, vsName)
		}
		return nil, fmt.Errorf("no virtual server is named %q%s", vsName, conf.DidYouMean(vsName, vsNames))
	case vsName == "*":
		return nil, fmt.Errorf("no virtual server has a real server %q%s", rsName, conf.DidYouMean(rsName, rsNames))
	case rsName == "*":
		return nil, fmt.Errorf("virtual server %s has no real servers", vsName)
	}
	return nil, fmt.Errorf("virtual server %s has no real server %q%s", vsName, rsName, conf.DidYouMean(rsName, rsNames))
}

// hasRealServer tells whether any virtual server has a real server of that name.
func hasRealServer(cfg *conf.Config, name string) bool {
	for _, vs := range cfg.VirtualServers {
		if slices.ContainsFunc(vs.RealServers, func(rs conf.RealServer) bool { return rs.Name == name }) {
			return true
		}
	}
	return false
}
