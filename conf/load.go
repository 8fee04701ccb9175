package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// MaxFileSize is the largest file that Load reads and Parse takes, in bytes: 10 000
// virtual servers of four real servers each need a quarter of it.
const MaxFileSize = 16 << 20

// Load reads and parses a configuration file. Its error is an [Errors].
func Load(path string) (*Config, error) {
	data, err := Read(path)
	if err != nil {
		return nil, err
	}
	return Parse(data, path)
}

// Read returns the text of a configuration file. Its error is an [Errors].
func Read(path string) ([]byte, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, Errors{{File: path, Text: err.Error()}}
	}
	return data, nil
}

func readFile(path string) ([]byte, error) {
	// A pipe without a writer must not hold up a reload: O_NONBLOCK.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot be opened: %w", cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot be read: %w", cause(err))
	case info.IsDir():
		return nil, errors.New("is a directory, want a file")
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("is not a regular file (%s)", info.Mode().Type())
	case info.Size() > MaxFileSize:
		return nil, tooLarge(info.Size())
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", cause(err))
	}
	return data, nil
}

// cause drops the operation and the path, which the message has already.
func cause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

func tooLarge(size int64) error {
	return fmt.Errorf("is %d bytes long, the limit is %d (%d MiB)", size, MaxFileSize, MaxFileSize>>20)
}

// libraryError is a panic of the TOML library.
type libraryError struct{ value any }

func (e libraryError) Error() string { return fmt.Sprintf("cannot be parsed: %v", e.value) }

// Parse turns a configuration text into a Config. The name stands for the file in
// messages. Its error is an [Errors] with every mistake of the text. A mistake in the
// syntax of TOML ends the search, because what follows cannot be understood.
func Parse(data []byte, name string) (*Config, error) {
	if len(data) > MaxFileSize {
		return nil, Errors{{File: name, Text: tooLarge(int64(len(data))).Error()}}
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	p := &parser{
		file:        name,
		lines:       newLineIndex(text),
		comparisons: maxComparisons,
		usedChecks:  map[string]bool{},
		usedTracks:  map[string]bool{},
	}
	var c *Config
	if p.tree(text) {
		c = p.config()
		if !strings.HasSuffix(text, "\n") {
			p.report(len(text), "", true, "the last line has no end: the file may have been cut short")
		}
	}
	if es := p.findings(false); len(es) > 0 {
		return nil, es
	}
	c.Warnings = p.findings(true)
	return c, nil
}

// tree builds the tree of keys, and tells whether there is one to look at.
func (p *parser) tree(text string) bool {
	if at, what := foreignByte(text); at >= 0 {
		p.report(at, "", false, what)
		return false
	}
	s := scan(text)
	p.root = s.root
	if s.tooDeep {
		p.report(s.pos, "", false, fmt.Sprintf("nested more than %d deep", maxDepth))
		return false
	}
	for _, r := range s.redefined {
		text := fmt.Sprintf("already defined in line %d", p.line(r.node))
		if r.array {
			text += ", and an array of tables has no place here: each table has a name"
		}
		p.report(r.at, r.node.path(), false, text)
	}
	var values map[string]any
	if _, err := decode(s.without(), &values); err != nil {
		p.syntaxError(err)
		return false
	}
	if len(s.redefined) > 0 && s.pos < len(text) {
		return false // what stands behind a second definition cannot be followed
	}
	if len(values) == 0 && len(s.redefined) == 0 {
		p.found = append(p.found, finding{Error: Error{File: p.file, Text: "is empty: there is nothing to configure"}})
		return false
	}
	p.root.attach(values)
	return true
}

// foreignByte finds the first byte that no TOML text has, or -1.
func foreignByte(s string) (at int, what string) {
	for i, r := range s {
		switch {
		case r == utf8.RuneError:
			if _, size := utf8.DecodeRuneInString(s[i:]); size > 1 {
				continue // the replacement character itself
			}
			hint := ""
			if i == 0 && (strings.HasPrefix(s, "\xff\xfe") || strings.HasPrefix(s, "\xfe\xff")) {
				hint = " (it looks like UTF-16)"
			}
			return i, fmt.Sprintf("the byte 0x%02x is not UTF-8: a configuration is written in UTF-8%s", s[i], hint)
		case r == '\r' && !strings.HasPrefix(s[i:], "\r\n"):
			return i, "a carriage return without a line feed has no place here"
		case r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f:
			return i, fmt.Sprintf("the control character 0x%02x has no place here", r)
		}
	}
	return -1, ""
}

// syntaxError reports what the library says about the text.
func (p *parser) syntaxError(err error) {
	pe, ok := errors.AsType[toml.ParseError](err)
	if !ok {
		p.report(0, "", false, err.Error())
		return
	}
	// The library's Line and Col are one off around line ends, Start is not.
	at := pe.Position.Start
	line, _ := p.lines.position(at)
	text := pe.Message
	if text != "" {
		text = strings.ToLower(text[:1]) + text[1:]
	}
	if p.mayBeSecret(line) {
		p.report(at, "", false, "this cannot be read, and is not shown because it may be a secret: a string needs quotes")
		return
	}
	p.report(at, "", false, strings.TrimSuffix(text, ".")+p.unquoted(line))
}

var bareValue = regexp.MustCompile(`^\s*[A-Za-z0-9_.-]+\s*=\s*([A-Za-z0-9./:_-]+)\s*(?:#.*)?$`)

// textOf returns a line of the file, counted from 1, without its end.
func (p *parser) textOf(line int) string {
	start, end := p.lines.starts[line-1], len(p.lines.data)
	if line < len(p.lines.starts) {
		end = p.lines.starts[line] - 1
	}
	return strings.TrimRight(p.lines.data[start:end], "\r")
}

// unquoted explains the most common mistake in a line, a string without quotes.
func (p *parser) unquoted(line int) string {
	m := bareValue.FindStringSubmatch(p.textOf(line))
	if m == nil || strings.Trim(m[1], "0123456789_") == "" {
		return ""
	}
	return fmt.Sprintf("; a string needs quotes: %q", m[1])
}

var rootGrammar = grammar{keys: []string{"director", "vrrp", "virtual_server", "check", "track", "ipvs", "sync", "admin", "log"}}

// config reads the whole tree.
func (p *parser) config() *Config {
	p.table(p.root, rootGrammar)
	c := &Config{File: p.file}
	c.Directors = p.directors(p.root.kid("director"))
	c.VirtualRouters = p.virtualRouters(p.root.kid("vrrp"), c.Directors)
	c.VirtualServers = p.virtualServers(p.root.kid("virtual_server"), c.Directors)
	c.Checks = p.checks(p.root.kid("check"))
	c.Tracks = p.tracks(p.root.kid("track"))
	c.IPVS = p.ipvs(p.root.kid("ipvs"))
	c.Sync = p.sync(p.root.kid("sync"), len(c.Directors))
	c.Admin = p.admin(p.root.kid("admin"), c.Directors)
	c.Log = p.log(p.root.kid("log"))
	p.contradictions(c)
	return c
}
