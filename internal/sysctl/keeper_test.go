package sysctl

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
)

// memory is a kernel's parameters, by names with slashes. It notes what is written.
type memory struct {
	values  map[string]string
	refuses map[string]error
	written []string
}

func (m *memory) get(name string) (string, error) {
	v, ok := m.values[name]
	if !ok {
		return "", fmt.Errorf("read sysctl %s: %w", Dotted(name), fs.ErrNotExist)
	}
	return v, nil
}

// set does what the kernel does along with ip_forward, too.
func (m *memory) set(name, value string) error {
	if err := m.refuses[name]; err != nil {
		return fmt.Errorf("set sysctl %s=%s: %w", Dotted(name), value, err)
	}
	m.written = append(m.written, Dotted(name)+"="+value)
	if name == "net/ipv4/ip_forward" && m.values[name] != value {
		for _, other := range m.glob("net/ipv4/conf/*/forwarding") {
			m.values[other] = value
		}
		m.values["net/ipv4/conf/all/accept_redirects"] = map[string]string{"0": "1", "1": "0"}[value]
	}
	m.values[name] = value
	return nil
}

func (m *memory) glob(pattern string) []string {
	var names []string
	for name := range m.values {
		if ok, _ := path.Match(pattern, name); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// told are the writes since the last call.
func (m *memory) told() []string {
	w := m.written
	m.written = nil
	return w
}

func keeper(t *testing.T, path string, m *memory) *Keeper {
	t.Helper()
	k := &Keeper{path: path, kernel: m}
	if err := k.load(); err != nil {
		t.Fatal(err)
	}
	return k
}

func param(name, value string) ipvs.Parameter { return ipvs.Parameter{Name: name, Value: value} }

// ensure returns what became of the parameters, a line each.
func ensure(t *testing.T, k *Keeper, want ...ipvs.Parameter) []string {
	t.Helper()
	states, err := k.Ensure(want)
	if err != nil {
		t.Fatal(err)
	}
	return lines(states)
}

func release(t *testing.T, k *Keeper, keep ...ipvs.Parameter) []string {
	t.Helper()
	states, err := k.Release(keep)
	if err != nil {
		t.Fatal(err)
	}
	return lines(states)
}

func lines(states []ipvs.ParameterState) []string {
	var list []string
	for _, s := range states {
		line := fmt.Sprintf("%s=%s was %s", s.Name, s.Now, s.Was)
		if s.Change != "" {
			line += " " + string(s.Change)
		}
		if s.Found != "" {
			line += ", found " + s.Found
		}
		if s.Err != nil {
			line += ": " + s.Err.Error()
		}
		list = append(list, line)
	}
	return list
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s, -want +got:\n%s", what, diff)
	}
}

func TestParametersAreSetRepairedAndPutBack(t *testing.T) {
	m := &memory{values: map[string]string{"net/ipv4/vs/conntrack": "0", "net/ipv4/vs/sloppy_tcp": "1", "net/ipv4/vs/conn_reuse_mode": "1"}}
	file := filepath.Join(t.TempDir(), "parameters.json")
	k := keeper(t, file, m)
	want := []ipvs.Parameter{param("net.ipv4.vs.conntrack", "1"), param("net.ipv4.vs.sloppy_tcp", "1")}
	same(t, "first", ensure(t, k, want...), "net.ipv4.vs.conntrack=1 was 0 set", "net.ipv4.vs.sloppy_tcp=1 was 1")
	same(t, "written", m.told(), "net.ipv4.vs.conntrack=1")
	same(t, "again", ensure(t, k, want...), "net.ipv4.vs.conntrack=1 was 0", "net.ipv4.vs.sloppy_tcp=1 was 1")
	same(t, "written", m.told())

	m.values["net/ipv4/vs/conntrack"], m.values["net/ipv4/vs/sloppy_tcp"] = "7", "0"
	same(t, "changed by others", ensure(t, k, want...),
		"net.ipv4.vs.conntrack=1 was 0 repaired, found 7", "net.ipv4.vs.sloppy_tcp=1 was 1 repaired, found 0")
	same(t, "another value", ensure(t, k, param("net.ipv4.vs.conntrack", "2"), want[1]),
		"net.ipv4.vs.conntrack=2 was 0 set", "net.ipv4.vs.sloppy_tcp=1 was 1")

	same(t, "one is kept", release(t, k, want[0]))
	same(t, "none is kept", release(t, k), "net.ipv4.vs.conntrack=2 was 2 put-back")
	if m.values["net/ipv4/vs/conntrack"] != "0" || m.values["net/ipv4/vs/sloppy_tcp"] != "1" {
		t.Errorf("values %v", m.values)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there are notes of nothing: %v", err)
	}
}

func TestWhatOthersSetIsNotPutBack(t *testing.T) {
	m := &memory{values: map[string]string{"net/ipv4/vs/conntrack": "0"}}
	k := keeper(t, filepath.Join(t.TempDir(), "p"), m)
	ensure(t, k, param("net.ipv4.vs.conntrack", "1"))
	m.values["net/ipv4/vs/conntrack"] = "5"
	m.told()
	same(t, "released", release(t, k), "net.ipv4.vs.conntrack=5 was 1 left")
	same(t, "written", m.told())
}

// The values before are in a file before the first of them is changed.
func TestSuccessorOfAKilledKeeperKnowsTheValuesBefore(t *testing.T) {
	m := &memory{values: map[string]string{"net/ipv4/vs/conntrack": "0", "net/ipv4/vs/sloppy_tcp": "0"}}
	file := filepath.Join(t.TempDir(), "p")
	want := []ipvs.Parameter{param("net.ipv4.vs.conntrack", "1"), param("net.ipv4.vs.sloppy_tcp", "1")}
	ensure(t, keeper(t, file, m), want...)
	m.values["net/ipv4/vs/sloppy_tcp"] = "3" // by somebody, while no daemon runs

	k := keeper(t, file, m)
	same(t, "successor", ensure(t, k, want...), "net.ipv4.vs.conntrack=1 was 0", "net.ipv4.vs.sloppy_tcp=1 was 3 set")
	k = keeper(t, file, m)
	same(t, "one that is not asked for any more", release(t, k, want[1]), "net.ipv4.vs.conntrack=1 was 1 put-back")
	k = keeper(t, file, m)
	same(t, "the other", release(t, k), "net.ipv4.vs.sloppy_tcp=1 was 1 put-back")
	if m.values["net/ipv4/vs/conntrack"] != "0" || m.values["net/ipv4/vs/sloppy_tcp"] != "3" {
		t.Errorf("values %v", m.values)
	}
}

func TestWhatTheKernelChangesAlongIsPutBackToo(t *testing.T) {
	before := map[string]string{
		"net/ipv4/ip_forward": "0", "net/ipv4/conf/all/forwarding": "0", "net/ipv4/conf/default/forwarding": "0",
		"net/ipv4/conf/eth0/forwarding": "0", "net/ipv4/conf/eth0.5/forwarding": "1", "net/ipv4/conf/all/accept_redirects": "0",
	}
	m := &memory{values: maps.Clone(before)}
	file := filepath.Join(t.TempDir(), "p")
	ensure(t, keeper(t, file, m), param("net.ipv4.ip_forward", "1"))
	if m.values["net/ipv4/conf/eth0/forwarding"] != "1" {
		t.Fatal("this kernel does not change anything along")
	}
	delete(m.values, "net/ipv4/conf/eth0/forwarding")
	delete(before, "net/ipv4/conf/eth0/forwarding")
	release(t, keeper(t, file, m))
	if diff := cmp.Diff(before, m.values); diff != "" {
		t.Errorf("-before +after:\n%s", diff)
	}
}

// Router advertisements are kept where they were accepted, and only if it is this machine's
// forwarding that would end them.
func TestParametersWithConditions(t *testing.T) {
	want := []ipvs.Parameter{
		{Name: "net.ipv6.conf.eth0.accept_ra", Value: "2", From: "1", With: "net.ipv6.conf.all.forwarding"},
		{Name: "net.ipv6.conf.eth1.accept_ra", Value: "2", From: "1", With: "net.ipv6.conf.all.forwarding"},
		{Name: "net.ipv6.conf.eth2.accept_ra", Value: "2", From: "1", With: "net.ipv6.conf.all.forwarding"},
		{Name: "net.ipv6.conf.gone.accept_ra", Value: "2", From: "1", With: "net.ipv6.conf.all.forwarding"},
		param("net.ipv6.conf.all.forwarding", "1"),
	}
	values := func(forwarding string) map[string]string {
		return map[string]string{
			"net/ipv6/conf/eth0/accept_ra": "1", "net/ipv6/conf/eth1/accept_ra": "0", "net/ipv6/conf/eth2/accept_ra": "2",
			"net/ipv6/conf/all/forwarding": forwarding,
		}
	}
	m := &memory{values: values("0")}
	file := filepath.Join(t.TempDir(), "p")
	k := keeper(t, file, m)
	ensure(t, k, want...)
	same(t, "in the order that keeps the routes", m.told(), "net.ipv6.conf.eth0.accept_ra=2", "net.ipv6.conf.all.forwarding=1")
	k = keeper(t, file, m)
	same(t, "then", ensure(t, k, want...), "net.ipv6.conf.eth0.accept_ra=2 was 1", "net.ipv6.conf.all.forwarding=1 was 0")
	m.values["net/ipv6/conf/eth1/accept_ra"] = "1"
	same(t, "one more is on", ensure(t, k, want...),
		"net.ipv6.conf.eth0.accept_ra=2 was 1", "net.ipv6.conf.eth1.accept_ra=2 was 1 set", "net.ipv6.conf.all.forwarding=1 was 0")
	m.values["net/ipv6/conf/eth1/accept_ra"] = "0"
	same(t, "somebody does without", ensure(t, k, want...), "net.ipv6.conf.eth0.accept_ra=2 was 1", "net.ipv6.conf.all.forwarding=1 was 0")
	m.told()
	release(t, k)
	same(t, "put back, the newest first", m.told(), "net.ipv6.conf.all.forwarding=0", "net.ipv6.conf.eth0.accept_ra=1")

	m = &memory{values: values("1")}
	k = keeper(t, file, m)
	same(t, "a machine that forwards already", ensure(t, k, want...), "net.ipv6.conf.all.forwarding=1 was 1")
	same(t, "again", ensure(t, k, want...), "net.ipv6.conf.all.forwarding=1 was 1")
	release(t, k)
	same(t, "is left as it is", m.told())
}

func TestWhatTheKernelRefuses(t *testing.T) {
	m := &memory{
		values: map[string]string{"net/ipv4/ip_forward": "0", "net/ipv4/vs/conntrack": "0", "net/ipv4/conf/all/send_redirects": "1"},
		refuses: map[string]error{"net/ipv4/ip_forward": unix.EROFS,
			"net/ipv4/conf/all/send_redirects": unix.EINVAL},
	}
	file := filepath.Join(t.TempDir(), "p")
	k := keeper(t, file, m)
	want := []ipvs.Parameter{
		param("net.ipv4.ip_forward", "1"), param("net.ipv4.conf.all.send_redirects", "0"), param("net.ipv4.conf.eth7.send_redirects", "0"),
		param("net.ipv4.vs.schedule_icmp", "1"), param("net.ipv4.vs.conntrack", "1"),
	}
	refused := []string{
		"net.ipv4.ip_forward=0 was 0: set sysctl net.ipv4.ip_forward=1: read-only file system: set it where /proc/sys can be written, on the host or when the container is made",
		"net.ipv4.conf.all.send_redirects=1 was 1: set sysctl net.ipv4.conf.all.send_redirects=0: invalid argument",
		"net.ipv4.vs.schedule_icmp= was : the running kernel has no parameter net.ipv4.vs.schedule_icmp",
	}
	same(t, "refused", ensure(t, k, want...), append(refused, "net.ipv4.vs.conntrack=1 was 0 set")...)
	noted := modified(t, file)
	same(t, "again", ensure(t, k, want...), append(refused, "net.ipv4.vs.conntrack=1 was 0")...)
	if modified(t, file) != noted {
		t.Error("every attempt writes the notes")
	}

	m.refuses = nil
	same(t, "when it can be", ensure(t, k, want[:2]...), "net.ipv4.ip_forward=1 was 0 set", "net.ipv4.conf.all.send_redirects=0 was 1 set")
	m.refuses = map[string]error{"net/ipv4/ip_forward": unix.EPERM}
	states := release(t, k)
	if len(states) != 3 || !strings.Contains(states[2], "net.ipv4.ip_forward=1 was 1: set sysctl net.ipv4.ip_forward=0: operation not permitted") {
		t.Errorf("released %q", states)
	}
	m.refuses = nil
	same(t, "tried again", release(t, k), "net.ipv4.ip_forward=1 was 1 put-back")
}

func modified(t *testing.T, file string) time.Time {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

// What was never set need not be put back, also after a crash.
func TestWhatWasRefusedIsNotPutBack(t *testing.T) {
	m := &memory{values: map[string]string{"net/ipv4/ip_forward": "0"}, refuses: map[string]error{"net/ipv4/ip_forward": unix.EROFS}}
	file := filepath.Join(t.TempDir(), "p")
	k := keeper(t, file, m)
	ensure(t, k, param("net.ipv4.ip_forward", "1"))
	k = keeper(t, file, m)
	same(t, "released", release(t, k))
}

func TestWithoutIPVS(t *testing.T) {
	k := keeper(t, filepath.Join(t.TempDir(), "p"), &memory{})
	same(t, "no module", ensure(t, k, param("net.ipv4.vs.conntrack", "1")),
		"net.ipv4.vs.conntrack= was : there is no net.ipv4.vs.conntrack: ip_vs is not loaded, or this container has no parameters of it")
}

// A value that the kernel takes and does not keep is not reported as set.
func TestValueThatDoesNotStay(t *testing.T) {
	k := keeper(t, filepath.Join(t.TempDir(), "p"), nil)
	k.kernel = stubborn{&memory{values: map[string]string{"net/ipv4/vs/conntrack": "0"}}}
	same(t, "set", ensure(t, k, param("net.ipv4.vs.conntrack", "1")),
		`net.ipv4.vs.conntrack=0 was 0: sysctl net.ipv4.vs.conntrack is "0" after it was set to "1"`)
}

type stubborn struct{ *memory }

func (stubborn) set(string, string) error { return nil }

func TestNotesThatCannotBeKept(t *testing.T) {
	m := &memory{values: map[string]string{"net/ipv4/vs/conntrack": "0"}}
	dir := t.TempDir()
	k := keeper(t, filepath.Join(dir, "no", "p"), m)
	states, err := k.Ensure([]ipvs.Parameter{param("net.ipv4.vs.conntrack", "1")})
	if err == nil || !strings.Contains(err.Error(), "note changed kernel parameters: write "+dir) {
		t.Errorf("error %v", err)
	}
	same(t, "set all the same", lines(states), "net.ipv4.vs.conntrack=1 was 0 set")

	bad := filepath.Join(dir, "p")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err = NewKeeper(bad)
	if err == nil || !strings.Contains(err.Error(), "read the notes of changed kernel parameters "+bad) {
		t.Errorf("error %v", err)
	}
	k.kernel = m
	same(t, "works without them", ensure(t, k, param("net.ipv4.vs.conntrack", "1")), "net.ipv4.vs.conntrack=1 was 1")
}

// Whatever happens, in the end each parameter is what it would be without the Keeper: what
// it was at first, or what somebody has set when it was not asked for, or while no Keeper
// ran, or after the Keeper looked last.
func TestRandomWalkEndsWhereItWouldWithoutTheKeeper(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		value := func() string { return fmt.Sprint(r.IntN(3)) }
		truth, m := map[string]string{}, &memory{values: map[string]string{}}
		for _, name := range []string{"net/ipv4/vs/a", "net/ipv4/vs/b", "net/ipv4/vs/c"} {
			truth[name] = value()
		}
		maps.Copy(m.values, truth)
		file := filepath.Join(t.TempDir(), "p")
		k := keeper(t, file, m)
		var want []ipvs.Parameter
		var story []string
		wanted := func(name string) bool {
			return slices.ContainsFunc(want, func(p ipvs.Parameter) bool { return Dotted(p.Name) == name })
		}
		pass := func() { ensure(t, k, want...); release(t, k, want...) }
		for range 30 {
			name := slices.Sorted(maps.Keys(truth))[r.IntN(len(truth))]
			switch v := value(); r.IntN(4) {
			case 0:
				story = append(story, "want "+name+"="+v)
				want = slices.DeleteFunc(want, func(p ipvs.Parameter) bool { return Dotted(p.Name) == name })
				if r.IntN(3) > 0 {
					want = append(want, param(Dotted(name), v))
				}
				pass()
			case 1:
				story = append(story, "others "+name+"="+v)
				if m.values[name] = v; !wanted(name) {
					truth[name] = v
				}
				pass()
			case 2:
				story = append(story, "killed")
				k = keeper(t, file, m)
				pass()
			case 3:
				story = append(story, "killed, others "+name+"="+v)
				if !wanted(name) || m.values[name] != v {
					truth[name] = v
				}
				m.values[name] = v
				k = keeper(t, file, m)
				pass()
			}
			for _, p := range want {
				if m.values[Dotted(p.Name)] != p.Value {
					t.Fatalf("seed %d: %s is not %s\n%s", seed, p.Name, p.Value, strings.Join(story, "\n"))
				}
			}
		}
		if name := slices.Sorted(maps.Keys(truth))[0]; wanted(name) && r.IntN(2) == 0 {
			m.values[name], truth[name] = "9", "9"
		}
		release(t, k)
		if diff := cmp.Diff(truth, m.values); diff != "" {
			t.Fatalf("seed %d, -without +with:\n%s\n%s", seed, diff, strings.Join(story, "\n"))
		}
	}
}

// A rehearsal tells what will be done, and does nothing.
func TestRehearsal(t *testing.T) {
	m := &memory{values: map[string]string{"net/ipv4/ip_forward": "0", "net/ipv4/vs/conntrack": "0", "net/ipv4/vs/sloppy_tcp": "0"}}
	file := filepath.Join(t.TempDir(), "parameters.json")
	k := keeper(t, file, m)
	ensure(t, k, param("net.ipv4.ip_forward", "1"), param("net.ipv4.vs.conntrack", "1"))
	m.told()
	noted := modified(t, file)
	play := func(k *Keeper) []string {
		want := []ipvs.Parameter{param("net.ipv4.vs.conntrack", "1"), param("net.ipv4.vs.sloppy_tcp", "1")}
		return slices.Concat(ensure(t, k, want...), release(t, k, want...), ensure(t, k, want...), release(t, k))
	}
	for range 2 {
		rehearsed := play(k.Rehearsal())
		if got := m.told(); len(got) > 0 || modified(t, file) != noted {
			t.Errorf("a rehearsal wrote %q", got)
		}
		if len(rehearsed) == 0 {
			t.Error("a rehearsal tells nothing")
		}
	}
	rehearsed := play(k.Rehearsal())
	if diff := cmp.Diff(rehearsed, play(k)); diff != "" {
		t.Errorf("rehearsed - done +:\n%s", diff)
	}
}
