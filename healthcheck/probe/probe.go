package probe

import (
	"fmt"

	"github.com/hadirector/hadirector/healthcheck"
)

// New returns the Checker that makes the check sp at target t. The context given to
// its Check must end at sp.Timeout, as the Monitor's does; sp.Timeout itself is only
// what a cause says.
//
// The errors name what is wrong with the Spec. The configuration's parser has
// refused all of these before.
func New(sp healthcheck.Spec, t healthcheck.Target) (healthcheck.Checker, error) {
	if !t.Addr.IsValid() || t.Addr.Port() == 0 {
		return nil, fmt.Errorf("address %v cannot be connected to", t.Addr)
	}
	switch sp.Type {
	case healthcheck.TCP:
		return newTCP(sp, t), nil
	case healthcheck.HTTP:
		c, err := newHTTP(sp, t)
		if err != nil {
			return nil, err // not c: a nil *httpCheck is not a nil Checker
		}
		return c, nil
	}
	return nil, fmt.Errorf("type %q is not known", sp.Type)
}
