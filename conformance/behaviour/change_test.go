package behaviour

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
)

const (
	changes     = 1000
	fewChanges  = 400
	changeEvery = 200 * time.Millisecond
	changeRate  = 100 // requests a second, of each load
)

// change is one thing that changes again and again, and a load that must not notice.
type change struct {
	name string
	// text is the objects after change i.
	text func(i int) string
	// request i, and what is right for it in any state.
	request func(i int) load.Request
	check   func(load.Request, load.Answer) error
}

var _ = promised(TestChangesUnderLoad, everyChange,
	"backendRef port, filters, order of rules, weights and endpoints change every 200 ms: 1,000 changes (at every change of the code 400), 0 faults.")

// Everything about routes changes every 200 ms under load, each kind of change on a route of its own, side by side.
func TestChangesUnderLoad(t *testing.T) {
	s := begin(t, "change")
	pods := s.backends("a", "b", "c")
	address := s.gateway("gw", 1)
	random := rand.New(rand.NewPCG(1, 7))
	ips := []string{podIP(pods["a"]), podIP(pods["b"]), podIP(pods["c"])}

	all := []change{
		{
			// Port and filter are of one rule: no request may see the port of one state and the header of the other.
			name:    "port-and-filter",
			text:    func(i int) string { return portAndFilter(s.namespace, 8080+i%2) },
			request: load.Always(load.Request{Host: "x", Path: "/port"}),
			check: func(_ load.Request, answer load.Answer) error {
				port, variant := answer.Header.Get("port"), answer.Header.Get("variant")
				if port != variant || answer.Header.Get("shown") != port {
					return fmt.Errorf("half a change: port %s with headers %q and %q", port, variant, answer.Header.Get("shown"))
				}
				return nil
			},
		},
		{
			name: "rules-reordered",
			text: func(int) string { return shuffledRules(s.namespace, random) },
			request: func(i int) load.Request {
				return load.Request{Host: "x", Path: fmt.Sprintf("/order/%d/x", i%orderedRules)}
			},
			check: func(request load.Request, answer load.Answer) error {
				if rule := answer.Header.Get("rule"); "/order/"+rule+"/x" != request.Path {
					return fmt.Errorf("%s was answered by rule %q", request.Path, rule)
				}
				return nil
			},
		},
		{
			name:    "weights",
			text:    func(i int) string { return weighted(s.namespace, i%11, (i/11)%3) },
			request: load.Always(load.Request{Host: "x", Path: "/weights"}),
		},
		{
			name: "endpoints",
			text: func(i int) string {
				// One to three of them, never none.
				var some []string
				for bit, ip := range ips {
					if (1+i%7)&(1<<bit) != 0 {
						some = append(some, ip)
					}
				}
				return sliceAt("churned", s.namespace, some...)
			},
			request: load.Always(load.Request{Host: "x", Path: "/churned"}),
		},
	}
	s.apply(serviceAt("churned", s.namespace, ips...) + route("churned", s.namespace, "gw", "/churned", "churned"))
	for _, c := range all {
		s.apply(c.text(0))
		s.reach(address, c.request(0), 404, 200, appearLimit)
	}

	var runs []*load.Run
	for _, c := range all {
		runs = append(runs, load.Start(s.ctx, load.Plan{
			Address: address, Rate: changeRate, Connections: 4, Request: c.request,
			Check: func(request load.Request, answer load.Answer) error {
				if err := load.WantOK(request, answer); err != nil || c.check == nil {
					return err
				}
				return c.check(request, answer)
			},
		}))
	}
	failed := make([]error, len(all))
	written := make([]int, len(all))
	var writers sync.WaitGroup
	for n, c := range all {
		writers.Go(func() { written[n], failed[n] = s.keepChanging(c, rounds(fewChanges, changes)/len(all)) })
	}
	writers.Wait()
	s.carry(time.Second, runs...) // the last change, too, has to arrive under load
	total := 0
	for n, c := range all {
		s.noFaults(c.name, runs[n].Stop())
		total += written[n]
	}
	s.must(errors.Join(failed...))
	s.figure("changes", float64(total), "", record.AtLeast(float64(rounds(fewChanges, changes))))
}

func (s *stage) keepChanging(c change, times int) (int, error) {
	clock := time.NewTicker(changeEvery)
	defer clock.Stop()
	for i := range times {
		if _, err := cluster.Apply(s.ctx, c.text(i+1)); err != nil {
			return i, fmt.Errorf("%s: %w", c.name, err)
		}
		<-clock.C
	}
	return times, nil
}

func portAndFilter(namespace string, port int) string {
	text := fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: port, namespace: %s}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /port}}]
    filters:
    - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: variant, value: "%[2]d"}]}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: shown, value: "%[2]d"}]}}
`, namespace, port)
	if port%2 == 1 {
		text += "    - {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /elsewhere}}}\n"
	}
	return text + fmt.Sprintf("    backendRefs: [{name: a, port: %d}]\n", port)
}

const orderedRules = 8

// shuffledRules have one rule for each path, a more general one, and one for all, in any order: none of which changes
// who answers.
func shuffledRules(namespace string, random *rand.Rand) string {
	rules := []string{orderRule("/order", "general"), orderRule("/", "all")}
	for i := range orderedRules {
		rules = append(rules, orderRule(fmt.Sprintf("/order/%d", i), fmt.Sprint(i)))
	}
	random.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: order, namespace: %s}
spec:
  parentRefs: [{name: gw}]
  rules:
%s`, namespace, strings.Join(rules, ""))
}

func orderRule(path, name string) string {
	return fmt.Sprintf(`  - matches: [{path: {type: PathPrefix, value: %s}}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: rule, value: "%s"}]}}]
    backendRefs: [{name: b, port: 8080}]
`, path, name)
}

// weighted: of a weight that may be 0, another that may be 0, and a third that keeps the sum above 0.
func weighted(namespace string, first, second int) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: weights, namespace: %s}
spec:
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /weights}}]
    backendRefs: [{name: a, port: 8080, weight: %d}, {name: b, port: 8081, weight: %d}, {name: c, port: 8080, weight: 1}]
`, namespace, first, second)
}
