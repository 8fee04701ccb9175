package probe

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLine is how many bytes of a script's output can become part of a cause.
const maxLine = 200

// firstLine returns the first line of what a program says that is not blank, printable
// and short. It reads to the end, or to the first error, and keeps a bounded part: a
// program must not hang because nobody reads what it says.
func firstLine(r io.Reader) string {
	var kept []byte // from the first byte that is not white space on
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if room := maxLine + utf8.UTFMax - len(kept); room > 0 {
			seen := buf[:n]
			if len(kept) == 0 {
				seen = bytes.TrimLeftFunc(seen, unicode.IsSpace)
			}
			kept = append(kept, seen[:min(len(seen), room)]...)
		}
		if err != nil {
			break
		}
	}
	line, _, _ := strings.Cut(string(kept), "\n")
	more := ""
	if len(line) > maxLine {
		line, more = line[:maxLine], "..."
	}
	return printable(strings.TrimRightFunc(line, unicode.IsSpace)) + more
}

// printable replaces what does not print.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError, !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
}
