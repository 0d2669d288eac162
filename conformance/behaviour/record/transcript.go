package record

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Marks that a program of tests writes with -test.v=test2json: before a line about a test, around what Error and Fatal say, and before a
// byte that would be one of them.
const (
	markFraming  = 'V' &^ '@'
	markErrBegin = 'O' &^ '@'
	markErrEnd   = 'N' &^ '@'
	markEscape   = '[' &^ '@'
)

// How much is said of one test, and of one of its errors, so that the next one is said too.
const (
	linesOfTest  = 40
	linesOfError = 15
)

// Transcript is what a run with -test.v=test2json prints. It passes the lines on without marks, and keeps the errors of each test.
type Transcript struct {
	to io.Writer
	// The line that is not whole yet.
	partial []byte
	// The test, or part of one, that the next lines are of.
	current string
	// In an error: lines belong to it until its end. A panic has none.
	within, panicked bool
	order            []string
	tests            map[string]*account
}

// account is what is known of a test.
type account struct {
	failed, ended bool
	errors        []wrong
}

// wrong is one error of a test or of a part of it.
type wrong struct {
	of    string
	lines []string
}

// NewTranscript that passes lines on.
func NewTranscript(to io.Writer) *Transcript {
	return &Transcript{to: to, tests: map[string]*account{}}
}

// Write takes the output as it comes.
func (t *Transcript) Write(raw []byte) (int, error) {
	t.partial = append(t.partial, raw...)
	for {
		line, rest, whole := bytes.Cut(t.partial, []byte("\n"))
		if !whole {
			return len(raw), nil
		}
		text := t.take(line)
		t.partial = rest
		if _, err := io.WriteString(t.to, text+"\n"); err != nil {
			return 0, err
		}
	}
}

// Close takes what is left without an end of line.
func (t *Transcript) Close() error {
	if len(t.partial) == 0 {
		return nil
	}
	_, err := t.Write([]byte("\n"))
	return err
}

// take reads one line, and returns it without marks.
func (t *Transcript) take(raw []byte) string {
	var text strings.Builder
	framed, begins, ends := -1, false, false
	for i := 0; i < len(raw); i++ {
		switch {
		case raw[i] == markFraming:
			framed = text.Len() // something without an end of line may stand before it
		case raw[i] == markErrBegin:
			begins = true
		case raw[i] == markErrEnd:
			ends = true
		case raw[i] == markEscape && i+1 < len(raw):
			i++
			text.WriteByte(raw[i])
		default:
			text.WriteByte(raw[i])
		}
	}
	line := text.String()
	switch {
	case framed >= 0:
		t.about(line[framed:])
	case !t.within && (strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")):
		t.panicked = true
		begins = true
		fallthrough
	default:
		t.said(line, begins, ends)
	}
	return line
}

// about reads a line that says what becomes of a test: `=== RUN   TestA`, `--- FAIL: TestA/part (0.01s)`.
func (t *Transcript) about(line string) {
	words := strings.Fields(line)
	if len(words) < 3 {
		return
	}
	t.within = false
	t.current = words[2]
	test := t.test()
	if words[0] == "---" && !strings.Contains(t.current, "/") {
		test.ended = true
		test.failed = words[1] == "FAIL:"
	}
}

// test that the lines are of.
func (t *Transcript) test() *account {
	name, _, _ := strings.Cut(t.current, "/")
	if t.tests[name] == nil {
		t.tests[name] = &account{}
		t.order = append(t.order, name)
	}
	return t.tests[name]
}

func (t *Transcript) said(line string, begins, ends bool) {
	if begins {
		test := t.test()
		test.failed = true
		test.errors = append(test.errors, wrong{of: t.current})
		t.within = true
	}
	if t.within {
		test := t.test()
		last := &test.errors[len(test.errors)-1]
		last.lines = append(last.lines, line)
	}
	if ends {
		t.within = t.panicked
	}
}

// Errors of the tests that failed or did not end, with file and line.
func (t *Transcript) Errors() string {
	var all strings.Builder
	for _, name := range t.order {
		test := t.tests[name]
		var lines []string
		of := ""
		for _, it := range test.errors {
			if it.of != of {
				of = it.of
				lines = append(lines, "=== "+of)
			}
			lines = append(lines, first(linesOfError, it.lines)...)
		}
		switch {
		case test.ended && !test.failed:
			continue
		case !test.ended && name != "":
			lines = append([]string{"=== " + name, "    it did not end"}, lines...)
		case len(lines) == 0:
			lines = []string{"=== " + name, "    it failed, and said nothing of why"}
		}
		for _, line := range first(linesOfTest, lines) {
			all.WriteString(line + "\n")
		}
	}
	return all.String()
}

// first lines of many; of the others it is said how many there are.
func first(most int, lines []string) []string {
	if len(lines) <= most {
		return lines
	}
	more := fmt.Sprintf("    … and %d more lines", len(lines)-most+1)
	return append(lines[:most-1:most-1], more)
}
