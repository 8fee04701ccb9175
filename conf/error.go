package conf

import (
	"strconv"
	"strings"
)

// Error is one mistake in a configuration file, or one warning about it.
type Error struct {
	File string
	// Line and Col count from 1, Col in characters; Line is 0 if the mistake has
	// no place in the file, such as a file that cannot be read.
	Line, Col int
	// Path is the dotted key, "virtual_server.web.scheduler"; empty for syntax
	// errors.
	Path string
	Text string
	// Warning marks what is legal but questionable. Only [Config.Warnings] holds
	// such entries.
	Warning bool
}

// Error renders FILE:LINE:COL: path: message, without the parts that are not known.
// A warning has "warning: " before its message.
func (e Error) Error() string {
	var b strings.Builder
	e.write(&b)
	return b.String()
}

func (e Error) write(b *strings.Builder) {
	b.WriteString(e.File)
	if e.Line > 0 {
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(e.Line))
		b.WriteByte(':')
		b.WriteString(strconv.Itoa(e.Col))
	}
	if e.Path != "" {
		b.WriteString(": ")
		b.WriteString(e.Path)
	}
	b.WriteString(": ")
	if e.Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(e.Text)
}

// Errors are all the mistakes of one file, or all the warnings about it, in the
// order of their places. Load and Parse return this type as their error.
type Errors []Error

// Error renders one mistake per line.
func (es Errors) Error() string {
	var b strings.Builder
	for i, e := range es {
		if i > 0 {
			b.WriteByte('\n')
		}
		e.write(&b)
	}
	return b.String()
}
