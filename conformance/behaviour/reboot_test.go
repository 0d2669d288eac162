package behaviour

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
	"github.com/fairway-mesh/fairway/conformance/behaviour/wire"
)

const (
	reboots = 2
	// From the power being cut to all pods of the node being ready. For the first 65 s kubelet does not see that they are gone.
	rebootLimit = 3 * time.Minute
)

var _ = promised(TestNodeReboots, beforeRelease,
	"A node's power is cut and comes back: its pods start captured or not at all, nothing passes the tunnels by, and all is ready again by itself.")

// A node's power is cut while its pods talk, and comes back: they start captured or not at all, nobody says a word past the
// tunnels, and all is ready again by itself.
func TestNodeReboots(t *testing.T) {
	s := begin(t, "reboot")
	if *reboot == "" {
		s.unable(*own, "there is no way to reboot a node")
	}
	node := s.nodes()[1]
	pods := s.meshedPair()
	client := podIP(pods[0])
	// It talks from its first moment on.
	s.pod("eager", node, "", "", fmt.Sprintf("command: [/backend, requests, -to, %q, -rate, '50', -once]\n    stdin: true", port(client, 8080)))
	s.ready("eager")
	s.captured("eager")
	// Pods come back with other addresses, so all of the node's are looked at; each node of the trial cluster has 256.
	tap := s.tapBetween(client, podIP(pods[1])+"/24")
	for i := range reboots {
		s.part(fmt.Sprintf("reboot %d", i+1), func(s *stage) {
			s.spoken(tap, "eager", client)
			load := s.requests("client", port("server", 8080), 50, 4, "-once")
			before := restarts(s.ready("server", "eager"))
			start := time.Now()
			words := strings.Fields(*reboot)
			_, err := s.run(words[0], append(words[1:], node)...)
			s.must(err)
			s.figure("the machine is up after", time.Since(start).Seconds(), "s", nil)
			s.until(rebootLimit, "pods to have been started again", func() (string, error) {
				now := restarts([]*scene.Object{s.get("Pod", "server"), s.get("Pod", "eager")})
				return missing(now >= before+2, fmt.Sprintf("%d restarts, %d before", now, before)), nil
			})
			s.until(rebootLimit, "all pods of "+node+" to be ready", func() (string, error) { return s.notReadyOn(node) })
			s.figure("all is ready after", time.Since(start).Seconds(), "s", record.AtMost(rebootLimit.Seconds()))
			s.captured("server", "eager")
			s.until(joinLimit, "connections to go again", func() (string, error) {
				report := s.try("client", port("server", 7002), peer.Echo, "-timeout", "2s")
				return missing(report.Done > 0, report.String()), nil
			})
			s.well("connections", "client", port("server", 7002), peer.Echo, "-times", "20")
			s.spoken(tap, "eager", client)
			s.Logf("requests meanwhile: %s", s.stop(load))
		})
	}
	s.onlyTunnels(tap)
}

// spoken waits until a pod, at the address that it has now, speaks with another.
func (s *stage) spoken(tap *wire.Tap, name, other string) {
	s.Helper()
	own := podIP(s.get("Pod", name))
	s.until(joinLimit, name+" to speak", func() (string, error) {
		flows := s.flows(tap)
		for flow := range flows {
			if flow.Client.String() == own && flow.Server.String() == other {
				return "", nil
			}
		}
		return fmt.Sprintf("%s does not: %s", own, flows), nil
	})
}

// notReadyOn says which pod of a node is not ready.
func (s *stage) notReadyOn(node string) (string, error) {
	all, err := cluster.List(s.ctx, "Pod", "", "")
	if err != nil {
		return "", err
	}
	for _, pod := range all {
		where, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName")
		if ready := scene.ConditionOf(&pod, "Ready"); where == node && ready.Status != "True" {
			return fmt.Sprintf("%s/%s: %s", pod.GetNamespace(), pod.GetName(), ready), nil
		}
	}
	return "", nil
}
