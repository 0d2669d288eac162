// Package peer is what the backend of the behaviour tests says when it is run as a client within its pod.
package peer

import (
	"fmt"
	"time"
)

// What can be said to a backend's ports that do not speak HTTP.
const (
	// Greeting: the server speaks first. Port 7001.
	Greeting = "greeting"
	// Echo: everything comes back. Port 7002.
	Echo = "echo"
	// Digest: the server answers when the client has ended its half. Port 7003.
	Digest = "digest"
	// Source: the server sends as much as it is asked for. Port 7004.
	Source = "source"
	// Name: an HTTP server says the name by which it was called. Port 8080.
	Name = "name"
)

// Ready is said when all streams are open.
const Ready = "ready"

// Report of a client.
type Report struct {
	// Done went well: connections, streams or requests.
	Done int `json:"done"`
	// Words on streams.
	Words  int     `json:"words,omitempty"`
	Faults []Fault `json:"faults,omitempty"`
	// How long one took.
	Median  time.Duration `json:"median"`
	P99     time.Duration `json:"p99"`
	Slowest time.Duration `json:"slowest"`
}

// Fault is what went wrong.
type Fault struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"`
}

// String is short.
func (r Report) String() string {
	text := fmt.Sprintf("%d done, %d faults; median %s, p99 %s, slowest %s", r.Done, len(r.Faults), r.Median, r.P99, r.Slowest)
	for i, fault := range r.Faults {
		if i == 5 {
			return text + "\n  …"
		}
		text += fmt.Sprintf("\n  %s %s", fault.At.Format("15:04:05.000"), fault.Why)
	}
	return text
}
