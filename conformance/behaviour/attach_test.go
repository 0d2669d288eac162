package behaviour

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	attachedRoutes = 1000
	// From the last write to the right count …
	attachLimit = time.Second
	// … with so many writes of the Gateway's status.
	attachWrites  = 15
	quiet         = 10 * time.Second
	writersAtOnce = 16
)

var _ = promised(TestThousandRoutesAttach, beforeRelease,
	"1,000 routes created, refused, let in and deleted: the count is right within 1 s, in at most 15 status writes of the Gateway; entries of other controllers keep every byte; then 10 s without a write.")

// 1,000 routes attach to one Gateway, by being created, and by a change of the listener; and leave it.
func TestThousandRoutesAttach(t *testing.T) {
	s := begin(t, "attach")
	s.backends("a")
	s.gateway("gw", 1)
	routes := s.namespace + "-routes"
	s.makeNamespace(routes)
	// Another controller's condition on the Gateway: not ours to touch.
	s.foreignCondition()
	foreign := s.foreignOnGateway()

	gateways, err := cluster.Watch(s.ctx, "Gateway", s.namespace)
	s.must(err)
	defer gateways.Stop()
	statuses, err := cluster.Watch(s.ctx, "HTTPRoute", routes)
	s.must(err)
	defer statuses.Stop()

	s.part("created", func(s *stage) {
		s.attach(gateways, statuses, attachedRoutes, attachWrites, func() { s.createRoutes(routes, attachedRoutes) })
	})
	s.part("foreign entries", func(s *stage) { s.foreignEntries(routes, foreign) })
	s.part("quiet", func(s *stage) { s.nothingWritten(gateways, statuses, routes) })
	s.part("listener closed to their namespace", func(s *stage) {
		s.attach(gateways, statuses, 0, attachWrites, func() { s.allow("Same") })
	})
	s.part("listener opened", func(s *stage) {
		s.attach(gateways, statuses, attachedRoutes, attachWrites, func() { s.allow("All") })
	})
	s.part("foreign entries still", func(s *stage) { s.foreignEntries(routes, foreign) })
	s.part("deleted", func(s *stage) {
		// How many there are depends on how long the server takes to delete a thousand objects.
		s.attach(gateways, statuses, 0, attachedRoutes, func() {
			s.inParallel(attachedRoutes, func(i int) error {
				return cluster.Delete(s.ctx, "HTTPRoute", routes, fmt.Sprintf("r%d", i))
			})
		})
	})
}

// attach does what changes the number of attached routes, and measures until it is right.
func (s *stage) attach(gateways, statuses *scene.Watching, want int, mostWrites float64, do func()) {
	s.Helper()
	writes, _ := gateways.StatusWrites()
	routeWrites, _ := statuses.StatusWrites()
	start := time.Now()
	do()
	done := time.Now()
	s.until(time.Minute, fmt.Sprintf("%d attached routes", want), func() (string, error) {
		count := -1
		gateways.Count(func(it *scene.Object) bool { count = int(scene.AttachedRoutes(it, "http")); return true })
		return missing(count == want, fmt.Sprint(count)), nil
	})
	right := time.Now()
	s.until(time.Minute, "the routes to say so", func() (string, error) {
		said := statuses.Count(func(it *scene.Object) bool {
			condition := scene.RouteCondition(it, "Accepted")
			return condition.Status == "True" && condition.ObservedGeneration == it.GetGeneration()
		})
		return missing(said == want, fmt.Sprintf("%d are accepted", said)), nil
	})
	said := time.Now()
	s.settled(gateways, statuses)
	now, _ := gateways.StatusWrites()
	nowOfRoutes, _ := statuses.StatusWrites()
	s.figure("the change itself", done.Sub(start).Seconds(), "s", nil)
	s.figure("count right after", right.Sub(done).Seconds(), "s", record.AtMost(attachLimit.Seconds()))
	s.figure("every route says so after", said.Sub(done).Seconds(), "s", nil)
	s.figure("status writes of the Gateway", float64(now-writes), "", record.AtMost(mostWrites))
	// Not one more than there are routes.
	s.figure("status writes of routes", float64(nowOfRoutes-routeWrites), "", record.AtMost(attachedRoutes))
}

// settled waits for the last writes.
func (s *stage) settled(watchings ...*scene.Watching) {
	s.Helper()
	s.until(time.Minute, "the writes to end", func() (string, error) {
		for _, it := range watchings {
			if _, last := it.StatusWrites(); time.Since(last) < 3*time.Second {
				return "still writing", nil
			}
		}
		return "", nil
	})
}

func (s *stage) createRoutes(namespace string, count int) {
	s.Helper()
	s.inParallel(count, func(i int) error {
		text := route(fmt.Sprintf("r%d", i), namespace, "gw", fmt.Sprintf("/r%d", i), "nowhere")
		return cluster.Create(s.ctx, strings.Replace(text, "{name: gw}", "{name: gw, namespace: "+s.namespace+"}", 1))
	})
}

// inParallel does something for 0 to count-1, several at once.
func (s *stage) inParallel(count int, do func(i int) error) {
	s.Helper()
	numbers := make(chan int)
	var first error
	var once sync.Once
	var all sync.WaitGroup
	for range writersAtOnce {
		all.Go(func() {
			for i := range numbers {
				if err := do(i); err != nil {
					once.Do(func() { first = err })
				}
			}
		})
	}
	for i := range count {
		numbers <- i
	}
	close(numbers)
	all.Wait()
	s.must(first)
}

func (s *stage) allow(from string) {
	s.Helper()
	s.must(s.patch("Gateway", s.namespace, "gw", fmt.Sprintf(
		`{"spec":{"listeners":[{"name":"http","port":80,"protocol":"HTTP","allowedRoutes":{"namespaces":{"from":%q}}}]}}`, from)))
}

const foreignType = "behaviour.test/Seen"

// foreignCondition is written as another controller does it, with all else that is in the list left alone.
func (s *stage) foreignCondition() {
	s.Helper()
	conditions, err := json.Marshal(append(conditionsOf(s.get("Gateway", "gw")), map[string]any{
		"type": foreignType, "status": "True", "reason": "Behaviour", "message": "  not   Fairway's ",
		"lastTransitionTime": "2020-01-02T03:04:05Z", "observedGeneration": 1,
	}))
	s.must(err)
	s.patchStatus("Gateway", s.namespace, "gw", fmt.Sprintf(`{"status":{"conditions":%s}}`, conditions))
}

func conditionsOf(object *scene.Object) []any {
	status, _ := object.Object["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	return conditions
}

func (s *stage) foreignOnGateway() string {
	s.Helper()
	for _, entry := range conditionsOf(s.get("Gateway", "gw")) {
		if it, _ := entry.(map[string]any); it["type"] == foreignType {
			raw, err := json.Marshal(it)
			s.must(err)
			return string(raw)
		}
	}
	return ""
}

const foreignController = "behaviour.test/controller"

// foreignEntries puts another controller's parents into a route's status (the first time), changes the route so that
// Fairway writes, and looks whether a byte of them changed.
func (s *stage) foreignEntries(namespace, onGateway string) {
	if now := s.foreignOnGateway(); now != onGateway {
		s.Errorf("another controller's condition on the Gateway:\n  was %s\n  is  %s", onGateway, now)
	}
	const name = "r0"
	it, err := cluster.Get(s.ctx, "HTTPRoute", namespace, name)
	s.must(err)
	before := foreignParents(s, it)
	if before == "[]" {
		entry := func(parent string) map[string]any {
			return map[string]any{
				"controllerName": foreignController, "parentRef": map[string]any{"name": parent, "namespace": s.namespace},
				"conditions": []any{map[string]any{
					"type": "Accepted", "status": "False", "reason": "Behaviour", "message": " not  Fairway's ",
					"lastTransitionTime": "2020-01-02T03:04:05Z", "observedGeneration": 1,
				}},
			}
		}
		// One for a parent of its own, one for ours, one before and one behind what is there.
		parents := []any{entry("gw")}
		for _, parent := range scene.Parents(it) {
			parents = append(parents, parent)
		}
		raw, err := json.Marshal(append(parents, entry("elsewhere")))
		s.must(err)
		s.patchStatus("HTTPRoute", namespace, name, fmt.Sprintf(`{"status":{"parents":%s}}`, raw))
		it, err = cluster.Get(s.ctx, "HTTPRoute", namespace, name)
		s.must(err)
		before = foreignParents(s, it)
	}
	s.must(s.patch("HTTPRoute", namespace, name, fmt.Sprintf(`{"spec":{"hostnames":["h%d.test"]}}`, time.Now().UnixNano())))
	s.until(appearLimit, "Fairway to look at the route again", func() (string, error) {
		if it, err = cluster.Get(s.ctx, "HTTPRoute", namespace, name); err != nil {
			return "", err
		}
		condition := scene.RouteCondition(it, "Accepted")
		return missing(condition.ObservedGeneration == it.GetGeneration(), condition.String()), nil
	})
	if now := foreignParents(s, it); now != before {
		s.Errorf("another controller's entries:\n  were %s\n  are  %s", before, now)
	}
	ours := 0
	for _, parent := range scene.Parents(it) {
		if parent["controllerName"] == scene.ControllerName {
			ours++
		}
	}
	s.figure("entries of ours", float64(ours), "", record.AtMost(1))
}

func foreignParents(s *stage, route *scene.Object) string {
	s.Helper()
	found := []any{}
	for _, parent := range scene.Parents(route) {
		if parent["controllerName"] == foreignController {
			found = append(found, parent)
		}
	}
	raw, err := json.Marshal(found)
	s.must(err)
	return string(raw)
}

// nothingWritten: nothing is written while nothing changes, nor when what changes is nobody's business here.
func (s *stage) nothingWritten(gateways, statuses *scene.Watching, namespace string) {
	// What the part before caused is over.
	s.settled(gateways, statuses)
	first, _ := gateways.StatusWrites()
	firstOfRoutes, _ := statuses.StatusWrites()
	classWrites, err := cluster.Watch(s.ctx, "GatewayClass", "")
	s.must(err)
	defer classWrites.Stop()
	s.watch(quiet / 2)
	for i := range 10 {
		s.apply(fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: noise, namespace: %s}, data: {i: \"%d\"}}", namespace, i))
	}
	s.apply(fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: noise, namespace: %s}, spec: {ports: [{port: 1}]}}", namespace))
	s.watch(quiet / 2)
	last, _ := gateways.StatusWrites()
	lastOfRoutes, _ := statuses.StatusWrites()
	classes, _ := classWrites.StatusWrites()
	s.figure("writes while nothing changes", float64(last-first+lastOfRoutes-firstOfRoutes+classes), "", record.AtMost(0))
}
