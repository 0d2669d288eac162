package behaviour

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	joinLimit  = 15 * time.Second
	leaveLimit = 90 * time.Second
	// From the flush of the rules to them being there again.
	rulesLimit = 5 * time.Second
)

var _ = promised(TestMeshJoinAndLeave, everyChange,
	"A namespace joins and leaves the mesh under streams and requests: captured within 15 s, 0 faults, nothing past the tunnel while it is in.")

// A namespace is labelled while its pods talk: they are captured as they run, and nobody notices. The same when the label goes.
func TestMeshJoinAndLeave(t *testing.T) {
	s := begin(t, "join")
	nodes := s.nodes()
	s.pod("client", nodes[0], "", "", "")
	s.pod("server", nodes[1], "", "", "")
	s.pod("host", nodes[0], "", "hostNetwork: true", "command: [/backend, sleep]")
	s.pod("shy", nodes[0], ", fairway.dev/mesh: disabled", "", "")
	pods := s.ready("client", "server", "host", "shy")
	before := restarts(pods)
	tap := s.tap(pods[0], pods[1])
	s.part("before the label everything is plain", func(s *stage) {
		s.well("connections", "client", port("server", 7002), peer.Echo, "-times", "10")
		flows := s.flows(tap)
		s.Logf("on the wire: %s", flows)
		if ports := flows.Ports(); len(ports) != 1 || ports[0] != 7002 {
			s.Errorf("on the wire are ports %v, want 7002", ports)
		}
	})
	kept := s.streams("client", port("server", 7002), 20, 100*time.Millisecond)
	load := s.requests("client", port("server", 8080), 100, 8, "-once")
	s.part("the label comes", func(s *stage) {
		start := time.Now()
		s.meshed()
		s.captured("client", "server")
		s.figure("captured after", time.Since(start).Seconds(), "s", record.AtMost(joinLimit.Seconds()))
		s.watch(3 * time.Second)
		s.forget(tap)
		s.well("connections", "client", port("server", 7001), peer.Greeting, "-times", "10")
		s.well("connections back", "server", port("client", 7001), peer.Greeting, "-times", "10")
		flows := s.flows(tap)
		s.Logf("on the wire: %s", flows)
		for flow := range flows {
			// Streams from before the label go on as they are.
			if flow.Port != tunnelPort && flow.Port != 7002 {
				s.Errorf("something went to port %d past the tunnel", flow.Port)
			}
		}
	})
	s.part("who is in the mesh is to be seen", func(s *stage) {
		var text string
		s.until(joinLimit, "kubectl to show it", func() (string, error) {
			var err error
			text, err = s.run(*kubectl, "-n", s.namespace, "get", "pods", "-L", "fairway.dev/captured")
			want := map[string]string{"client": "true", "server": "true", "host": "false", "shy": "false"}
			for _, line := range strings.Split(text, "\n") {
				words := strings.Fields(line)
				if len(words) > 1 && want[words[0]] == words[len(words)-1] {
					delete(want, words[0])
				}
			}
			return missing(len(want) == 0, text), err
		})
		s.Logf("\n%s", text)
		for name, reason := range map[string]string{"client": "Captured", "host": "HostNetwork", "shy": "OptedOut"} {
			condition := scene.ConditionOf(s.get("Pod", name), "fairway.dev/Captured")
			s.Logf("%s: %s", name, condition)
			if condition.Reason != reason {
				s.Errorf("%s: the reason is %q, want %q", name, condition.Reason, reason)
			}
		}
		s.until(joinLimit, "an Event on the pod with the node's network", func() (string, error) {
			notes := strings.Join(s.eventsOf("host"), "\n")
			return missing(strings.Contains(notes, "HostNetwork"), notes), nil
		})
	})
	s.part("the label goes", func(s *stage) {
		start := time.Now()
		s.label("Namespace", "", s.namespace, meshLabel, "")
		s.until(leaveLimit, "the pods to be released", func() (string, error) {
			var left []string
			for _, name := range []string{"client", "server", "host", "shy"} {
				if _, is := s.get("Pod", name).GetLabels()["fairway.dev/captured"]; is {
					left = append(left, name)
				}
			}
			return missing(len(left) == 0, fmt.Sprintf("still labelled: %v", left)), nil
		})
		s.figure("released after", time.Since(start).Seconds(), "s", record.AtMost(leaveLimit.Seconds()))
		s.watch(3 * time.Second)
		s.forget(tap)
		s.well("connections", "client", port("server", 7001), peer.Greeting, "-times", "10")
		flows := s.flows(tap)
		s.Logf("on the wire: %s", flows)
		for flow := range flows {
			if flow.Port == tunnelPort {
				s.Errorf("something still goes through a tunnel")
			}
		}
	})
	s.flawless("streams from before", s.stop(kept))
	s.flawless("requests", s.stop(load))
	if after := restarts(s.ready("client", "server", "shy")); after != before {
		s.Errorf("%d containers were restarted", after-before)
	}
}

// restarts of the containers of pods.
func restarts(pods []*scene.Object) (count int64) {
	for _, pod := range pods {
		for _, status := range scene.Containers(pod) {
			restarted, _ := status["restartCount"].(int64)
			count += restarted
		}
	}
	return count
}

var _ = promised(TestMeshFailsClosed, everyChange,
	"With the tunnel killed or absent there is nothing on the wire but mTLS; a pod that would start without a tunnel waits, and its Events say why.")

// Without a tunnel a pod of the mesh does not start, and says why; one that runs reaches nobody, rather than in plaintext.
func TestMeshFailsClosed(t *testing.T) {
	s := begin(t, "closed")
	nodes := s.nodes()
	pods := s.meshedPair()
	tap := s.tap(pods[0], pods[1])
	s.well("connections", "client", port("server", 7002), peer.Echo, "-times", "10")
	s.onlyTunnels(tap)
	for _, node := range nodes {
		s.part("the tunnel of "+node+" is killed", func(s *stage) {
			s.forget(tap)
			load := s.requests("client", port("server", 8080), 50, 4, "-once")
			kept := s.streams("client", port("server", 7002), 5, 100*time.Millisecond)
			// Kubernetes waits longer before each start.
			for range rounds(1, 3) {
				tunnel := s.tunnels()[node]
				process := s.process(tunnel, ztunnelName)
				start := time.Now()
				s.must(process.Kill())
				s.until(time.Minute, "connections to go again", func() (string, error) {
					report := s.try("client", port("server", 7002), peer.Echo, "-timeout", "2s")
					return missing(report.Done > 0, report.String()), nil
				})
				s.figure("killed to going again", time.Since(start).Seconds(), "s", nil)
			}
			// What went wrong meanwhile is right: nothing went past the tunnel.
			broken, failed := s.stop(kept), s.stop(load)
			s.Logf("streams: %s\nrequests: %s", broken, failed)
			s.onlyTunnels(tap)
			s.tunnelsRolledOut()
		})
	}
	s.part("there is no tunnel", func(s *stage) {
		s.must(s.patch("DaemonSet", systemNamespace, ztunnelName, `{"spec":{"template":{"spec":{"nodeSelector":{"behaviour.test/none":"yes"}}}}}`))
		back := func() {
			s.must(s.patch("DaemonSet", systemNamespace, ztunnelName, `{"spec":{"template":{"spec":{"nodeSelector":{"behaviour.test/none":null}}}}}`))
		}
		gone := false
		defer func() {
			if !gone {
				back()
			}
		}()
		s.until(ample, "the tunnels to go", func() (string, error) {
			left := s.pods(systemNamespace, ztunnelLabel)
			all, err := cluster.List(s.ctx, "Pod", systemNamespace, ztunnelLabel)
			return missing(len(left) == 0 && len(all) == 0, fmt.Sprintf("%d are left", len(all))), err
		})
		s.forget(tap)
		report := s.try("client", port("server", 7002), peer.Echo, "-times", "5", "-timeout", "2s")
		flows := s.flows(tap)
		s.Logf("with no tunnel: %s; on the wire: %s", report, flows)
		s.figure("connections without a tunnel", float64(report.Done), "", record.AtMost(0))
		if len(flows) != 0 {
			s.Errorf("something was said on the wire: %s", flows)
		}
		s.pod("late", nodes[0], "", "", "")
		s.until(ample, "an Event that says why the new pod waits", func() (string, error) {
			notes := strings.Join(s.eventsOf("late"), "\n")
			return missing(strings.Contains(notes, "is in the mesh and not captured, so it may not start"), notes), nil
		})
		for _, note := range s.eventsOf("late") {
			if strings.Contains(note, "not captured") {
				s.Logf("%s", note)
				break
			}
		}
		s.watch(5 * time.Second)
		for _, status := range scene.Containers(s.get("Pod", "late")) {
			if state, _ := status["state"].(map[string]any); state["running"] != nil || status["restartCount"] != int64(0) {
				s.Errorf("a container runs without being captured: %v", status)
			}
		}
		// A pod outside the mesh does not care.
		s.label("Namespace", "", s.namespace, "behaviour.test/other", "yes")
		s.pod("outside", nodes[0], ", fairway.dev/mesh: disabled", "", "")
		s.ready("outside")
		start := time.Now()
		back()
		gone = true
		s.tunnelsRolledOut()
		s.ready("late")
		s.captured("late")
		s.figure("a tunnel is back to the pod that waited being ready", time.Since(start).Seconds(), "s", nil)
		s.until(time.Minute, "connections to go again", func() (string, error) {
			report := s.try("client", port("server", 7002), peer.Echo, "-timeout", "2s")
			return missing(report.Done > 0, report.String()), nil
		})
		s.onlyTunnels(tap)
	})
}

var _ = promised(TestMeshRulesRepaired, beforeRelease,
	"Capture rules that somebody flushes in a pod are back within 5 s, and the log says so.")

// Somebody flushes the rules in a pod: they are put back, and it is said.
func TestMeshRulesRepaired(t *testing.T) {
	s := begin(t, "rules")
	pods := s.meshedPair()
	for _, pod := range pods {
		s.part(pod.GetName(), func(s *stage) {
			process := s.process(pod, "backend")
			worst := 0.0
			for range 3 {
				s.must(process.InNetwork("nft", "flush", "ruleset"))
				start := time.Now()
				s.until(ample, "the rules to be there again", func() (string, error) {
					rules, err := process.Output("nft", "list", "ruleset")
					return missing(strings.Contains(rules, "redirect"), "there are none"), err
				})
				worst = max(worst, time.Since(start).Seconds())
			}
			s.figure("repaired after", worst, "s", record.AtMost(rulesLimit.Seconds()))
			s.until(joinLimit, "an Event that says so", func() (string, error) {
				notes := strings.Join(s.eventsOf(pod.GetName()), "\n")
				return missing(strings.Contains(notes, "CaptureRepaired"), notes), nil
			})
		})
	}
	tap := s.tap(pods...)
	s.well("connections", "client", port("server", 7002), peer.Echo, "-times", "10")
	s.onlyTunnels(tap)
}

var _ = promised(TestMeshProbes, everyChange,
	"Kubelet's HTTP, TCP, gRPC and exec probes reach strict pods; nobody else does in plaintext; 0 restarts; a program that is down is seen to be.")

// Kubelet's probes reach the programs of strict pods, nobody else does in plaintext, and a program that is down is seen to be.
func TestMeshProbes(t *testing.T) {
	s := begin(t, "probes")
	s.meshed()
	s.label("Namespace", "", s.namespace, "fairway.dev/mtls", "strict")
	var names []string
	for kind, probe := range map[string]string{
		"http": "httpGet: {path: /, port: 8080}",
		"tcp":  "tcpSocket: {port: 7002}",
		"grpc": "grpc: {port: 7005}",
		"exec": "exec: {command: [/backend, 'true']}",
	} {
		for _, node := range s.nodes() {
			name := kind + "-" + node
			names = append(names, name)
			text := fmt.Sprintf(`startupProbe: {%[1]s, periodSeconds: 1, failureThreshold: 20}
    readinessProbe: {%[1]s, periodSeconds: 1}
    livenessProbe: {%[1]s, periodSeconds: 1, failureThreshold: 3}`, probe)
			s.pod(name, node, "", "", text)
		}
	}
	pods := s.ready(names...)
	s.captured(names...)
	// Kubelet restarts a container at the third failure.
	watched := rounds(6, 15)
	s.watch(time.Duration(watched) * time.Second)
	s.figure(fmt.Sprintf("restarts in %d s of probes every second", watched), float64(restarts(s.ready(names...))), "", record.AtMost(0))
	s.part("others are refused in plaintext", func(s *stage) {
		// From this node's network, which is not where kubelet of the other node is, and to ports that are not probed.
		for _, pod := range pods {
			if strings.HasPrefix(pod.GetName(), "exec") {
				if why := s.plain(podIP(pod), 7002); why == "" {
					s.Errorf("%s let plaintext in", pod.GetName())
				} else {
					s.Logf("%s: %s", pod.GetName(), why)
				}
			}
		}
	})
	s.part("a probe of a port where nobody listens fails", func(s *stage) {
		s.pod("down", s.nodes()[0], "", "", "readinessProbe: {tcpSocket: {port: 7999}, periodSeconds: 1}")
		s.captured("down")
		s.until(ample, "kubelet to say that nobody answers", func() (string, error) {
			notes := strings.Join(s.eventsOf("down"), "\n")
			return missing(strings.Contains(notes, "Readiness probe failed"), notes), nil
		})
		if condition := scene.ConditionOf(s.get("Pod", "down"), "Ready"); condition.Status == "True" {
			s.Errorf("it is ready though nobody listens where it is probed")
		}
	})
}

var _ = promised(TestMeshMarksAreAllItWrites, everyChange,
	"With the controller's token one condition and one label of pods can be written, and nothing else of them.")

// The controller's right to write on pods is for one condition and one label; whoever has its token gets no more out of it.
func TestMeshMarksAreAllItWrites(t *testing.T) {
	s := begin(t, "marks")
	s.pod("pod", s.nodes()[0], "", "", "")
	s.ready("pod")
	config := rest.CopyConfig(cluster.Config)
	config.Impersonate.UserName = fmt.Sprintf("system:serviceaccount:%s:%s", systemNamespace, controllerName)
	api, err := dynamic.NewForConfig(config)
	s.must(err)
	pods := api.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(s.namespace)
	for _, c := range []struct {
		what, change, part string
		allowed            bool
	}{
		{"the label", `{"metadata":{"labels":{"fairway.dev/captured":"true"}}}`, "status", true},
		{"the condition", `{"status":{"conditions":[{"type":"fairway.dev/Captured","status":"True"}]}}`, "status", true},
		{"another label", `{"metadata":{"labels":{"app":"another"}}}`, "status", false},
		{"an annotation", `{"metadata":{"annotations":{"a":"b"}}}`, "status", false},
		{"another condition", `{"status":{"conditions":[{"type":"Ready","status":"False"}]}}`, "status", false},
		{"the address", `{"status":{"podIP":"192.0.2.1","podIPs":[{"$patch":"replace"},{"ip":"192.0.2.1"}]}}`, "status", false},
		{"the phase", `{"status":{"phase":"Failed"}}`, "status", false},
		{"the spec", `{"spec":{"activeDeadlineSeconds":5}}`, "", false},
	} {
		s.part(c.what, func(s *stage) {
			var parts []string
			if c.part != "" {
				parts = append(parts, c.part)
			}
			_, err := pods.Patch(s.ctx, "pod", types.StrategicMergePatchType, []byte(c.change), metav1.PatchOptions{FieldManager: "behaviour-marks"}, parts...)
			if (err == nil) != c.allowed {
				s.Errorf("allowed: want %t, and the API server says %v", c.allowed, err)
			}
			s.Logf("%v", err)
		})
	}
}
