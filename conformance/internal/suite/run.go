package suite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
)

// Runner runs the compiled suite.
type Runner struct {
	// Suite makes the command that runs the suite, where Gateways can be reached.
	Suite func(args ...string) *exec.Cmd
	// Test2JSON reads a test's output from stdin and writes its events to stdout.
	Test2JSON *exec.Cmd
	// Log is the file for the suite's full output.
	Log string
	// Finished hears of every test as it ends.
	Finished func(name string, result Result)
}

// Run runs the suite to its end. Failing tests are results, not an error.
func (r Runner) Run(args []string) (Results, error) {
	log, err := os.Create(r.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	toConverter, err := r.Test2JSON.StdinPipe()
	if err != nil {
		return nil, err
	}
	events, err := r.Test2JSON.StdoutPipe()
	if err != nil {
		return nil, err
	}
	suite := r.Suite(args...)
	// Both streams go to one writer, and os/exec then writes from one goroutine: the log is in order.
	output := io.MultiWriter(plain{log}, toConverter)
	suite.Stdout, suite.Stderr = output, output
	if err := r.Test2JSON.Start(); err != nil {
		return nil, fmt.Errorf("test2json: %w", err)
	}
	if err := suite.Start(); err != nil {
		_ = toConverter.Close()
		_ = r.Test2JSON.Wait()
		return nil, fmt.Errorf("suite: %w", err)
	}
	var results Results
	var readErr error
	var reader sync.WaitGroup
	reader.Go(func() { results, readErr = ReadResults(events, r.Finished) })
	suiteErr := suite.Wait()
	_ = toConverter.Close()
	reader.Wait()
	if err := r.Test2JSON.Wait(); err != nil && readErr == nil {
		readErr = fmt.Errorf("test2json: %w", err)
	}
	var exit *exec.ExitError
	if errors.As(suiteErr, &exit) {
		suiteErr = nil
	}
	return results, errors.Join(suiteErr, readErr)
}

// plain drops the control characters by which test2json finds its way.
type plain struct{ to io.Writer }

func (p plain) Write(raw []byte) (int, error) {
	kept := make([]byte, 0, len(raw))
	for _, b := range raw {
		if b != 0x16 && b != 0x0e && b != 0x0f {
			kept = append(kept, b)
		}
	}
	if _, err := p.to.Write(kept); err != nil {
		return 0, err
	}
	return len(raw), nil
}
