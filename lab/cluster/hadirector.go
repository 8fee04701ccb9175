package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Socket is the daemons' admin socket as their configuration names it. Both directors of
// the lab share one file system and one configuration, so the name has to mean another
// file for each: one in the daemon's working directory.
const Socket = "/proc/self/cwd/admin.sock"

// Hadirector is the program under test.
type Hadirector struct {
	Binary string // its path
	Config string // the configuration's path, the same for every director
}

// StartHadirector starts the daemon on a director.
func (c *Cluster) StartHadirector(machine string, h Hadirector) (*Process, error) {
	dir := c.MachineDir(machine)
	return c.Start(machine, "hadirector", h.Binary, "run", "-c", h.Config, "--director", machine,
		"--runtime-dir", filepath.Join(dir, "run"), "--state-dir", filepath.Join(dir, "state"))
}

// SocketPath is where commands find a machine's daemon.
func (c *Cluster) SocketPath(machine string) string {
	return filepath.Join(c.MachineDir(machine), "admin.sock")
}

// Command runs a command that talks to a machine's daemon, as an operator of that machine
// would, and returns its standard output.
func (c *Cluster) Command(machine string, h Hadirector, args ...string) (string, error) {
	args = append([]string{"netns", "exec", c.Namespace(machine), h.Binary}, args...)
	cmd := exec.Command("ip", append(args, "--socket", c.SocketPath(machine))...)
	cmd.Dir = c.MachineDir(machine)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return string(out), fmt.Errorf("%s: hadirector %s: %w", machine, strings.Join(args[4:], " "), err)
	}
	return string(out), nil
}

// WriteConfig writes a configuration, and the cluster's key beside it, and returns the
// configuration's path. Writing again replaces it, for a reload.
func (c *Cluster) WriteConfig(text string) (string, error) {
	file := filepath.Join(c.dir, "hadirector.toml")
	return file, os.WriteFile(file, []byte(text), 0o644)
}

// WriteKey makes the cluster's key with the program's own command and returns its path.
func (c *Cluster) WriteKey(binary string) (string, error) {
	key, err := exec.Command(binary, "keygen").Output()
	if err != nil {
		return "", fmt.Errorf("hadirector keygen: %w", err)
	}
	file := filepath.Join(c.dir, "cluster.key")
	return file, os.WriteFile(file, key, 0o600)
}

// VRRP is the part of the lab's configuration that any kernel can do: the directors and
// their virtual address, with the program's defaults.
const VRRP = `[director.lb-a]
address  = "10.0.0.11"
priority = 150

[director.lb-b]
address  = "10.0.0.12"
priority = 100

[vrrp.web]
interface         = "eth0"
vrid              = 51
virtual_addresses = ["10.0.0.100/24"]

[admin]
socket = "` + Socket + `"
`

// Services is the part that needs IPVS: the two virtual servers, their checks, and sync.
// The verb is the path of the cluster's key.
const Services = `
[virtual_server.web]
address   = "10.0.0.100:80"
protocol  = "tcp"
scheduler = "wrr"
check     = "front-page"

[virtual_server.web.real_server]
rs-1 = { address = "10.0.0.21:80", weight = 1 }
rs-2 = { address = "10.0.0.22:80", weight = 2 }

[virtual_server.echo]
address   = "10.0.0.100:7"
protocol  = "tcp"
scheduler = "rr"
check     = "port"

[virtual_server.echo.real_server]
rs-1 = { address = "10.0.0.21:7" }
rs-2 = { address = "10.0.0.22:7" }

[check.front-page]
type     = "http"
interval = "1s"
timeout  = "500ms"
fall     = 2

[check.port]
type     = "tcp"
interval = "1s"
timeout  = "500ms"
fall     = 2

[sync]
key_file = %q
`

// Connections counts the established connections to a port of the VIP that a director's
// kernel knows, whether it has seen them itself or was told by the other director.
func (c *Cluster) Connections(machine string, port int) (int, error) {
	n := 0
	err := c.Do(machine, func() error {
		// /proc/net would be the main thread's.
		f, err := os.Open("/proc/thread-self/net/ip_vs_conn")
		if err != nil {
			return err
		}
		defer f.Close()
		// Pro FromIP FPrt ToIP TPrt DestIP DPrt State Expires, addresses in hex.
		vip, to := fmt.Sprintf("%08X", VIP.As4()), fmt.Sprintf("%04X", port)
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			w := strings.Fields(lines.Text())
			if len(w) >= 8 && w[3] == vip && w[4] == to && w[7] == "ESTABLISHED" {
				n++
			}
		}
		return lines.Err()
	})
	return n, err
}
