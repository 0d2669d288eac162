package behaviour

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
)

const (
	splitRequests = 400
	// A waypoint listens to a silent client for 10 ms, unless it is told what is spoken: docs/waypoints.md.
	greetingLimit, toldLimit = 100 * time.Millisecond, 80 * time.Millisecond
)

var _ = promised(TestServiceRoutes, everyChange,
	"Several routes of a Service merge as the API says; the share of a missing backend answers 500; servers that speak first greet within 250 ms.")

// What several routes of a Service mean together, and what a waypoint does with all that is not HTTP.
func TestServiceRoutes(t *testing.T) {
	s := begin(t, "routes")
	pods := s.meshedPair()
	dial, address := s.from(pods[0]), s.serviceAddress("server", 8080)
	s.apply(pathRoute("older", "/one", "name: server, port: 8080"))
	s.until(appearsWithin, "the first route to hold", func() (string, error) { return s.at(dial, address, "/one", 200, "older") })
	// Times of creation are in whole seconds, and the older route has to be the older one.
	s.watch(time.Until(s.get("HTTPRoute", "older").GetCreationTimestamp().Add(time.Second)))
	s.apply(pathRoute("newer", "/one", "name: server, port: 8080") + pathRoute("another", "/two", "name: server, port: 8080") +
		pathRoute("deeper", "/one/more", "name: server, port: 8080"))
	s.part("routes of one Service are merged", func(s *stage) {
		for path, variant := range map[string]string{"/one": "older", "/two": "another", "/one/more": "deeper"} {
			s.until(enforcedWithin, path+" to be for "+variant, func() (string, error) { return s.at(dial, address, path, 200, variant) })
		}
		s.until(enforcedWithin, "what no route is for to be refused", func() (string, error) { return s.at(dial, address, "/three", 404, "") })
		s.must(cluster.Delete(s.ctx, "HTTPRoute", s.namespace, "older"))
		s.until(enforcedWithin, "the newer route to hold", func() (string, error) { return s.at(dial, address, "/one", 200, "newer") })
	})
	s.part("a Service that is not there has its share answered with 500", func(s *stage) {
		s.apply(pathRoute("split", "/split", "name: server, port: 8080, weight: 3}, {name: missing, port: 8080, weight: 1"))
		s.until(enforcedWithin, "the route to hold", func() (string, error) { return s.at(dial, address, "/split", 200, "split") })
		statuses := map[int]int{}
		conn := load.NewConnection(address, nil).From(dial)
		defer conn.Close()
		for range splitRequests {
			answer, err := conn.Do(s.ctx, load.Request{Host: "x", Path: "/split"})
			s.must(err)
			statuses[answer.Status]++
		}
		s.Logf("statuses: %v", statuses)
		if statuses[200]+statuses[500] != splitRequests {
			s.Errorf("other statuses than 200 and 500: %v", statuses)
		}
		s.figure("share of 500", float64(statuses[500])/splitRequests, "", record.Between(0.17, 0.33))
	})
	s.part("a traceparent is passed on as it is", func(s *stage) {
		const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
		conn := load.NewConnection(address, nil).From(dial)
		defer conn.Close()
		answer, err := conn.Do(s.ctx, load.Request{Host: "x", Path: "/two", Header: http.Header{"Traceparent": {trace}}})
		s.must(err)
		if got := answer.Header.Get("traceparent"); got != trace {
			s.Errorf("the backend was told %q", got)
		}
	})
	s.part("a server that speaks first, behind a waypoint", func(s *stage) {
		s.must(s.patch("Service", s.namespace, "server", `{"metadata":{"labels":{"fairway.dev/waypoint":"required"}}}`))
		s.apply(`
apiVersion: v1
kind: Service
metadata: {name: told, namespace: NAMESPACE, labels: {fairway.dev/waypoint: required}}
spec: {selector: {pod: server}, ports: [{name: greeting, port: 7001, appProtocol: tcp}]}
`)
		s.says("Service", "server", "fairway.dev/ThroughWaypoint", "True", "")
		s.says("Service", "told", "fairway.dev/ThroughWaypoint", "True", "")
		s.until(enforcedWithin, "the waypoint to carry it", func() (string, error) {
			report := s.try("client", port("told", 7001), peer.Greeting)
			return missing(report.Done > 0, report.String()), nil
		})
		tap := s.tap(append(s.proxies("waypoint"), pods...)...)
		greetings := s.well("greetings", "client", port("server", 7001), peer.Greeting, "-times", "20")
		s.figure("greeting, median", milliseconds(greetings.Median), "ms", record.AtMost(milliseconds(greetingLimit)))
		greetings = s.well("greetings where appProtocol says tcp", "client", port("told", 7001), peer.Greeting, "-times", "20")
		s.figure("greeting where appProtocol says tcp, median", milliseconds(greetings.Median), "ms", record.AtMost(milliseconds(toldLimit)))
		s.well("words", "client", port("server", 7002), peer.Echo, "-times", "20")
		s.onlyTunnels(tap)
		// A tunnel from before the routes may still be there, and closes; sixty conversations take more packets than that.
		flows := s.flows(tap)
		for flow, seen := range flows {
			if flow.Client.String() == podIP(pods[0]) && flow.Server.String() == podIP(pods[1]) && seen.Packets > 60 {
				s.Errorf("it went around the waypoint: %s", flows)
			}
		}
	})
}

// pathRoute is a route of the Service `server` for a path, that sets the header `variant` to its name.
func pathRoute(name, path, backends string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[1]s, namespace: NAMESPACE}
spec:
  parentRefs: [{group: "", kind: Service, name: server, port: 8080}]
  rules:
  - matches: [{path: {type: PathPrefix, value: %[2]s}}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: variant, value: %[1]s}]}}]
    backendRefs: [{%[3]s}]
---
`, name, path, backends)
}
