package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/hadirector/hadirector/ipvs"
)

// save is "hadirector ipvs save".
func (t ipvsTool) save() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save",
		Short: "the table as rules, as ipvsadm -Sn",
		Long: `save prints the table as the rules that 'hadirector ipvs restore' and ipvsadm -R
read. Unlike ipvsadm it does not leave out the thresholds, nor a third scheduler flag
of sh and mh, and it writes great firewall marks as they are.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.with(func(k ipvsKernel) error {
				listing, err := k.Listing(cmd.Context(), nil)
				if err != nil {
					return err
				}
				listing.Sort()
				return buffered(cmd.OutOrStdout(), func(w *bufio.Writer) error {
					_, err := w.WriteString(listing.Rules())
					return err
				})
			})
		},
	}
	cmd.Flags().BoolP("numeric", "n", true, "addresses and ports as numbers; this is so always")
	return cmd
}

// restore is "hadirector ipvs restore".
func (t ipvsTool) restore() *cobra.Command {
	var (
		f     ownerFlags
		clear bool
	)
	cmd := &cobra.Command{
		Use:   "restore [FILE]",
		Short: "make the table as rules say, those of ipvsadm -Sn or 'ipvs save'",
		Long: `restore reads rules from FILE, or from standard input, and makes the services
that they name as they say, with their real servers and no others. What is there
already is changed in place; services that no rule names stay, unless --clear.

All mistakes are named as FILE:LINE:COLUMN: message before anything changes. When
the kernel refuses a rule, everything is put back as it was.`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, in := "-", cmd.InOrStdin()
			if len(args) > 0 && args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				name, in = args[0], file
			}
			table, err := readRules(name, in, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return t.with(func(k ipvsKernel) error { return t.makeSo(cmd.Context(), k, table, clear, f) })
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&clear, "clear", false, "also delete the services that no rule names")
	return cmd
}

// readRules reads rules and says on w every mistake, and what is legal but without use.
func readRules(name string, r io.Reader, w io.Writer) (ipvs.Table, error) {
	table, err := ipvs.ParseSave(r)
	var mistakes ipvs.Mistakes
	if errors.As(err, &mistakes) {
		for _, m := range mistakes {
			fmt.Fprintf(w, "%s:%v\n", name, m)
		}
		return nil, errReported
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	for key, e := range table.All() {
		if key.FWMark == 0 && key.Addr.Port() == 0 && e.Service.Flags&ipvs.FlagPersistent == 0 {
			fmt.Fprintf(w, "%s: warning: %s: port 0 is for every port with persistence (-p) only, without it the kernel sends no connection anywhere\n", name, key)
		}
	}
	return table, nil
}

// makeSo makes the services of table as it has them, in the order that keeps services in
// work. If the kernel refuses something, what was done is undone.
func (t ipvsTool) makeSo(ctx context.Context, k ipvsKernel, table ipvs.Table, clear bool, f ownerFlags) error {
	before, _, err := k.Table(ctx)
	if err != nil {
		return err
	}
	ops := ipvs.Diff(table, before, func(ipvs.ServiceKey) bool { return clear })
	changed := make(map[ipvs.ServiceKey]bool)
	for _, op := range ops {
		changed[serviceOf(op)] = true
	}
	if err := t.refuseOwned(ctx, f, func(key ipvs.ServiceKey) bool { return changed[key] }); err != nil {
		return err
	}
	for _, op := range ops {
		if err := k.Apply(ctx, op); err != nil {
			if undoErr := undo(ctx, k, before, changed); undoErr != nil {
				return fmt.Errorf("%w; what was done before is not all undone: %w", err, undoErr)
			}
			return fmt.Errorf("%w; everything is as it was before", err)
		}
	}
	return nil
}

// undo makes the changed services as they were before, and lets the others be.
func undo(ctx context.Context, k ipvsKernel, before ipvs.Table, changed map[ipvs.ServiceKey]bool) error {
	now, _, err := k.Table(ctx)
	if err != nil {
		return err
	}
	was := make(ipvs.Table)
	for key := range changed {
		if e, ok := before[key]; ok {
			was[key] = e
		}
	}
	var errs []error
	for _, op := range ipvs.Diff(was, now, func(key ipvs.ServiceKey) bool { return changed[key] }) {
		errs = append(errs, k.Apply(ctx, op))
	}
	return errors.Join(errs...)
}

// serviceOf is the service that an operation changes.
func serviceOf(op ipvs.Op) ipvs.ServiceKey {
	switch op := op.(type) {
	case ipvs.AddService:
		return op.Service.Key
	case ipvs.EditService:
		return op.Service.Key
	case ipvs.DeleteService:
		return op.Key
	case ipvs.AddDestination:
		return op.Service
	case ipvs.EditDestination:
		return op.Service
	case ipvs.DeleteDestination:
		return op.Service
	}
	panic(fmt.Sprintf("operation %T", op))
}
