package nft

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"golang.org/x/sys/unix"

	"github.com/hadirector/hadirector/ipvs"
)

// A kernel without nftables is no trouble as long as nothing is asked of it, and then the
// error names what could not be done and why. It answers in several ways, and some of its
// answers are fewer than the library waits for.
func TestKernelWithoutNftables(t *testing.T) {
	mark := ipvs.Marking{To: ipvs.Ports{Addr: netip.MustParseAddr("10.0.0.100"), First: 80, Last: 80}, Protocol: ipvs.TCP, Mark: 10}
	full := ipvs.Translation{
		Service: ipvs.AddrKey(ipvs.TCP, netip.MustParseAddrPort("10.0.0.100:81")), Server: netip.MustParseAddrPort("10.0.0.21:8080"),
	}
	const none = "this kernel has no nftables (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET): ask for the generation of nftables: "
	for _, tt := range []struct {
		name         string
		dial, answer error
		reason       string
	}{
		{"no netfilter netlink", unix.EPROTONOSUPPORT, nil, "protocol not supported"},
		{"nobody there who knows the messages", nil, unix.EINVAL, "operation not supported"},
		{"an operation that is not supported", nil, unix.EOPNOTSUPP, "netlink receive: operation not supported"},
		{"a family that is not supported", nil, unix.EAFNOSUPPORT, "netlink receive: address family not supported by protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			kernelSays(t, tt.dial, tt.answer)
			marks, fullNAT := NewMarks(), NewFullNAT()
			for range 2 {
				if wrote, repaired, err := marks.Ensure(nil); wrote || repaired || err != nil {
					t.Errorf("no marks: %v, %v, %v", wrote, repaired, err)
				}
				if wrote, repaired, err := fullNAT.Ensure(nil); wrote || repaired || err != nil {
					t.Errorf("no full NAT: %v, %v, %v", wrote, repaired, err)
				}
			}
			f := New()
			for what, err := range map[string]error{
				"accept": f.Accept("eth0", []netip.Prefix{netip.MustParsePrefix("10.0.0.100/24")}), "unguard": f.UnguardLink("vrrp.51"), "close": f.Close(),
			} {
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			if restored, err := f.Restore(); restored || err != nil {
				t.Errorf("restore: %v, %v", restored, err)
			}
			if _, err := Inputs(80); !errors.Is(err, ErrNoTables) {
				t.Errorf("inputs: %v", err)
			}
			_, _, err := marks.Ensure([]ipvs.Marking{mark, mark})
			checkError(t, err, "set firewall marks (fwmark 10 for tcp 10.0.0.100:80, and 1 more): "+none+tt.reason)
			_, _, err = fullNAT.Ensure([]ipvs.Translation{full})
			checkError(t, err, "set full NAT (fullnat tcp 10.0.0.100:81 to 10.0.0.21:8080): "+none+tt.reason)
			checkError(t, f.GuardLink("vrrp.51"), "guard link vrrp.51: "+none+tt.reason)
		})
	}
}

// Any other answer is trouble in any case: there may be tables of an earlier run.
func TestKernelRefusesToTell(t *testing.T) {
	kernelSays(t, nil, unix.EPERM)
	_, _, err := NewMarks().Ensure(nil)
	checkError(t, err, "look for firewall marks of an earlier run: ask for the generation of nftables: netlink receive: operation not permitted")
	_, _, err = NewFullNAT().Ensure(nil)
	checkError(t, err, "set full NAT: ask for the generation of nftables: netlink receive: operation not permitted")
}

// kernelSays puts a kernel that refuses the socket, or every request, in the real one's place.
func kernelSays(t *testing.T, dial, answer error) {
	t.Helper()
	real := connect
	t.Cleanup(func() { connect = real })
	connect = func() (*netlink.Conn, error) {
		if dial != nil {
			return nil, dial
		}
		return nltest.Dial(func(req []netlink.Message) ([]netlink.Message, error) {
			return nltest.Error(int(answer.(unix.Errno)), req)
		}), nil
	}
}

func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("error\n%v\nwant\n%s", err, want)
	}
}
