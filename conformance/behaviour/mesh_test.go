package behaviour

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
	"github.com/fairway-mesh/fairway/conformance/behaviour/wire"
)

const (
	ztunnelName  = "fairway-ztunnel"
	ztunnelLabel = "app.kubernetes.io/name=fairway,app.kubernetes.io/component=ztunnel"
	// The port at which a captured pod's tunnel is reached.
	tunnelPort = 15008
	meshLabel  = "fairway.dev/mesh"
)

// label sets a label of an object, or takes it away if the value is empty.
func (s *stage) label(kind, namespace, name, label, value string) {
	s.Helper()
	text := "null"
	if value != "" {
		text = fmt.Sprintf("%q", value)
	}
	s.must(s.patch(kind, namespace, name, fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, label, text)))
}

// meshed labels the stage's namespace.
func (s *stage) meshed() {
	s.Helper()
	s.label("Namespace", "", s.namespace, meshLabel, "enabled")
}

// pod makes a backend on a node, behind a Service of its name; `more` is put into its spec, `inner` into its container.
func (s *stage) pod(name, node, labels, more, inner string) {
	s.Helper()
	s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: NAMESPACE, labels: {app: peer, pod: %[1]s%[3]s}}
spec:
  nodeName: %[2]s
  terminationGracePeriodSeconds: 1
  automountServiceAccountToken: false
  %[4]s
  containers:
  - name: backend
    image: %[6]s
    imagePullPolicy: IfNotPresent
    env: [{name: POD_NAME, value: %[1]s}]
    %[5]s
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: NAMESPACE}
spec:
  selector: {pod: %[1]s}
  ports:
  - {name: web, port: 8080}
  - {name: greeting, port: 7001}
  - {name: echo, port: 7002}
  - {name: digest, port: 7003}
  - {name: source, port: 7004}
`, name, node, labels, more, inner, *image))
}

// meshedPair meshes the namespace, with a client on the first node and a server on the second; both are captured, and the client reaches the
// server.
func (s *stage) meshedPair() []*scene.Object {
	s.Helper()
	nodes := s.nodes()
	s.meshed()
	s.pod("client", nodes[0], "", "", "")
	s.pod("server", nodes[1], "", "", "")
	pods := s.ready("client", "server")
	s.captured("client", "server")
	s.reaches("client", port("server", 7002), peer.Echo)
	if !*own {
		return pods
	}
	// A Service that the client's tunnel has not been sent yet is reached past the tunnels.
	tap := s.tap(pods...)
	defer tap.Close()
	s.until(ample, "the client to reach the server through the tunnels", func() (string, error) {
		s.forget(tap)
		report := s.try("client", port("server", 7002), peer.Echo, "-timeout", "2s")
		flows := s.flows(tap)
		return missing(report.Done > 0 && slices.Equal(flows.Ports(), []uint16{tunnelPort}), fmt.Sprintf("%s; on the wire: %s", report, flows)), nil
	})
	return pods
}

// reached has the pods and the hosts that have answered them.
var reached sync.Map

// reaches waits until a host has answered a pod once. A pod is ready, and a Service there, before DNS, kube-proxy on the client's node and the
// client's tunnel have heard of it, and what they do until then says nothing about Fairway. When it has, the next fault is one.
func (s *stage) reaches(pod, to, say string) {
	s.Helper()
	object := s.get("Pod", pod)
	host, _, err := net.SplitHostPort(to)
	s.must(err)
	if object == nil {
		s.Fatalf("no pod %s", pod)
	}
	pair := fmt.Sprintf("%s %s", object.GetUID(), host)
	if _, is := reached.Load(pair); is {
		return
	}
	s.until(ample, fmt.Sprintf("%s to answer %s", to, pod), func() (string, error) {
		report := s.try(pod, to, say, "-timeout", "2s")
		return missing(report.Done > 0, report.String()), nil
	})
	reached.Store(pair, true)
}

// ready waits for pods and returns them.
func (s *stage) ready(names ...string) []*scene.Object {
	s.Helper()
	pods := make([]*scene.Object, len(names))
	for i, name := range names {
		s.until(ample, "pod "+name+" to be ready", func() (string, error) {
			pod, err := cluster.Get(s.ctx, "Pod", s.namespace, name)
			if err != nil || pod == nil {
				return "it is not there", err
			}
			pods[i] = pod
			condition := scene.ConditionOf(pod, "Ready")
			return missing(condition.Status == "True", condition.String()), nil
		})
	}
	return pods
}

// isCaptured says what is missing until a pod shows that it is captured, or that it is not.
func (s *stage) isCaptured(name string, wanted bool) (string, error) {
	pod, err := cluster.Get(s.ctx, "Pod", s.namespace, name)
	if err != nil || pod == nil {
		return "it is not there", err
	}
	condition := scene.ConditionOf(pod, "fairway.dev/Captured")
	return missing((condition.Status == "True") == wanted, condition.String()), nil
}

// captured waits until pods show it.
func (s *stage) captured(names ...string) {
	s.Helper()
	for _, name := range names {
		s.until(joinLimit, name+" to be captured", func() (string, error) { return s.isCaptured(name, true) })
	}
}

// released waits until pods show that they are not captured.
func (s *stage) released(names ...string) {
	s.Helper()
	for _, name := range names {
		s.until(leaveLimit, name+" to be released", func() (string, error) { return s.isCaptured(name, false) })
	}
}

// client is a program that runs in a pod until it is told to stop.
type client struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	err   bytes.Buffer
}

// client starts the backend of a pod as a client: see conformance/behaviour/backend.
func (s *stage) client(pod string, args ...string) *client {
	s.Helper()
	all := append([]string{"-n", s.namespace, "exec", "-i", pod, "--", "/backend"}, args...)
	c := &client{cmd: exec.CommandContext(context.WithoutCancel(s.ctx), *kubectl, all...)}
	c.cmd.Env = append(os.Environ(), "KUBECONFIG="+*kubeconfig)
	c.cmd.Stderr = &c.err
	var err error
	c.stdin, err = c.cmd.StdinPipe()
	s.must(err)
	out, err := c.cmd.StdoutPipe()
	s.must(err)
	c.out = bufio.NewReader(out)
	s.must(c.cmd.Start())
	s.Cleanup(func() { _ = c.cmd.Process.Kill() })
	return c
}

// streams opens connections that stay, and returns when all are open.
func (s *stage) streams(pod, to string, count int, every time.Duration) *client {
	s.Helper()
	s.reaches(pod, to, peer.Echo)
	c := s.client(pod, "streams", "-to", to, "-parallel", fmt.Sprint(count), "-pause", every.String())
	line, err := c.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != peer.Ready {
		_ = c.cmd.Wait()
		s.Fatalf("streams from %s to %s: %q, %v\n%s", pod, to, line, err, c.err.String())
	}
	return c
}

// requests sends HTTP requests at a rate to a Service with the name of its pod.
func (s *stage) requests(pod, to string, rate, connections int, more ...string) *client {
	s.Helper()
	s.reaches(pod, to, peer.Name)
	return s.requestsAnyway(pod, to, rate, connections, more...)
}

// requestsAnyway sends them even if nobody is there yet.
func (s *stage) requestsAnyway(pod, to string, rate, connections int, more ...string) *client {
	s.Helper()
	return s.client(pod, append([]string{"requests", "-to", to, "-rate", fmt.Sprint(rate), "-parallel", fmt.Sprint(connections)}, more...)...)
}

// stop tells a client to stop and returns its report.
func (s *stage) stop(c *client) peer.Report {
	s.Helper()
	s.must(c.stdin.Close())
	var report peer.Report
	if err := json.NewDecoder(c.out).Decode(&report); err != nil {
		_ = c.cmd.Wait()
		s.Fatalf("what a client reported: %v\n%s", err, c.err.String())
	}
	_ = c.cmd.Wait()
	return report
}

// try has conversations from a pod, and returns how they went.
func (s *stage) try(pod, to, say string, more ...string) peer.Report {
	s.Helper()
	return s.stop(s.client(pod, append([]string{"try", "-to", to, "-say", say}, more...)...))
}

// well has conversations and wants all of them to go well.
func (s *stage) well(name, pod, to, say string, more ...string) peer.Report {
	s.Helper()
	s.reaches(pod, to, say)
	report := s.try(pod, to, say, more...)
	s.Logf("%s: %s", name, report)
	s.figure(name+": faults", float64(len(report.Faults)), "", record.AtMost(0))
	if report.Done == 0 {
		s.Errorf("%s: nothing was done", name)
	}
	return report
}

// flawless records how a client went; nothing may have gone wrong.
func (s *stage) flawless(name string, report peer.Report) {
	s.Helper()
	s.Logf("%s: %s", name, report)
	s.figure(name, float64(report.Done), "", record.AtLeast(1))
	s.figure(name+": faults", float64(len(report.Faults)), "", record.AtMost(0))
}

// tap looks at the packets between pods; some of them have to pass the node that the tests run on.
func (s *stage) tap(pods ...*scene.Object) *wire.Tap {
	s.Helper()
	var addresses []string
	for _, pod := range pods {
		addresses = append(addresses, podIP(pod))
	}
	return s.tapBetween(addresses...)
}

// tapBetween is the same for addresses and networks.
func (s *stage) tapBetween(among ...string) *wire.Tap {
	s.Helper()
	if !*own {
		s.unable(*own, "the packets of nodes elsewhere cannot be looked at")
	}
	tap, err := wire.Listen(among...)
	s.must(err)
	s.Cleanup(tap.Close)
	return tap
}

// flows of what was said before, all of them.
func (s *stage) flows(tap *wire.Tap) wire.Flows {
	s.Helper()
	flows, err := tap.Flows()
	s.must(err)
	return flows
}

// forget has a tap count from here on.
func (s *stage) forget(tap *wire.Tap) {
	s.Helper()
	s.must(tap.Reset())
}

// onlyTunnels wants that something was said on the wire, and all of it to the tunnel's port.
func (s *stage) onlyTunnels(tap *wire.Tap) {
	s.Helper()
	flows := s.flows(tap)
	s.Logf("on the wire: %s", flows)
	if ports := flows.Ports(); len(ports) != 1 || ports[0] != tunnelPort {
		s.Errorf("pods spoke to ports %v on the wire, want only %d", ports, tunnelPort)
	}
}

// nodes of the cluster, by name.
func (s *stage) nodes() []string {
	s.Helper()
	all, err := cluster.List(s.ctx, "Node", "", "")
	s.must(err)
	names := []string{}
	for _, node := range all {
		names = append(names, node.GetName())
	}
	if len(names) < 2 {
		s.unable(*own, "two nodes are needed; there are %v", names)
	}
	return names
}

// tunnels are the pods of the DaemonSet, by node.
func (s *stage) tunnels() map[string]*scene.Object {
	s.Helper()
	pods := map[string]*scene.Object{}
	for _, pod := range s.pods(systemNamespace, ztunnelLabel) {
		node, _, _ := unstructured.NestedString(pod.Object, "spec", "nodeName")
		pods[node] = pod
	}
	return pods
}

// restartTunnels rolls the DaemonSet and waits until every node has its new tunnel, and it is ready.
func (s *stage) restartTunnels() {
	s.Helper()
	s.must(s.patch("DaemonSet", systemNamespace, ztunnelName, fmt.Sprintf(
		`{"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":%q}}}}}`, time.Now().Format(time.RFC3339Nano))))
	s.tunnelsRolledOut()
}

// tunnelsRolledOut waits until each node has a tunnel of the newest template, ready, and no other that is not ending. The
// DaemonSet's own status tells of the oldest pod of a node, which may carry connections for long.
func (s *stage) tunnelsRolledOut() {
	s.Helper()
	nodes := s.nodes()
	s.until(ample, "the tunnels to be rolled out", func() (string, error) {
		set, err := cluster.Get(s.ctx, "DaemonSet", systemNamespace, ztunnelName)
		if err != nil || set == nil {
			return "no DaemonSet", err
		}
		observed, _, _ := unstructured.NestedInt64(set.Object, "status", "observedGeneration")
		newest := set.GetAnnotations()["deprecated.daemonset.template.generation"]
		pods := s.pods(systemNamespace, ztunnelLabel)
		if observed != set.GetGeneration() || len(pods) != len(nodes) {
			return fmt.Sprintf("%d tunnels on %d nodes", len(pods), len(nodes)), nil
		}
		for _, pod := range pods {
			ready := scene.ConditionOf(pod, "Ready")
			if pod.GetLabels()["pod-template-generation"] != newest || ready.Status != "True" {
				return fmt.Sprintf("%s: %s", pod.GetName(), ready), nil
			}
		}
		return "", nil
	})
}

// events of an object: reasons and notes.
func (s *stage) eventsOf(name string) []string {
	s.Helper()
	all, err := cluster.List(s.ctx, "Event", s.namespace, "")
	s.must(err)
	var notes []string
	for _, event := range all {
		if about, _, _ := unstructured.NestedString(event.Object, "regarding", "name"); about == name {
			reason, _, _ := unstructured.NestedString(event.Object, "reason")
			note, _, _ := unstructured.NestedString(event.Object, "note")
			notes = append(notes, reason+": "+note)
		}
	}
	return notes
}

func port(host string, number int) string { return net.JoinHostPort(host, fmt.Sprint(number)) }

// plain says something in plaintext to an address from the network that the tests run on, and returns why that did not work.
func (s *stage) plain(ip string, number int) (why string) {
	conn, err := net.DialTimeout("tcp", port(ip, number), 5*time.Second)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	s.must(conn.SetDeadline(time.Now().Add(5 * time.Second)))
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		return err.Error()
	}
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		return err.Error()
	}
	return ""
}
