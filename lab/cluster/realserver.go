package cluster

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// webServer is the configuration of one real server's nginx: one process, nothing written
// outside its directory, and the real server's name as the answer to everything.
const webServer = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr notice;
events { worker_connections 1024; }
http {
	access_log off;
	client_body_temp_path %[1]s;
	proxy_temp_path %[1]s;
	fastcgi_temp_path %[1]s;
	uwsgi_temp_path %[1]s;
	scgi_temp_path %[1]s;
	server {
		listen 80;
		default_type text/plain;
		location / { return 200 "%[2]s\n"; }
	}
}
`

// StartWeb starts nginx on a real server, which answers every request with the machine's
// name, and returns when it listens.
func (c *Cluster) StartWeb(ctx context.Context, machine string) (*Process, error) {
	dir := c.MachineDir(machine)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, webServer, dir, machine), 0o644); err != nil {
		return nil, err
	}
	p, err := c.Start(machine, "nginx", "nginx", "-e", "stderr", "-p", dir, "-c", file)
	if err != nil {
		return nil, err
	}
	// nginx says so once its sockets listen.
	_, _, err = p.Wait(ctx, 0, "event method")
	return p, err
}

// AddVIP gives a real server the virtual address on its loopback interface and keeps it
// from answering ARP for it, as direct routing needs it.
func (c *Cluster) AddVIP(machine string) error {
	err := c.Do(machine, func() error {
		for name, value := range map[string]string{"arp_ignore": "1", "arp_announce": "2"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/conf/all/"+name, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.ip(machine, "addr add "+VIP.String()+"/32 dev lo\n")
}

// echo is a real server's echo service. It is part of the calling process; its sockets are
// in the real server's namespace.
type echo struct {
	listener net.Listener

	mu    sync.Mutex // guards conns
	conns map[net.Conn]bool
}

// StartEcho starts a real server's echo service: it answers every line with the machine's
// name, a space and the line.
func (c *Cluster) StartEcho(machine string) error {
	e := &echo{conns: make(map[net.Conn]bool)}
	err := c.Do(machine, func() (err error) {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false) // the services here are plain TCP
		e.listener, err = lc.Listen(context.Background(), "tcp4", fmt.Sprintf(":%d", EchoPort))
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", machine, err)
	}
	c.mu.Lock()
	c.echoes[machine] = e
	c.mu.Unlock()
	go e.serve(machine)
	return nil
}

func (e *echo) serve(machine string) {
	for {
		conn, err := e.listener.Accept()
		if err != nil {
			return // closed
		}
		e.mu.Lock()
		e.conns[conn] = true
		e.mu.Unlock()
		go func() {
			defer e.forget(conn)
			for lines := bufio.NewScanner(conn); lines.Scan(); {
				if _, err := fmt.Fprintf(conn, "%s %s\n", machine, lines.Text()); err != nil {
					return
				}
			}
		}()
	}
}

func (e *echo) forget(conn net.Conn) {
	conn.Close()
	e.mu.Lock()
	delete(e.conns, conn)
	e.mu.Unlock()
}

func (e *echo) close() {
	e.listener.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	for conn := range e.conns {
		conn.Close()
	}
}
