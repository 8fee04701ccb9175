//go:build integration

package e2e

import (
	"bytes"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hadirector/hadirector/lab/cluster"
)

// record keeps what travels on the LAN until the test ends, and has tshark decode what lb-a
// has sent: a malformed packet, or an advertisement that tshark has a remark about, fails the
// test. It is for tests in which lb-a alone runs the daemon, with keys in [vrrp.web].
func (b *bed) record(keys string) {
	b.t.Helper()
	file := filepath.Join(b.Dir(), "lan.pcapng")
	dump, err := b.StartOnSwitch("dumpcap", "dumpcap", "-q", "-i", "br0", "-w", file)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, _, err := dump.Wait(b.ctx, 0, "File:"); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		// The capture comes in blocks: all is there when the last packet is.
		const last = "end-of-recording"
		b.run(cluster.Client, "ping", "-c", "1", "-p", hex.EncodeToString([]byte(last)), cluster.Addr(cluster.LBA).String())
		b.until("the capture is complete", func() bool {
			text, err := os.ReadFile(file)
			return err == nil && bytes.Contains(text, []byte(last))
		})
		if err := dump.Stop(); err != nil {
			b.t.Error(err)
			return
		}
		b.decode(file, keys)
	})
}

// decode reads a capture with tshark.
func (b *bed) decode(file, keys string) {
	b.t.Helper()
	ours := "eth.src == " + strings.TrimSpace(b.run(cluster.LBA, "cat", "/sys/class/net/eth0/address"))
	if strings.Contains(keys, "vmac = true") {
		ours += " || eth.src[0:4] == 00:00:5e:00" // and the peer's, if it does the same
	}
	plain := strings.ToUpper(strconv.FormatBool(strings.Contains(keys, `checksum = "rfc9568"`)))
	out, err := exec.Command("tshark", "-r", file, "-o", "vrrp.v3_checksum_as_in_v2:"+plain,
		"-Y", "("+ours+") && (vrrp || _ws.malformed || arp || icmpv6)",
		"-T", "fields", "-E", "separator=|", "-e", "frame.number", "-e", "_ws.col.Protocol", "-e", "_ws.malformed", "-e", "_ws.expert.message",
		"-e", "vrrp.checksum.status").Output()
	if err != nil {
		b.t.Errorf("tshark: %v", err)
		return
	}
	adverts := 0
	for line := range strings.Lines(string(out)) {
		w := strings.Split(strings.TrimSpace(line), "|")
		protocol, malformed, remark, checksum := w[1], w[2], w[3], w[4]
		switch {
		case malformed != "":
			b.t.Errorf("tshark: packet %s, %s: malformed: %s", w[0], protocol, remark)
		case protocol == "VRRP":
			adverts++
			// Status 1 is a good checksum.
			if remark != "" || checksum != "1" {
				b.t.Errorf("tshark: packet %s, %s: checksum status %s, %q", w[0], protocol, checksum, remark)
			}
		}
	}
	if adverts == 0 {
		b.t.Error("tshark saw no advertisement of lb-a")
	}
}
