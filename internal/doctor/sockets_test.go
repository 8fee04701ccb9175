package doctor

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hadirector/hadirector/ipvs"
)

// kernelText is an address as the kernel of this machine prints it.
func kernelText(a netip.Addr) string {
	text, b := "", a.AsSlice()
	for i := 0; i < len(b); i += 4 {
		text += fmt.Sprintf("%08X", binary.NativeEndian.Uint32(b[i:]))
	}
	return text
}

func TestParseSockets(t *testing.T) {
	const head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
	line := func(addr string, port int, state string) string {
		return fmt.Sprintf("   0: %s:%04X 00000000:0000 %s 00000000:00000000 00:00000000 00000000     0        0 1\n", kernelText(netip.MustParseAddr(addr)), port, state)
	}
	got, err := parseSockets([]byte(head+line("10.0.0.100", 80, "0A")+line("10.0.0.21", 80, "01")+
		line("2001:db8::100", 443, "0A")+line("::", 8080, "0A")+line("::ffff:10.0.0.21", 81, "0A")), ipvs.TCP, "0A")
	if err != nil {
		t.Fatal(err)
	}
	want := []Listener{listener(ipvs.TCP, "10.0.0.100:80"), listener(ipvs.TCP, "[2001:db8::100]:443"), listener(ipvs.TCP, "[::]:8080"), listener(ipvs.TCP, "10.0.0.21:81")}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("listeners (-want +got):\n%s", diff)
	}
	for in, want := range map[string]string{
		head + "nonsense\n":         `"nonsense" is no line of sockets`,
		head + "0: 0A:0050 0:0 0A":  `"0A:0050" is no socket's address`,
		head + "0: 00000000 0:0 0A": `"00000000" is no socket's address`,
	} {
		if _, err := parseSockets([]byte(in), ipvs.TCP, "0A"); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

func FuzzParseSockets(f *testing.F) {
	f.Add([]byte("head\n 0: 0100007F:0050 00000000:0000 0A\n 1: 00000000000000000000000000000000:0016 0:0 0A\n"))
	f.Fuzz(func(t *testing.T, table []byte) {
		list, err := parseSockets(table, ipvs.TCP, "0A")
		if err != nil && list != nil {
			t.Errorf("both %v and %v", list, err)
		}
		for _, l := range list {
			if !l.Addr.IsValid() {
				t.Errorf("%v is not valid", l.Addr)
			}
		}
	})
}

func TestListsModule(t *testing.T) {
	const dep = "kernel/net/ipv4/ipip.ko.xz: kernel/net/ipv4/tunnel4.ko.xz kernel/net/ipv4/ip_tunnel.ko.xz\nkernel/net/netfilter/ipvs/ip-vs.ko:\n"
	for module, want := range map[string]bool{"ipip": true, "ip_vs": true, "ip_tunnel": false, "ip": false} {
		if got := listsModule([]byte(dep), module); got != want {
			t.Errorf("%s: %v, want %v", module, got, want)
		}
	}
}
