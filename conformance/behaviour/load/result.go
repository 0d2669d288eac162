package load

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Fault is a request that went wrong.
type Fault struct {
	At   time.Time
	Path string
	Why  string
}

// Result of a load.
type Result struct {
	Requests int
	// Dials counts connections that were opened.
	Dials   int
	Faults  []Fault
	Elapsed time.Duration
	// Latencies of all requests from when they were due, and from when they were sent; sorted.
	Latencies, Answers []time.Duration
}

func sum(parts []part, elapsed time.Duration) Result {
	result := Result{Elapsed: elapsed}
	for _, p := range parts {
		result.Dials += p.dials
		result.Faults = append(result.Faults, p.faults...)
		result.Latencies = append(result.Latencies, p.latencies...)
		result.Answers = append(result.Answers, p.answers...)
	}
	result.Requests = len(result.Latencies)
	slices.Sort(result.Latencies)
	slices.Sort(result.Answers)
	slices.SortFunc(result.Faults, func(a, b Fault) int { return a.At.Compare(b.At) })
	return result
}

// Quantile of sorted times, 0 to 1.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// Between counts the faults of an interval.
func (r Result) Between(from, to time.Time) int {
	count := 0
	for _, fault := range r.Faults {
		if !fault.At.Before(from) && fault.At.Before(to) {
			count++
		}
	}
	return count
}

// String is the result in a few lines: the figures, and what went wrong, alike faults once.
func (r Result) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d requests in %.1f s over %d connections, %d faults; p50, p99, max %s ms (from when they were due: %s ms)",
		r.Requests, r.Elapsed.Seconds(), r.Dials, len(r.Faults), three(r.Answers), three(r.Latencies))
	type kind struct {
		count       int
		first, last time.Time
	}
	kinds := map[string]*kind{}
	var order []string
	for _, fault := range r.Faults {
		if kinds[fault.Why] == nil {
			kinds[fault.Why] = &kind{first: fault.At}
			order = append(order, fault.Why)
		}
		kinds[fault.Why].count++
		kinds[fault.Why].last = fault.At
	}
	const clock = "15:04:05.000"
	for _, why := range order[:min(len(order), 20)] {
		k := kinds[why]
		fmt.Fprintf(&text, "\n    %d× %s (%s to %s)", k.count, why, k.first.Format(clock), k.last.Format(clock))
	}
	return text.String()
}

func three(sorted []time.Duration) string {
	return fmt.Sprintf("%.1f, %.1f, %.1f", milliseconds(Quantile(sorted, 0.5)), milliseconds(Quantile(sorted, 0.99)), milliseconds(Quantile(sorted, 1)))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
