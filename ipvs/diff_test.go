package ipvs_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
	"github.com/hadirector/hadirector/ipvs/ipvstest"
)

func all(ipvs.ServiceKey) bool  { return true }
func none(ipvs.ServiceKey) bool { return false }

func TestDiff(t *testing.T) {
	const web = "-A -t 10.0.0.100:80 -s rr\n"
	for _, tt := range []struct {
		name            string
		own             func(ipvs.ServiceKey) bool
		actual, desired string
		want            string
	}{
		{"nothing", all, "", "", ""},
		{"equal", all, web, web, ""},
		{"equal in effect", all,
			"-A -t 10.0.0.100:80 -s rr -p 5 -M 255.255.255.255", "-A -t 10.0.0.100:80 -s rr -p 5", ""},
		{"new service", all, "", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -g -w 1",
			"-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 1"},
		{"gone service", all, web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -g -w 1", "",
			"-D -t 10.0.0.100:80"},
		{"foreign service", none, web, "-A -f 3 -s rr",
			"-A -f 3 -s rr"},
		{"nobody's service", nil, web, "", ""},
		{"a service that exists is taken over with its destinations", none,
			web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -g -w 1", web + "-a -t 10.0.0.100:80 -r 10.0.0.22 -g -w 1",
			"-a -t 10.0.0.100:80 -r 10.0.0.22:80 -g -w 1\n-d -t 10.0.0.100:80 -r 10.0.0.21:80"},
		{"another scheduler, persistence, flags", all, web, "-A -t 10.0.0.100:80 -s sh -p 300 -b sh-port",
			"-E -t 10.0.0.100:80 -s sh -p 300 -b sh-port"},
		{"weight", all, web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -g -w 1", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -g -w 70000",
			"-e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 70000"},
		{"forwarding", all, web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -g -w 1", web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -m -w 1",
			"-e -t 10.0.0.100:80 -r 10.0.0.21:80 -m -w 1"},
		{"tunnel", all, web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -i -w 1",
			web + "-a -t 10.0.0.100:80 -r 10.0.0.21 -i -w 1 --tun-type gue --tun-port 6080",
			"-e -t 10.0.0.100:80 -r 10.0.0.21:80 -i -w 1 --tun-type gue --tun-port 6080 --tun-nocsum"},
		{"capacity comes before it goes", all,
			web + `
-a -t 10.0.0.100:80 -r 10.0.0.21 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.22 -g -w 1
-a -t 10.0.0.100:80 -r 10.0.0.23 -g -w 0
-A -t 10.0.0.200:80 -s rr`,
			"-A -t 10.0.0.100:80 -s wrr" + `
-a -t 10.0.0.100:80 -r 10.0.0.21 -g -w 0
-a -t 10.0.0.100:80 -r 10.0.0.23 -g -w 3
-a -t 10.0.0.100:80 -r 10.0.0.24 -g -w 1
-A -t 10.0.0.50:80 -s rr`,
			`-A -t 10.0.0.50:80 -s rr
-E -t 10.0.0.100:80 -s wrr
-a -t 10.0.0.100:80 -r 10.0.0.24:80 -g -w 1
-e -t 10.0.0.100:80 -r 10.0.0.23:80 -g -w 3
-e -t 10.0.0.100:80 -r 10.0.0.21:80 -g -w 0
-d -t 10.0.0.100:80 -r 10.0.0.22:80
-D -t 10.0.0.200:80`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var lines []string
			for _, op := range ipvs.Diff(mustParse(t, tt.desired), mustParse(t, tt.actual), tt.own) {
				lines = append(lines, op.String())
			}
			if diff := cmp.Diff(tt.want, strings.Join(lines, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A kernel goes from any table to any other, step by step, beside services of
// somebody else.
func TestDiffRandomWalk(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			foreign := map[ipvs.ServiceKey]bool{}
			for _, k := range ipvstest.RandomKeys() {
				foreign[k] = r.IntN(4) == 0
			}
			own := func(k ipvs.ServiceKey) bool { return !foreign[k] }
			isForeign := func(k ipvs.ServiceKey, _ ipvs.Entry) bool { return foreign[k] }
			isOwn := func(k ipvs.ServiceKey, _ ipvs.Entry) bool { return !foreign[k] }

			kernel := ipvstest.New()
			others := filter(ipvstest.RandomTable(r, true), isForeign)
			kernel.Load(others)
			for range 8 {
				desired := filter(ipvstest.RandomTable(r, true), isOwn)
				walk(t, kernel, desired, own)
				actual, _, err := kernel.Table(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if got := filter(actual, isOwn); !got.Equal(desired) {
					t.Fatalf("got\n%s\nwant\n%s", got, desired)
				}
				if got := filter(actual, isForeign); !got.Equal(others) {
					t.Fatalf("foreign services became\n%s\nthey were\n%s", got, others)
				}
				if again := ipvs.Diff(desired, actual, own); len(again) > 0 {
					t.Fatalf("a second diff gives %v", again)
				}
			}
		})
	}
}

// Worked out for some services alone, the operations are those that the whole difference
// has for them.
func TestDiffOfSomeServices(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		desired, actual := ipvstest.RandomTable(r, true), ipvstest.RandomTable(r, true)
		some := map[ipvs.ServiceKey]bool{}
		for _, k := range ipvstest.RandomKeys() {
			if r.IntN(2) == 0 {
				some[k] = true
			}
		}
		own := func(k ipvs.ServiceKey) bool { return k.Addr.Port()%2 == 0 }
		want := slices.DeleteFunc(ipvs.Diff(desired, actual, own), func(op ipvs.Op) bool { return !some[ipvs.ServiceOf(op)] })
		if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(ipvs.DiffOf(some, desired, actual, own))); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}

// walk applies the difference and checks after each step that no service loses what
// it need not lose.
func walk(t *testing.T, kernel *ipvstest.Kernel, desired ipvs.Table, own func(ipvs.ServiceKey) bool) {
	t.Helper()
	before, _, err := kernel.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	account := before.Clone()
	for i, op := range ipvs.Diff(desired, before, own) {
		if err := kernel.Apply(t.Context(), op); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		now, _, err := kernel.Table(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if account.Apply(op); !account.Equal(now) {
			t.Fatalf("step %d, %s: the table by our own account is\n%s\nand in the kernel\n%s", i, op, account, now)
		}
		for key, old := range before {
			want, kept := desired[key]
			if !kept {
				continue
			}
			was, will, is := serving(old), serving(want), serving(now[key])
			for d := range was {
				if will[d] && !is[d] {
					t.Fatalf("step %d, %s: %s does not serve %s", i, op, d, key)
				}
			}
			if len(is) < min(len(was), len(will)) {
				t.Fatalf("step %d, %s: %d destinations serve %s, before %d and in the end %d", i, op, len(is), key, len(was), len(will))
			}
		}
	}
}

func serving(e ipvs.Entry) map[ipvs.DestinationKey]bool {
	s := map[ipvs.DestinationKey]bool{}
	for k, d := range e.Destinations {
		if d.Weight > 0 {
			s[k] = true
		}
	}
	return s
}

func filter(t ipvs.Table, keep func(ipvs.ServiceKey, ipvs.Entry) bool) ipvs.Table {
	out := ipvs.Table{}
	for k, e := range t {
		if keep(k, e) {
			out[k] = e
		}
	}
	return out
}

// Operations that were worked out from a table that is not there any more fail with
// errors that say so; a new diff mends it.
func TestDiffAfterForeignChange(t *testing.T) {
	const web = "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.21 -g -w 1\n"
	kernel := ipvstest.New()
	kernel.Load(mustParse(t, web))
	actual, _, err := kernel.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	desired := mustParse(t, web+"-a -t 10.0.0.100:80 -r 10.0.0.22 -g -w 1")
	ops := ipvs.Diff(desired, actual, all)
	kernel.Remove(tcp("10.0.0.100:80"))
	for _, op := range ops {
		if err := kernel.Apply(t.Context(), op); !errors.Is(err, unix.ESRCH) {
			t.Errorf("%s: got %v, want ESRCH", op, err)
		}
	}
	actual, _, err = kernel.Table(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range ipvs.Diff(desired, actual, all) {
		if err := kernel.Apply(t.Context(), op); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff(desired.String(), kernel.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCompareOrdersAsListed(t *testing.T) {
	want := []ipvs.ServiceKey{
		tcp("9.0.0.1:80"), tcp("10.0.0.1:80"), tcp("10.0.0.1:443"),
		ipvs.AddrKey(ipvs.UDP, addr("1.0.0.1:53")), ipvs.AddrKey(ipvs.SCTP, addr("1.0.0.1:53")),
		tcp("[fd00::1]:80"), ipvs.FWMarkKey(1, false), ipvs.FWMarkKey(1, true), ipvs.FWMarkKey(2, false),
	}
	got := slices.Clone(want)
	rand.Shuffle(len(got), func(i, j int) { got[i], got[j] = got[j], got[i] })
	slices.SortFunc(got, ipvs.ServiceKey.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	table := mustParse(t, "-A -t 10.0.0.100:80 -s rr\n-a -t 10.0.0.100:80 -r 10.0.0.21 -g -w 1")
	c := table.Clone()
	delete(c[tcp("10.0.0.100:80")].Destinations, addr("10.0.0.21:80"))
	if len(table[tcp("10.0.0.100:80")].Destinations) != 1 || table.Equal(c) {
		t.Error("a change to the copy changed the table")
	}
}
