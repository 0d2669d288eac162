package behaviour

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
)

const (
	// How long a backend is in trouble, in seconds.
	trouble    = 20
	fewTrouble = 8
	// In all of the trouble, with retries switched off.
	troubleFaults = 25
	// When a pod is well again, it has its share back after this time …
	shareWithin = 2 * time.Second
	// … and that is this part, or more, of what it had before, or of a quarter if it had more: the quicker pods get more than
	// the slower ones at any time, so that even shares are not to be expected.
	fairEnough   = 0.6
	troubleRate  = 200
	troublePods  = 4
	troubleRules = 16 // of each of as many routes: 256, so that what one rule learns must help the others
)

var _ = promised(TestBackendInTrouble, everyChange,
	"One of four pods resets, then refuses, connections for 20 s (at every change 8 s) while routes forbid retries: at most 25 faults, and its share is back within 2 s.")

// One of four pods resets its connections for 20 s, and the routes forbid retries.
func TestBackendInTrouble(t *testing.T) {
	s := begin(t, "trouble")
	names := make([]string, troublePods)
	for i := range names {
		names[i] = fmt.Sprintf("p%d", i)
	}
	pods := s.backends(names...)
	address := s.gateway("gw", 1)
	for i := range troubleRules {
		s.apply(manyRules(s.namespace, i))
	}
	for i := range troubleRules {
		s.reach(address, ruleRequest(i*troubleRules), 404, 200, appearLimit)
	}
	for _, mode := range []string{"reset", "refuse"} {
		s.part(mode, func(s *stage) {
			shares := newShares()
			run := load.Start(s.ctx, load.Plan{
				Address: address, Rate: troubleRate, Connections: 16, Request: ruleRequest, Check: shares.check,
			})
			s.carry(3*time.Second, run)
			// One slow response at the beginning keeps the load away from a pod for a while.
			s.until(ample, "p0 to have its share", func() (string, error) {
				now := time.Now()
				share := shares.of("p0", now.Add(-2*time.Second), now) * troublePods
				return missing(share >= fairEnough, fmt.Sprintf("it has %.2f of a fair one", share)), nil
			})
			start := time.Now()
			s.must(order(podIP(pods["p0"]), mode))
			s.watch(time.Until(start.Add(troubleFor())))
			well := time.Now()
			const watched = 5 * time.Second
			s.watch(shareWithin + watched)
			result := run.Stop()
			s.Logf("%s", result)
			s.figure("requests", float64(result.Requests), "", nil)
			s.figure("faults", float64(len(result.Faults)), "", record.AtMost(troubleFaults))
			s.figure("faults in the first second", float64(result.Between(start, start.Add(time.Second))), "", nil)
			before := shares.of("p0", start.Add(-2*time.Second), start) * troublePods
			after := shares.of("p0", well.Add(shareWithin), well.Add(shareWithin+watched)) * troublePods
			s.figure("share before", before, "of fair", nil)
			s.figure("share back", after/min(before, 1), "of that", record.AtLeast(fairEnough))
			s.figure("first answer after", milliseconds(shares.first("p0", well).Sub(well)), "ms", nil)
		})
	}
}

func troubleFor() time.Duration { return time.Duration(rounds(fewTrouble, trouble)) * time.Second }

// order tells a backend to be in trouble.
func order(ip, mode string) error {
	url := fmt.Sprintf("http://%s:9000/trouble?mode=%s&for=%s", ip, mode, troubleFor())
	response, err := http.Post(url, "", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}

func ruleRequest(i int) load.Request {
	return load.Request{Host: "x", Path: fmt.Sprintf("/r%d/%d", i/troubleRules%troubleRules, i%troubleRules)}
}

func manyRules(namespace string, nth int) string {
	var text strings.Builder
	fmt.Fprintf(&text, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r%d, namespace: %s}
spec:
  parentRefs: [{name: gw}]
  rules:
`, nth, namespace)
	for rule := range troubleRules {
		fmt.Fprintf(&text, `  - matches: [{path: {type: PathPrefix, value: /r%d/%d}}]
    retry: {attempts: 0}
    backendRefs: [{name: backend, port: 8080}]
`, nth, rule)
	}
	return text.String()
}

// shares notes which pod answered when.
type shares struct {
	mu      sync.Mutex
	answers []seen
}

type seen struct {
	at  time.Time
	pod string
}

func newShares() *shares { return &shares{} }

func (s *shares) check(request load.Request, answer load.Answer) error {
	s.mu.Lock()
	s.answers = append(s.answers, seen{time.Now(), answer.Header.Get("pod")})
	s.mu.Unlock()
	return load.WantOK(request, answer)
}

// of a pod: its part of the answers in an interval.
func (s *shares) of(pod string, from, to time.Time) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, its := 0, 0
	for _, answer := range s.answers {
		if answer.at.After(from) && answer.at.Before(to) {
			all++
			if answer.pod == pod {
				its++
			}
		}
	}
	if all == 0 {
		return 0
	}
	return float64(its) / float64(all)
}

func (s *shares) first(pod string, after time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := time.Time{}
	for _, answer := range s.answers {
		if answer.pod == pod && answer.at.After(after) && (first.IsZero() || answer.at.Before(first)) {
			first = answer.at
		}
	}
	return first
}
