package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

const awaitingAnswer step = "waiting for the answer"

// maxAnswer is how much of an answer is looked at. It also bounds the work for a server
// that sends single bytes, since all that has come is looked at each time.
const maxAnswer = 4 << 10

// phrase is what an answer must have in it. The zero value expects nothing.
type phrase struct {
	text   []byte
	regexp *regexp.Regexp
}

func newPhrase(text, pattern string) (phrase, error) {
	if text != "" && pattern != "" {
		return phrase{}, fmt.Errorf("an answer is expected by its text or by a regular expression, not both")
	}
	e := phrase{text: []byte(text)}
	if pattern != "" {
		var err error
		if e.regexp, err = regexp.Compile(pattern); err != nil {
			return phrase{}, err
		}
	}
	return e, nil
}

func (e phrase) none() bool { return len(e.text) == 0 && e.regexp == nil }

func (e phrase) met(answer []byte) bool {
	if e.regexp != nil {
		return e.regexp.Match(answer)
	}
	return bytes.Contains(answer, e.text)
}

func (e phrase) String() string {
	if e.regexp != nil {
		return "a match of " + quoted([]byte(e.regexp.String()))
	}
	return quoted(e.text)
}

// await reads until what has come meets the phrase.
func (c *tcpCheck) await(ctx context.Context, r io.Reader) error {
	buf := make([]byte, maxAnswer)
	for seen := 0; ; {
		n, err := r.Read(buf[seen:])
		seen += n
		switch {
		case n > 0 && c.expect.met(buf[:seen]):
			return nil
		case err != nil && (seen == 0 || errors.Is(ctx.Err(), context.Canceled)):
			return explain(ctx, awaitingAnswer, c.timeout, err)
		case err == nil && seen < maxAnswer:
			continue
		}
		unmet := &cause{text: fmt.Sprintf("answer %s, want %v", quoted(buf[:seen]), c.expect)}
		if err != nil {
			unmet.errs = []error{err}
		}
		return unmet
	}
}

// quoted shows the beginning of what a server sent, printable and short.
func quoted(b []byte) string {
	const most = 40
	more := ""
	if len(b) > most {
		b, more = b[:most], "..."
	}
	return strconv.QuoteToASCII(string(b)) + more
}
