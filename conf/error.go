package conf

import "fmt"

// Error is one mistake in a configuration file.
type Error struct {
	File string
	// Line and Col count from 1; Line is 0 if the mistake has no place in the
	// file, such as a file that cannot be read.
	Line, Col int
	// Path is the dotted key, "virtual_server.web.scheduler"; empty for syntax
	// errors.
	Path string
	Text string
}

// Error renders FILE:LINE:COL: path: message, without the parts that are not known.
func (e Error) Error() string {
	s := e.File
	if e.Line > 0 {
		s += fmt.Sprintf(":%d:%d", e.Line, e.Col)
	}
	if e.Path != "" {
		s += ": " + e.Path
	}
	return s + ": " + e.Text
}

// Errors are all the mistakes of one file, in the order of their places. Load and
// Parse return this type.
type Errors []Error

// Error renders one mistake per line.
func (es Errors) Error() string {
	s := ""
	for i, e := range es {
		if i > 0 {
			s += "\n"
		}
		s += e.Error()
	}
	return s
}
