package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/hadirector/hadirector/lab/cluster"
)

// laboratory is the cluster with everything running in it.
type laboratory struct {
	*cluster.Cluster
	daemon cluster.Hadirector
	web    map[string]*cluster.Process // nginx, by real server
	lb     map[string]*cluster.Process // the daemon, by director
}

// start runs real servers and directors in c, and returns when lb-a is Master.
func start(ctx context.Context, c *cluster.Cluster, binary string) (*laboratory, error) {
	lab := &laboratory{
		Cluster: c,
		daemon:  cluster.Hadirector{Binary: binary},
		web:     make(map[string]*cluster.Process),
		lb:      make(map[string]*cluster.Process),
	}
	key, err := c.WriteKey(binary)
	if err != nil {
		return nil, err
	}
	lab.daemon.Config, err = c.WriteConfig(cluster.VRRP + fmt.Sprintf(cluster.Services, key))
	if err != nil {
		return nil, err
	}
	for _, rs := range []string{cluster.RS1, cluster.RS2} {
		if lab.web[rs], err = c.StartWeb(ctx, rs); err != nil {
			return nil, err
		}
		if err := c.StartEcho(rs); err != nil {
			return nil, err
		}
		state := filepath.Join(c.MachineDir(rs), "realserver.json")
		if _, err := c.Run(rs, binary, "realserver", "start", "-c", lab.daemon.Config, "--state-file", state); err != nil {
			return nil, err
		}
	}
	// The Master first, so that there is no contest to watch.
	if err := lab.startDirector(ctx, cluster.LBA, "to=master"); err != nil {
		return nil, err
	}
	return lab, lab.startDirector(ctx, cluster.LBB, "to=backup")
}

// startDirector starts a director and waits until its log says text.
func (lab *laboratory) startDirector(ctx context.Context, machine, text string) error {
	p, err := lab.StartHadirector(machine, lab.daemon)
	if err != nil {
		return err
	}
	lab.lb[machine] = p
	_, _, err = p.Wait(ctx, 0, text)
	return err
}

// logFiles keeps what each program says, as DIR/MACHINE.PROGRAM.log.
type logFiles struct {
	dir   string
	mu    sync.Mutex // guards files
	files map[string]*os.File
}

func (l *logFiles) write(line cluster.Line) {
	name := filepath.Join(l.dir, line.Machine+"."+line.Process+".log")
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.files[name]
	if f == nil {
		var err error
		if f, err = os.Create(name); err != nil {
			return // the shell works without
		}
		l.files[name] = f
	}
	fmt.Fprintln(f, line.Text)
}
