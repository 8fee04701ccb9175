package conf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/hadirector/hadirector/vrrp"
)

// DirectorVariable is the environment variable that names the director.
const DirectorVariable = "HADIRECTOR_NAME"

// FindDirector tells which director this machine is: the one that the command line
// names, else the one that the environment names, else the one with the host name,
// in full or up to its first dot, else the one whose address is a local one. No
// match, or two, is an error that says what was tried and lists the candidates.
//
// In a file without directors, which is a plain load balancer without VRRP, nobody
// has a name: the result is empty, and only a name that was asked for is an error.
func (c *Config) FindDirector(flag, env, hostname string, local []netip.Addr) (string, error) {
	for _, asked := range []struct{ how, name string }{{"--director", flag}, {DirectorVariable, env}} {
		if asked.name == "" {
			continue
		}
		if _, ok := c.Director(asked.name); !ok {
			return "", c.noDirector(fmt.Sprintf("%s says %q, which is no director's name", asked.how, asked.name), asked.name)
		}
		return asked.name, nil
	}
	if len(c.Directors) == 0 {
		return "", nil
	}
	short, _, _ := strings.Cut(hostname, ".")
	for _, name := range []string{hostname, short} {
		if _, ok := c.Director(name); ok {
			return name, nil
		}
	}
	var here []Director
	for _, d := range c.Directors {
		if slices.Contains(local, d.Address) {
			here = append(here, d)
		}
	}
	switch len(here) {
	case 0:
		return "", c.noDirector(fmt.Sprintf("the host name %q is no director's name and no director's address is a local one", hostname), short)
	case 1:
		return here[0].Name, nil
	}
	return "", c.noDirector("the addresses of several directors are local: "+join(here, candidate), "")
}

func candidate(d Director) string { return fmt.Sprintf("%s (%s)", d.Name, d.Address) }

func (c *Config) noDirector(tried, name string) error {
	if len(c.Directors) == 0 {
		return fmt.Errorf("%s: %s has no [director.NAME]", tried, c.File)
	}
	names := make([]string, len(c.Directors))
	for i, d := range c.Directors {
		names[i] = d.Name
	}
	return errors.New("which director this is cannot be told: " + tried + didYouMean(nearest(name, names)) + "; candidates: " + join(c.Directors, candidate) +
		"; choose with --director NAME or " + DirectorVariable)
}

// Director returns the director of that name.
func (c *Config) Director(name string) (Director, bool) {
	i := slices.IndexFunc(c.Directors, func(d Director) bool { return d.Name == name })
	if i < 0 {
		return Director{}, false
	}
	return c.Directors[i], true
}

// Instances returns one director's view of every virtual router, in the order of the
// file: its own priority, the other directors as peers, and Preempt_Mode as it is at
// the moment. ready tells whether the director would be as good a Master as its peer;
// it counts only with preempt = "when-ready". There are none for an unknown director.
//
// Source is the director's own address if advertisements are unicast, since that is
// where its peers expect them from; otherwise it is left to the runner, which knows
// the interface's address.
func (c *Config) Instances(director string, ready bool) []vrrp.Instance {
	self, ok := c.Director(director)
	if !ok {
		return nil
	}
	var all []vrrp.Instance
	for _, vr := range c.VirtualRouters {
		all = append(all, c.instance(vr, self, ready))
	}
	return all
}

func (c *Config) instance(vr VirtualRouter, self Director, ready bool) vrrp.Instance {
	in := vrrp.Instance{
		Name: vr.Name,
		ID:   vrrp.ID{Interface: vr.Interface, Family: vr.family(), VRID: vr.VRID},
		Params: vrrp.Params{
			Version:        vr.Version,
			Priority:       vr.Priority[self.Name],
			AdvertInterval: vr.AdvertInterval,
			Preempt:        vr.Preempt == PreemptAlways || vr.Preempt == PreemptWhenReady && ready,
			PreemptDelay:   vr.PreemptDelay,
			Addresses:      slices.Clone(vr.VirtualAddresses),
			Auth:           vr.Auth,
		},
		Unicast: vr.Unicast,
	}
	if vr.Unicast {
		in.Source = self.Address
	}
	for _, d := range c.Directors {
		if d.Name != self.Name {
			in.Peers = append(in.Peers, d.Address)
		}
	}
	return in
}
