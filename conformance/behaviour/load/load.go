package load

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Plan of a load.
type Plan struct {
	// Address to connect to, IP:port.
	Address string
	// TLS, if set, is spoken on each connection.
	TLS *tls.Config
	// Dial, if set, opens the connections.
	Dial Dial
	// Rate of requests per second, spread evenly over the connections.
	Rate        int
	Connections int
	// Once: a connection has one request.
	Once bool
	// Request number i.
	Request func(i int) Request
	// Check looks at each answer; without one, 200 is right and everything else is not.
	Check func(Request, Answer) error
}

// Run is a load under way.
type Run struct {
	stop context.CancelFunc
	rate int
	// answered counts requests that have ended, well or not.
	answered atomic.Int64
	over     sync.WaitGroup
	start    time.Time
	parts    []part
}

// part is what one connection saw; its own until the run is over.
type part struct {
	dials     int
	faults    []Fault
	latencies []time.Duration
	answers   []time.Duration
}

// Start starts the load.
func Start(ctx context.Context, plan Plan) *Run {
	ctx, stop := context.WithCancel(ctx)
	run := &Run{stop: stop, rate: plan.Rate, start: time.Now(), parts: make([]part, plan.Connections)}
	for i := range run.parts {
		run.over.Go(func() { run.parts[i].send(ctx, plan, i, run.start, &run.answered) })
	}
	return run
}

// Stop ends the load, lets requests under way finish, and says how it went.
func (r *Run) Stop() Result {
	r.stop()
	r.over.Wait()
	return sum(r.parts, time.Since(r.start))
}

// Brings is how many requests become due in this time.
func (r *Run) Brings(span time.Duration) int { return int(span.Seconds() * float64(r.rate)) }

// Answered is how many requests have ended so far, well or not.
func (r *Run) Answered() int { return int(r.answered.Load()) }

func (p *part) send(ctx context.Context, plan Plan, nth int, start time.Time, answered *atomic.Int64) {
	conn := NewConnection(plan.Address, plan.TLS).From(plan.Dial)
	defer conn.Close()
	step := time.Second * time.Duration(plan.Connections) / time.Duration(plan.Rate)
	due := start.Add(step * time.Duration(nth) / time.Duration(plan.Connections))
	for i := nth; ; i += plan.Connections {
		if !sleepUntil(ctx, due) {
			break
		}
		request := plan.Request(i)
		// The request is not the load's to interrupt: what has begun is finished.
		sent := time.Now()
		answer, err := conn.Do(context.WithoutCancel(ctx), request)
		if err == nil {
			err = plan.check(request, answer)
		}
		// From when it was due: a server that is slow does not get fewer, and luckier, samples.
		p.latencies = append(p.latencies, time.Since(due))
		p.answers = append(p.answers, time.Since(sent))
		if err != nil {
			p.faults = append(p.faults, Fault{At: time.Now(), Path: request.Path, Why: err.Error()})
		}
		answered.Add(1)
		if plan.Once {
			conn.Close()
		}
		due = due.Add(step)
	}
	p.dials = conn.Dials()
}

func (p Plan) check(request Request, answer Answer) error {
	if p.Check != nil {
		return p.Check(request, answer)
	}
	return WantOK(request, answer)
}

// WantOK is content with 200.
func WantOK(_ Request, answer Answer) error {
	if answer.Status != 200 {
		return fmt.Errorf("status %d: %.200s", answer.Status, answer.Body)
	}
	return nil
}

// Always the same request.
func Always(request Request) func(int) Request { return func(int) Request { return request } }

func sleepUntil(ctx context.Context, when time.Time) bool {
	timer := time.NewTimer(time.Until(when))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
