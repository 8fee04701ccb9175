package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/hadirector/hadirector/lab/cluster"
)

// width is what a line may fill: the smallest terminal in use.
const width = 80

// screen writes the demonstration: steps, what the programs say meanwhile, and the result.
// Several goroutines write to it.
type screen struct {
	mu     sync.Mutex // guards out
	out    io.Writer
	colour bool
	start  time.Time
}

// The colours, as the terminal's own palette names them.
const (
	bold   = "1"
	faint  = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (s *screen) paint(style, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// step begins a part of the demonstration.
func (s *screen) step(format string, args ...any) {
	s.print(bold, "", "\n== "+fmt.Sprintf(format, args...))
}

// say adds a line to it.
func (s *screen) say(format string, args ...any) {
	s.print("", "   ", "   "+fmt.Sprintf(format, args...))
}

// log shows a line that a program of the cluster printed.
func (s *screen) log(l cluster.Line) {
	text, style := tidy(l.Text)
	prefix := fmt.Sprintf("%6.2fs %-4s | ", l.At.Sub(s.start).Seconds(), l.Machine)
	s.print(style, strings.Repeat(" ", utf8.RuneCountInString(prefix)-2)+"| ", prefix+text)
}

func (s *screen) print(style, indent, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range wrap(text, width, indent) {
		if style != "" {
			line = s.paint(style, line)
		}
		fmt.Fprintln(s.out, line)
	}
}

// wrap breaks text between words so that no line is longer than width, as far as the
// words allow. Lines after the first begin with indent.
func wrap(text string, width int, indent string) []string {
	var lines []string
	for utf8.RuneCountInString(text) > width {
		runes := []rune(text)
		cut := -1
		for i := width; i > utf8.RuneCountInString(indent); i-- {
			if runes[i] == ' ' {
				cut = i
				break
			}
		}
		if cut < 0 {
			break
		}
		lines = append(lines, strings.TrimRight(string(runes[:cut]), " "))
		text = indent + strings.TrimLeft(string(runes[cut:]), " ")
	}
	return append(lines, text)
}

var slogHead = regexp.MustCompile(`^time=\S+ level=(\S+) msg=("(?:[^"\\]|\\.)*"|\S+) ?`)

// tidy shortens a line of log/slog's text form to its message and attributes: the time is
// on the left already, and the level is the colour.
func tidy(line string) (text, style string) {
	m := slogHead.FindStringSubmatch(line)
	if m == nil {
		return line, faint
	}
	style = map[string]string{"WARN": yellow, "ERROR": red}[m[1]]
	return strings.TrimRight(strings.Trim(m[2], `"`)+"  "+line[len(m[0]):], " "), style
}
