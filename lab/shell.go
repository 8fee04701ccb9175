package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/hadirector/hadirector/lab/cluster"
)

// shellHelp is what the shell begins with. The verb is the directory of logs and files.
const shellHelp = `
Two directors and two real servers are running. On each of them:

   at lb-a ip addr show eth0           any command, in that machine's network
   at client curl 10.0.0.100           (client lb-a lb-b rs-1 rs-2 switch)
   hadirector lb-a status              the daemon's commands, asked of lb-a
   hadirector lb-b events -f
   at lb-b ipvsadm -Ln

Cut lb-a off, and mend it:

   at switch ip link set lb-a down     (up)

Logs, configuration and state are in %s. Ctrl-D ends it all.

`

// shellSetup makes the words above; the verbs are the namespaces' prefix, the daemon's path
// and the directory.
const shellSetup = `
at() { local machine=$1; shift; ip netns exec %[1]s"$machine" "$@"; }
hadirector() {
	local machine=$1; shift
	ip netns exec %[1]s"$machine" %[2]s "$@" --socket %[3]s/"$machine"/admin.sock
}
PS1='lab# '
cd %[3]s
`

// shell runs an interactive shell beside the running cluster.
func shell(ctx context.Context, s settings) (err error) {
	logs := &logFiles{files: make(map[string]*os.File)}
	c, err := cluster.New(cluster.Options{Prefix: prefix(), Log: logs.write})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	logs.dir = c.Dir()
	fmt.Println("starting the cluster ...")
	if _, err := start(ctx, c, s.binary); err != nil {
		return err
	}
	setup := filepath.Join(c.Dir(), "shellrc")
	text := fmt.Sprintf(shellSetup, c.Namespace(""), s.binary, c.Dir())
	if err := os.WriteFile(setup, []byte(text), 0o644); err != nil {
		return err
	}
	fmt.Printf(shellHelp, c.Dir())
	cmd := exec.Command("bash", "--rcfile", setup, "-i")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		return err // the exit status of a shell is that of its last command
	}
	return nil
}
