// Package record keeps the figures of the behaviour tests, and which bar each has to pass.
package record

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// Figure is one number a test found.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	Bar   *Bar    `json:"bar,omitempty"`
}

// Bar a figure must pass.
type Bar struct {
	AtMost  *float64 `json:"atMost,omitempty"`
	AtLeast *float64 `json:"atLeast,omitempty"`
}

// AtMost this.
func AtMost(value float64) *Bar { return &Bar{AtMost: &value} }

// AtLeast this.
func AtLeast(value float64) *Bar { return &Bar{AtLeast: &value} }

// Between these.
func Between(least, most float64) *Bar { return &Bar{AtLeast: &least, AtMost: &most} }

// Passes says whether a value passes; without a bar every value does.
func (b *Bar) Passes(value float64) bool {
	switch {
	case b == nil:
		return true
	case b.AtMost != nil && value > *b.AtMost:
		return false
	case b.AtLeast != nil && value < *b.AtLeast:
		return false
	default:
		return true
	}
}

func (b *Bar) String() string {
	switch {
	case b == nil:
		return ""
	case b.AtMost != nil && b.AtLeast != nil:
		return fmt.Sprintf("%s to %s", number(*b.AtLeast), number(*b.AtMost))
	case b.AtMost != nil:
		return fmt.Sprintf("≤ %s", number(*b.AtMost))
	case b.AtLeast != nil:
		return fmt.Sprintf("≥ %s", number(*b.AtLeast))
	default:
		return ""
	}
}

func (f Figure) String() string {
	text := fmt.Sprintf("%s: %s", f.Name, number(f.Value))
	if f.Unit != "" {
		text += " " + f.Unit
	}
	if f.Bar != nil {
		text += fmt.Sprintf(" [%s]", f.Bar)
	}
	return text
}

// Test is what came of one test.
type Test struct {
	Outcome string   `json:"outcome"`
	Seconds float64  `json:"seconds"`
	Figures []Figure `json:"figures,omitempty"`
}

// Outcomes.
const (
	Pass    = "pass"
	Fail    = "fail"
	Skip    = "skip"
	Running = "running"
)

// Book holds the results of all tests in a file, which is right at any moment.
type Book struct {
	path  string
	mu    sync.Mutex
	tests map[string]*Test
}

// NewBook that writes to a file; "" keeps it in memory.
func NewBook(path string) *Book { return &Book{path: path, tests: map[string]*Test{}} }

// Add a figure to a test.
func (b *Book) Add(test string, figure Figure) error {
	return b.change(test, func(t *Test) { t.Figures = append(t.Figures, figure) })
}

// End a test.
func (b *Book) End(test, outcome string, seconds float64) error {
	return b.change(test, func(t *Test) { t.Outcome, t.Seconds = outcome, seconds })
}

func (b *Book) change(test string, do func(*Test)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tests[test] == nil {
		b.tests[test] = &Test{Outcome: Running}
	}
	do(b.tests[test])
	if b.path == "" {
		return nil
	}
	raw, err := json.MarshalIndent(b.tests, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(b.path, append(raw, '\n'), 0o644)
}

// Read reads a book's file.
func Read(path string) (map[string]Test, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var tests map[string]Test
	if err := json.Unmarshal(raw, &tests); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return tests, nil
}

// Duration of a test.
type Duration struct {
	Name, Outcome string
	Took          time.Duration
}

// Longest are the tests that took longer than a limit, the longest first, without parts of tests.
func Longest(tests map[string]Test, limit time.Duration) []Duration {
	var long []Duration
	for name, test := range tests {
		took := time.Duration(test.Seconds * float64(time.Second))
		if took > limit && !strings.Contains(name, "/") {
			long = append(long, Duration{name, test.Outcome, took})
		}
	}
	sort.Slice(long, func(i, j int) bool { return long[i].Took > long[j].Took })
	return long
}

// Table of results for people.
func Table(tests map[string]Test) string {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	names := make([]string, 0, len(tests))
	for name := range tests {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		test := tests[name]
		fmt.Fprintf(table, "%s\t%s\t%.1f s\t\n", test.Outcome, name, test.Seconds)
		for _, figure := range test.Figures {
			mark := ""
			if !figure.Bar.Passes(figure.Value) {
				mark = "← fails"
			}
			fmt.Fprintf(table, "\t  %s\t%s %s\t%s\t%s\n", figure.Name, number(figure.Value), figure.Unit, figure.Bar, mark)
		}
	}
	_ = table.Flush()
	return text.String()
}

func number(value float64) string {
	text := fmt.Sprintf("%.2f", value)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
