package suite

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// Outcome of a test.
type Outcome string

// Outcomes; a test whose feature is not claimed is skipped.
const (
	Pass Outcome = "pass"
	Fail Outcome = "fail"
	Skip Outcome = "skip"
)

// Result of one test of the suite.
type Result struct {
	Outcome Outcome `json:"outcome"`
	Seconds float64 `json:"seconds,omitempty"`
	// Error is the first thing that was wrong, in a line.
	Error string `json:"error,omitempty"`
}

// Results by the test's short name. "" is the run itself: its set-up.
type Results map[string]Result

// Failed names the tests that failed, and "set-up" if the suite did not come as far as its tests.
func (r Results) Failed() []string {
	failed := map[string]bool{}
	for name, result := range r {
		if result.Outcome == Fail && name != "" {
			failed[name] = true
		}
	}
	if len(failed) == 0 && r[""].Outcome != Pass {
		return []string{"set-up"}
	}
	return sorted(failed)
}

// event is a line of `go tool test2json`.
type event struct {
	Time       time.Time
	Action     string
	Test       string
	Elapsed    float64
	Output     string
	OutputType string
}

const root = "TestConformance"

// ReadResults follows the run's events; `finished` hears of every test of the suite as it ends.
func ReadResults(events io.Reader, finished func(name string, result Result)) (Results, error) {
	results := Results{}
	open := watch{}
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil {
				if name, result, over := open.take(e); over {
					results[name] = result
					finished(name, result)
				}
			}
		}
		if err == io.EOF {
			return results, nil
		}
		if err != nil {
			return results, fmt.Errorf("reading the suite's output: %w", err)
		}
	}
}

// watch is what is known of tests that have not ended.
type watch map[string]*running

type running struct {
	since time.Time
	error firstError
}

// take follows one event; it says so if a test of the suite is over with it.
func (w watch) take(e event) (string, Result, bool) {
	path := strings.Split(e.Test, "/")
	if path[0] != root {
		return "", Result{}, false
	}
	name := ""
	if len(path) > 1 {
		name = path[1]
	}
	test := w[name]
	if test == nil {
		test = &running{since: e.Time}
		w[name] = test
	}
	switch e.Action {
	case "output":
		test.error.add(e)
	case "cont": // a parallel test waited until here
		if len(path) == 2 {
			test.since = e.Time
		}
	case "pass", "fail", "skip":
		if len(path) > 2 {
			break
		}
		delete(w, name)
		// Go's own figure leaves out what subtests do in parallel.
		result := Result{Outcome: Outcome(e.Action), Seconds: max(e.Elapsed, e.Time.Sub(test.since).Seconds())}
		if result.Outcome == Fail {
			result.Error = test.error.line()
		}
		return name, result, true
	}
	return "", Result{}, false
}

// firstError picks, from the output of a test, the first error, and what the same subtest said just before: the suite
// logs why it is not content yet, and then fails with no more than "timeout".
type firstError struct {
	subtest string
	before  string
	text    []string
	done    bool
	last    map[string]string // of each subtest
	panic   string
}

func (f *firstError) add(e event) {
	text := strings.TrimSpace(e.Output)
	if text == "" || e.OutputType == "frame" {
		return
	}
	if f.panic == "" && strings.HasPrefix(text, "panic: ") {
		f.panic = text
	}
	switch {
	case e.OutputType == "error":
		f.done = f.done || f.subtest != ""
		if !f.done {
			f.subtest, f.before, f.text = e.Test, f.last[e.Test], []string{text}
		}
	case e.OutputType == "error-continue":
		if !f.done && e.Test == f.subtest {
			f.text = append(f.text, text)
		}
	case place.MatchString(text):
		if f.last == nil {
			f.last = map[string]string{}
		}
		f.last[e.Test] = text
		f.last[""] = text
	}
}

// place is how a line of a test's log begins; what follows without it is part of the line above.
var place = regexp.MustCompile(`^\S+\.go:\d+: `)

// moment is the suite's own time stamp.
var moment = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z:? `)

func (f *firstError) line() string {
	switch {
	case f.panic != "":
		return f.panic
	case f.subtest == "":
		return cut(f.last[""])
	}
	text := brief(f.text)
	if parts := strings.SplitN(f.subtest, "/", 3); len(parts) == 3 {
		text = parts[2] + ": " + text
	}
	if f.before != "" {
		text += " | before: " + f.before
	}
	return cut(text)
}

func cut(text string) string {
	const limit = 600
	text = moment.ReplaceAllString(text, "")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// brief turns testify's block into one line: where, what, and the test's own message.
func brief(lines []string) string {
	var parts []string
	skipping := false
	for _, line := range lines {
		label, rest, labelled := strings.Cut(line, ":")
		switch {
		case labelled && (label == "Error Trace" || label == "Test"):
			skipping = true
			continue
		case labelled && (label == "Error" || label == "Messages"):
			skipping = false
			line = strings.TrimSpace(rest)
		case skipping:
			continue
		}
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, " ")
}
