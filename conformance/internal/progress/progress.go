// Package progress says what is being done, and how long it took.
package progress

import (
	"fmt"
	"io"
	"time"
)

// Report writes one line per step, with the time since the start.
type Report struct {
	out   io.Writer
	start time.Time
}

// New starts the clock.
func New(out io.Writer) *Report { return &Report{out: out, start: time.Now()} }

// Step does something and says how long it took.
func (r *Report) Step(name string, do func() error) error {
	begin := time.Now()
	err := do()
	state := "ok"
	if err != nil {
		state = "FAILED"
	}
	fmt.Fprintf(r.out, "%7.1fs  %-44s %s (%.1f s)\n", time.Since(r.start).Seconds(), name, state, time.Since(begin).Seconds())
	return err
}

// Say writes a line that is no step.
func (r *Report) Say(format string, args ...any) {
	fmt.Fprintf(r.out, "%7.1fs  %s\n", time.Since(r.start).Seconds(), fmt.Sprintf(format, args...))
}
