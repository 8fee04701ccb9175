package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
)

func TestIPVSSaveAndRestore(t *testing.T) {
	c := newIPVSCase(t, twoServices)
	saved, _, err := c.run("", "save")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte(saved), 0o600); err != nil {
		t.Fatal(err)
	}
	c.prints("", "clear")
	c.holds("")
	c.prints("", "restore", file)
	c.holds(twoServices)
	c.kernel.Applied()
	c.prints("", "restore", file)
	if again := c.kernel.Applied(); len(again) > 0 {
		t.Errorf("a second restore changed %q", again)
	}
}

// The services that rules name become as they say; others stay, or go with --clear.
func TestIPVSRestoreMakesItSo(t *testing.T) {
	const rules = "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.23:80 -g -w 1\n"
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"restore"}, rules + "-A -t 192.168.1.1:80 -s rr\n"},
		{[]string{"restore", "-", "--clear"}, rules},
	} {
		c := newIPVSCase(t, twoServices)
		if _, errs, err := c.run(rules, tt.args...); err != nil || errs != "" {
			t.Errorf("%q: %v: %s", tt.args, err, errs)
		}
		c.holds(tt.want)
		if applied := c.kernel.Applied(); slices.ContainsFunc(applied, func(op string) bool { return strings.HasPrefix(op, "-D -t 10.0.0.100:80") }) {
			t.Errorf("a service that stays was deleted: %q", applied)
		}
	}
}

func TestIPVSRestoreNamesAllMistakes(t *testing.T) {
	c := newIPVSCase(t, twoServices)
	file := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(file, []byte("-A -t 10.0.0.100:80 -s rr\n\n-A -t web\n -A -f 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs, err := c.run("", "restore", "--clear", file)
	if !errors.Is(err, errReported) {
		t.Errorf("got %v, want errReported", err)
	}
	want := file + ":3:7: -t web: not a numeric address and port (ipvsadm -S needs -n)\n" +
		file + ":4:8: -f 0: not a firewall mark from 1 to 4294967295\n"
	if diff := cmp.Diff(want, errs); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	c.holds(twoServices)
	if _, _, err := c.run("", "restore", file+".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestIPVSRestoreWarnsOfPortZero(t *testing.T) {
	c := newIPVSCase(t, "")
	_, errs, err := c.run("-A -t 10.0.0.100:0 -s rr\n-A -t 10.0.0.101:0 -s rr -p\n", "restore")
	want := "-: warning: tcp 10.0.0.100:0: port 0 is for every port with persistence (-p) only, without it the kernel sends no connection anywhere\n"
	if err != nil || errs != want {
		t.Errorf("%v: %s", err, errs)
	}
	c.holds("-A -t 10.0.0.100:0 -s rr\n-A -t 10.0.0.101:0 -s rr -p 360\n")
}

// What the kernel refuses half-way is undone, wherever that is, and others' changes stay.
func TestIPVSRestoreUndoes(t *testing.T) {
	const rules = `-A -t 10.0.0.100:80 -s rr
-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 9
-a -t 10.0.0.100:80 -r 10.0.0.23:80 -g -w 1
-A -t 10.0.0.101:80 -s rr
-a -t 10.0.0.101:80 -r 10.0.0.23:80 -g -w 1
`
	for _, refused := range []string{"-A", "-E", "-a -t 10.0.0.100:80", "-a -t 10.0.0.101:80", "-e", "-d", "-D"} {
		c := newIPVSCase(t, twoServices)
		c.kernel.FailNext(refused, unix.ENOMEM)
		_, _, err := c.run(rules, "restore", "--clear")
		if !errors.Is(err, unix.ENOMEM) || !strings.HasSuffix(err.Error(), "; everything is as it was before") {
			t.Errorf("%s refused: %v", refused, err)
		}
		c.holds(twoServices)
	}
	c := newIPVSCase(t, twoServices)
	c.kernel.FailNext("-a -t 10.0.0.101:80", unix.ENOMEM)
	c.kernel.FailNext("-D -t 10.0.0.101:80", unix.EIO)
	if _, _, err := c.run(rules, "restore"); !errors.Is(err, unix.ENOMEM) || !errors.Is(err, unix.EIO) {
		t.Errorf("undoing refused too: %v", err)
	}
}

// A daemon's services are not changed without --force, others are.
func TestIPVSRefusesOwned(t *testing.T) {
	const others = "-A -t 192.168.1.1:80 -s wlc\n"
	key := func(text string) ipvs.ServiceKey {
		k, err := ipvs.ParseServiceKey(text)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	c := newIPVSCase(t, twoServices)
	c.owned = map[ipvs.ServiceKey]bool{key("tcp 10.0.0.100:80"): true}
	for _, args := range [][]string{{"clear"}, {"restore", "--clear"}} {
		_, _, err := c.run(others, args...)
		want := "the hadirector that runs here owns tcp 10.0.0.100:80 and would repair them at once: " +
			"stop it or change its configuration (--force goes on all the same)"
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", args, err, want)
		}
		c.holds(twoServices)
	}
	if _, _, err := c.run(others, "restore"); err != nil {
		t.Error(err)
	}
	c.holds(strings.ReplaceAll(twoServices, "192.168.1.1:80 -s rr", "192.168.1.1:80 -s wlc"))
	for i := range 4 {
		c.owned[ipvs.FWMarkKey(uint32(i+1), false)] = true
	}
	if _, _, err := c.run("", "clear"); err == nil || !strings.Contains(err.Error(), "owns tcp 10.0.0.100:80, fwmark 1, fwmark 2 and 2 more and") {
		t.Errorf("many services: %v", err)
	}
	broken := errors.New("broken")
	c.tool.owned = func(context.Context, string) (map[ipvs.ServiceKey]bool, error) { return nil, broken }
	if _, _, err := c.run("", "clear"); !errors.Is(err, broken) {
		t.Errorf("a daemon that cannot be asked: %v", err)
	}
	c.prints("", "clear", "--force")
	c.holds("")
}
