package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// usage is what one process has used.
type usage struct {
	pid      int
	name     string
	cpu      time.Duration // user and system, since its start
	resident int64         // bytes of memory
	share    int64         // the same, with what it shares with others divided by their number
}

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on every
// Linux that Go runs on.
const clockTick = time.Second / 100

// usages returns what a process and all below it have used, parents first.
func usages(pid int) ([]usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	u, err := parseStat(string(stat))
	if err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	// The counters of /proc/PID/stat and status are approximate, by as much as a small
	// process has.
	smaps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return nil, err
	}
	if u.resident, u.share, err = parseSmaps(string(smaps)); err != nil {
		return nil, fmt.Errorf("process %d: %w", pid, err)
	}
	list := []usage{u}
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		return nil, err
	}
	for _, file := range tasks {
		children, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(children)) {
			pid, err := strconv.Atoi(child)
			if err != nil {
				return nil, err
			}
			below, err := usages(pid)
			if err != nil {
				return nil, err
			}
			list = append(list, below...)
		}
	}
	return list, nil
}

// parseSmaps reads Rss and Pss of /proc/PID/smaps_rollup, in bytes.
func parseSmaps(text string) (resident, share int64, err error) {
	for line := range strings.Lines(text) {
		w := strings.Fields(line)
		if len(w) != 3 || w[2] != "kB" {
			continue
		}
		kB, err := strconv.ParseInt(w[1], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		switch w[0] {
		case "Rss:":
			resident = kB << 10
		case "Pss:":
			share = kB << 10
		}
	}
	if resident == 0 || share == 0 {
		return 0, 0, fmt.Errorf("no Rss and Pss in %q", text)
	}
	return resident, share, nil
}

// parseStat reads /proc/PID/stat, see proc(5). The name, in brackets, may hold anything.
func parseStat(text string) (usage, error) {
	open, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return usage{}, fmt.Errorf("no name in %q", text)
	}
	// Field 14 is utime, 15 stime; the first after the name is field 3.
	fields := strings.Fields(text[end+1:])
	if len(fields) < 13 {
		return usage{}, fmt.Errorf("%d fields after the name, want 13", len(fields))
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text[:open]))
	if err != nil {
		return usage{}, err
	}
	var n [2]int64
	for i, field := range []int{14, 15} {
		if n[i], err = strconv.ParseInt(fields[field-3], 10, 64); err != nil {
			return usage{}, err
		}
	}
	return usage{pid: pid, name: text[open+1 : end], cpu: time.Duration(n[0]+n[1]) * clockTick}, nil
}

// since is what later has used more than earlier, process by process. A process that was
// not there earlier counts in full.
func since(earlier, later []usage) []usage {
	used := slices.Clone(later)
	for i, u := range used {
		for _, e := range earlier {
			if e.pid == u.pid {
				used[i].cpu -= e.cpu
			}
		}
	}
	return used
}

// peak is the most memory that processes have had, in bytes. What they share counts for each.
func peak(processes []usage) (sum int64, err error) {
	for _, u := range processes {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", u.pid))
		if err != nil {
			return 0, err
		}
		n, err := parsePeak(string(text))
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", u.pid, err)
		}
		sum += n
	}
	return sum, nil
}

// parsePeak reads VmHWM of /proc/PID/status, in bytes.
func parsePeak(text string) (int64, error) {
	for line := range strings.Lines(text) {
		if w := strings.Fields(line); len(w) == 3 && w[0] == "VmHWM:" {
			kB, err := strconv.ParseInt(w[1], 10, 64)
			return kB << 10, err
		}
	}
	return 0, fmt.Errorf("no VmHWM in %q", text)
}

// kernelDaemons are the threads of the kernel's sync daemons, of all directors.
func kernelDaemons() ([]usage, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var list []usage
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		u, err := parseStat(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		// make_ipvs_sync_daemon's names, net/netfilter/ipvs/ip_vs_sync.c.
		if strings.HasPrefix(u.name, "ipvs-m:") || strings.HasPrefix(u.name, "ipvs-b:") {
			list = append(list, u)
		}
	}
	return list, nil
}

// spent is the processor time of processes together.
func spent(processes []usage) (sum time.Duration) {
	for _, u := range processes {
		sum += u.cpu
	}
	return sum
}
