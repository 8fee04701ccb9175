package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/internal/admin"
	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/syncd"
)

// ownerFlags are those of the commands that change services which a daemon may own.
type ownerFlags struct {
	socket string
	force  bool
}

func (f *ownerFlags) add(cmd *cobra.Command) {
	socketFlag(cmd, &f.socket)
	cmd.Flags().BoolVar(&f.force, "force", false, "also change services of a running hadirector, which will repair them")
}

// refuseOwned refuses to go on if a daemon owns a service that is to be changed.
func (t ipvsTool) refuseOwned(ctx context.Context, f ownerFlags, changes func(ipvs.ServiceKey) bool) error {
	if f.force {
		return nil
	}
	owned, err := t.owned(ctx, f.socket)
	if err != nil {
		return fmt.Errorf("whether a hadirector owns the services is not known (--force goes on all the same): %w", err)
	}
	var keys []string
	all := ipvs.Table{}
	for key := range owned {
		all[key] = ipvs.Entry{}
	}
	for key := range all.All() {
		if changes(key) && key != tickService { // of which the operator knows nothing
			keys = append(keys, key.String())
		}
	}
	if len(keys) == 0 {
		return nil
	}
	const few = 3
	names := strings.Join(keys[:min(len(keys), few)], ", ")
	if len(keys) > few {
		names += fmt.Sprintf(" and %d more", len(keys)-few)
	}
	return fmt.Errorf("the hadirector that runs here owns %s and would repair them at once: stop it or change its configuration (--force goes on all the same)", names)
}

// tickService is the service of the relay's own flow.
var tickService = ipvs.AddrKey(ipvs.TCP, syncd.TickService)

// ownedServices asks the daemon behind a socket for its services.
func ownedServices(ctx context.Context, socket string) (map[ipvs.ServiceKey]bool, error) {
	s, err := admin.NewClient(socket).Status(ctx)
	if errors.Is(err, admin.ErrNotRunning) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	table, err := ipvs.ParseSave(strings.NewReader(s.IPVS.Table))
	if err != nil {
		return nil, fmt.Errorf("the daemon's table: %w", err)
	}
	owned := make(map[ipvs.ServiceKey]bool, len(table))
	for key := range table {
		owned[key] = true
	}
	return owned, nil
}
