package conf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
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
