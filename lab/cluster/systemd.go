package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Systemd is systemd as a machine's process 1, with nothing on it but a journal.
//
// The machine has namespaces of its own for processes, mounts, host name, IPC and control
// groups. Its /etc, /usr/bin and /var/lib begin as the real ones, and what is written there
// ends with it; /etc/systemd/system and /run are empty at first. So it has none of the
// services that are installed outside, and starts in a second or two.
type Systemd struct {
	*Process // prints the journal, from its beginning on
	c        *Cluster
	pid      int // process 1's, seen from outside
}

// systemdUnits are all units that there are at first: the targets that every unit depends on
// unless told otherwise, those that ours name, and the journal.
var systemdUnits = map[string]string{
	"sysinit.target":        "[Unit]\nDefaultDependencies=no\nRequires=systemd-journald.service\nAfter=systemd-journald.service\n",
	"basic.target":          "[Unit]\nRequires=sysinit.target\nAfter=sysinit.target\n",
	"shutdown.target":       "[Unit]\nDefaultDependencies=no\n",
	"network-online.target": "[Unit]\n",
	"multi-user.target":     "[Unit]\nRequires=basic.target\nAfter=basic.target\n",
	"systemd-journald.service": `[Unit]
DefaultDependencies=no
[Service]
Type=notify
ExecStart=/lib/systemd/systemd-journald
`,
}

// systemdBoot makes the mounts and becomes systemd. Its arguments are the host name, the
// directory of the units, and the socket where systemd says that it has started.
const systemdBoot = `set -e
umount --recursive --lazy /run
mount -t tmpfs tmpfs /run
for dir in /etc /usr/bin /var/lib; do
	mkdir -p /run/lab$dir/upper /run/lab$dir/work
	mount -t overlay -o lowerdir=$dir,upperdir=/run/lab$dir/upper,workdir=/run/lab$dir/work overlay $dir
done
mount -t tmpfs tmpfs /etc/systemd/system
echo "$1" >/etc/hostname
printf '[Journal]\nReadKMsg=no\n' >/etc/systemd/journald.conf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
exec env -i PATH="$PATH" container=lab NOTIFY_SOCKET="$3" SYSTEMD_UNIT_PATH="/etc/systemd/system:$2" \
	SYSTEMD_GENERATOR_PATH="$2" SYSTEMD_ENVIRONMENT_GENERATOR_PATH="$2" \
	/lib/systemd/systemd --system --unit=multi-user.target --show-status=no
`

// StartSystemd boots systemd on a machine and returns when it has started. It has to be in
// the virtual machine: process 1 takes over the control groups.
func (c *Cluster) StartSystemd(ctx context.Context, machine string) (*Systemd, error) {
	if os.Getenv("HADIRECTOR_VM") == "" {
		return nil, errors.New("systemd is started in lab/vm only")
	}
	dir := c.MachineDir(machine)
	units := filepath.Join(dir, "units")
	if err := os.Mkdir(units, 0o755); err != nil {
		return nil, err
	}
	for name, text := range systemdUnits {
		if err := os.WriteFile(filepath.Join(units, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "ready"), Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	manager, err := c.Start(machine, "systemd", "unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc",
		"--uts", "--ipc", "--cgroup", "sh", "-c", systemdBoot, "sh", machine, units, filepath.Join(dir, "ready"))
	if err != nil {
		return nil, err
	}
	if err := systemdReady(ctx, ready, manager); err != nil {
		return nil, fmt.Errorf("systemd on %s did not start: %w:\n%s", machine, err, manager.Output())
	}
	s := &Systemd{c: c}
	if s.pid, err = onlyChild(manager.PID()); err != nil {
		return nil, fmt.Errorf("find systemd on %s: %w", machine, err)
	}
	s.Process, err = c.Start(machine, "journal", s.enter("journalctl", "--follow", "--lines=all", "--output=cat")...)
	return s, err
}

// systemdReady waits until process 1 says that it has started, as one in a container does.
func systemdReady(ctx context.Context, conn *net.UnixConn, manager *Process) error {
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-over:
		case <-ctx.Done():
		case <-manager.Done():
		}
		conn.Close()
	}()
	said := make([]byte, 4096)
	for {
		n, err := conn.Read(said)
		if err != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		if strings.Contains(string(said[:n]), "READY=1") {
			return nil
		}
	}
}

// onlyChild returns the child of a process that has one.
func onlyChild(pid int) (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// enter is a command line that runs another one on the machine.
func (s *Systemd) enter(args ...string) []string { return s.in("--all", args) }

func (s *Systemd) in(namespaces string, args []string) []string {
	return append(append([]string{"nsenter", "--target", strconv.Itoa(s.pid), "--wd=/"}, strings.Fields(namespaces)...), args...)
}

// Run runs a command as the machine's operator and returns what it printed.
func (s *Systemd) Run(name string, args ...string) (string, error) {
	line := s.enter(append([]string{name}, args...)...)
	out, err := exec.Command(line[0], line[1:]...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s %s: %w: %s", s.Machine, name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Path is where a file of the machine is found from outside. So is a process, in /proc.
func (s *Systemd) Path(name string) string { return fmt.Sprintf("/proc/%d/root%s", s.pid, name) }

// Beside starts a program on another machine that sees the files and the processes of this
// one.
func (s *Systemd) Beside(machine, name string, args ...string) (*Process, error) {
	return s.c.Start(machine, name, s.in("--mount --pid", args)...)
}
