// Package progress says what is being done, and how long it took.
package progress

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// StepsFile is the environment variable that names a file to which every step is added when it ends, a line each:
// seconds, outcome and name, with tabs between them. `.ci/run` makes its table of it.
const StepsFile = "FAIRWAY_STEPS"

// ErrorsFile is the environment variable that names a file to which a command that fails adds why. `.ci/run` prints it behind everything else.
const ErrorsFile = "FAIRWAY_ERRORS"

// A step that takes longer says so again and again.
const reminder = 15 * time.Second

// Report writes one line per step, with the time since the start.
type Report struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
	steps string
	every time.Duration
}

// New starts the clock.
func New(out io.Writer) *Report {
	return &Report{out: out, start: time.Now(), steps: os.Getenv(StepsFile), every: reminder}
}

// Step does something and says how long it took.
func (r *Report) Step(name string, do func() error) error {
	return r.Follow(name, func() string { return "" }, do)
}

// Follow is a step of which `state` says how far it is, for the lines that are written while it lasts.
func (r *Report) Follow(name string, state func() string, do func() error) error {
	begin := time.Now()
	over := make(chan struct{})
	var reminders sync.WaitGroup
	reminders.Go(func() {
		tick := time.NewTicker(r.every)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				r.Say("%-44s … (%.0f s%s)", name, time.Since(begin).Seconds(), state())
			}
		}
	})
	err := do()
	close(over)
	reminders.Wait()
	outcome := "ok"
	if err != nil {
		outcome = "FAILED"
	}
	took := time.Since(begin)
	r.Say("%-44s %s (%.1f s)", name, outcome, took.Seconds())
	r.Record(name, outcome, took)
	return err
}

// Say writes a line that is no step.
func (r *Report) Say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, "%7.1fs  %s\n", time.Since(r.start).Seconds(), fmt.Sprintf(format, args...))
}

// Record adds a step to the file of steps, if there is one. What cannot be written there is said, and no reason to fail.
func (r *Report) Record(name, outcome string, took time.Duration) {
	if err := add(r.steps, fmt.Sprintf("%.1f\t%s\t%s\n", took.Seconds(), outcome, name)); err != nil {
		r.Say("%s: %v", StepsFile, err)
	}
}

// Failed writes why a command failed, and adds it to the file of errors, if there is one.
func Failed(out io.Writer, err error) {
	text := fmt.Sprintf("fwcluster: %v\n", err)
	_, _ = io.WriteString(out, text)
	if err := add(os.Getenv(ErrorsFile), text); err != nil {
		_, _ = fmt.Fprintf(out, "%s: %v\n", ErrorsFile, err)
	}
}

// add a text to a file, if it has a name.
func add(path, text string) error {
	if path == "" {
		return nil
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}
