// Command runtests runs the tests that a build tag guards because they need a privilege or
// a kernel that a plain "go test" may not have, and makes sure that they really ran.
//
//	runtests -tag integration          in this machine's kernel, as root, with -race
//	runtests -tag ipvs -vm             in one boot of the virtual machine (lab/vm)
//	runtests -tag ipvs,systemd -vm     the same of tests that no others may share it with
//
// It finds the test functions in the files that only the tag adds, compiles each package's
// test binary, and runs exactly these functions. A test that is skipped, or that did not
// run at all, is a failure: so is finding no test. Arguments after the flags are package
// directories; without any, the whole module is searched.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func main() {
	var r run
	flag.StringVar(&r.tag, "tag", "", "the build `tag` of the tests; of several, separated by commas, those that the last one adds")
	flag.BoolVar(&r.vm, "vm", false, "run them in the virtual machine")
	flag.BoolVar(&r.race, "race", false, "with the race detector")
	flag.BoolVar(&r.full, "full", false, "the long form of the tests that have one")
	flag.StringVar(&r.match, "run", "", "only tests whose name contains this `text`")
	flag.DurationVar(&r.limit, "timeout", 10*time.Minute, "the time limit of the whole run")
	flag.Parse()
	r.dirs = flag.Args()
	if r.tag == "" {
		flag.Usage()
		os.Exit(2)
	}
	if err := r.do(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "runtests:", err)
		os.Exit(1)
	}
}

// run is one invocation.
type run struct {
	tag   string
	vm    bool
	race  bool
	match string
	full  bool
	limit time.Duration
	dirs  []string
}

func (r run) do(out io.Writer) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	pkgs, err := find(root, r.tag)
	if err != nil {
		return err
	}
	pkgs = choose(pkgs, r.dirs, r.match)
	if len(pkgs) == 0 {
		return fmt.Errorf("no test with the tag %q was found", r.tag)
	}

	tmp, err := os.MkdirTemp("", "runtests-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	// The whole-daemon tests need the daemon, and the virtual machine is too slow to build it.
	daemon := filepath.Join(tmp, "hadirector")
	if slices.ContainsFunc(pkgs, func(p pkg) bool { return p.dir == "internal/e2e" || p.dir == "internal/doctor" || p.dir == "lab/bench" }) {
		if err := r.goCommand(root, "build", "-o", daemon, "./cmd/hadirector"); err != nil {
			return err
		}
	}
	script := filepath.Join(tmp, "script")
	if err := r.compile(root, tmp, pkgs); err != nil {
		return err
	}
	// The race detector would let every daemon that ends sleep for a second first.
	text := "export GORACE=atexit_sleep_ms=0 HADIRECTOR=" + quote(daemon) + "\n" + commands(root, tmp, pkgs, r.limit)
	if r.full {
		text = "export HADIRECTOR_FULL=1\n" + text
	}
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		return err
	}

	args := []string{"sh", script}
	if r.vm {
		seconds := fmt.Sprint(int(r.limit.Seconds()))
		args = append([]string{filepath.Join(root, "lab/vm"), "-t", seconds}, args...)
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	problems := newReport(pkgs).read(stdout, out, time.Now)
	if err := cmd.Wait(); err != nil {
		problems = append(problems, fmt.Errorf("%s: %w", args[0], err))
	}
	return errors.Join(problems...)
}

// compile builds one test binary per package, named as binary says, in one go command, which
// links several at once. Nobody debugs them, and without what a debugger wants linking takes
// half as long.
func (r run) compile(root, dir string, pkgs []pkg) error {
	args := []string{"-c", "-ldflags=-s -w", "-tags", r.tag, "-o", dir + "/"}
	for _, p := range pkgs {
		args = append(args, "./"+p.dir)
	}
	return r.goCommand(root, "test", args...)
}

// binary is where the go command puts a package's test binary; it refuses two of one name.
func binary(dir string, p pkg) string {
	return filepath.Join(dir, filepath.Base(p.dir)+".test")
}

// commands is the shell script that runs the binaries one after the other, each in its
// package's directory as go test does, between the two marks that report.read looks for.
func commands(root, dir string, pkgs []pkg, limit time.Duration) string {
	var b strings.Builder
	for _, p := range pkgs {
		fmt.Fprintf(&b, "cd %s\n", quote(filepath.Join(root, p.dir)))
		fmt.Fprintf(&b, "printf '\\n%s%s\\n'\n", markStart, p.path)
		// Tests that say they may run beside others wait most of their time.
		fmt.Fprintf(&b, "%s -test.v=test2json -test.parallel=4 -test.timeout=%s -test.run='^(%s)$' 2>&1\n",
			quote(binary(dir, p)), limit, strings.Join(p.tests, "|"))
		fmt.Fprintf(&b, "printf '\\n%s%%d\\n' $?\n", markEnd)
	}
	return b.String()
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// goCommand runs the go command with this run's race detector. What is to run in a namespace
// or in the virtual machine must not depend on what happens to be linked in here, so cgo is
// on only where the race detector needs it.
func (r run) goCommand(dir, command string, args ...string) error {
	cgo := "CGO_ENABLED=0"
	if r.race {
		args = append([]string{"-race"}, args...)
		cgo = "CGO_ENABLED=1"
	}
	cmd := exec.Command("go", append([]string{command}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), cgo)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(cmd.Args, " "), err)
	}
	return nil
}

func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Dir(strings.TrimSpace(string(out))), nil
}
