package behaviour

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

var _ = promised(TestHelmUpgrade, beforeRelease,
	"An upgrade of the chart that changes the controller and every proxy loses no request.")

// An upgrade that changes the controller and every proxy loses no request.
func TestHelmUpgrade(t *testing.T) {
	s := begin(t, "upgrade")
	address := s.servedGateway(2)
	var before []string
	for _, pod := range s.proxies("gw") {
		before = append(before, pod.GetName())
	}
	values := s.installedValues()
	s.Cleanup(func() {
		back := &stage{T: t, ctx: context.Background(), namespace: s.namespace}
		back.upgrade(values, "--reset-values")
	})
	loads := s.allLoads(address)
	loads.carry(s, time.Second)
	start := time.Now()
	// Both change pods: the controller's, and, through it, those of all proxies.
	s.upgrade(values, "--reset-values", "--set", "logs.level=debug", "--set", "waypoint.image.pullPolicy=Never")
	s.figure("upgrade", time.Since(start).Seconds(), "s", nil)
	s.rolledOut(systemNamespace, controllerName)
	s.until(ample, "the proxies to be new ones", func() (string, error) {
		for _, pod := range s.proxies("gw") {
			if slices.Contains(before, pod.GetName()) {
				return pod.GetName() + " is there", nil
			}
		}
		return "", nil
	})
	s.rolledOut(s.namespace, "gw-fairway")
	loads.carry(s, 8*time.Second)
	loads.end(s)
	s.written(address, "after-upgrade")
}

var _ = promised(TestHelmUninstall, beforeRelease,
	"After `helm uninstall` nothing is left but what docs/installing.md names; installed again, all is as it was.")

// Uninstalled, nothing is left but what docs/installing.md names; proxies of Gateways that are still there go on.
// Installed again, all is as it was.
func TestHelmUninstall(t *testing.T) {
	s := begin(t, "uninstall")
	address := s.servedGateway(1)
	values := s.installedValues()
	crds := s.definitions()
	s.Cleanup(func() {
		back := &stage{T: t, ctx: context.Background(), namespace: s.namespace}
		back.upgrade(values)
		back.rolledOut(systemNamespace, controllerName)
	})
	// Helm deletes it while the controllers end: whether one of them sees that must not matter.
	s.part("the class goes first", func(s *stage) {
		loads := s.allLoads(address)
		s.must(cluster.Delete(s.ctx, "GatewayClass", "", "fairway"))
		loads.carry(s, 5*time.Second)
		loads.end(s)
		if s.get("Deployment", "gw-fairway") == nil {
			s.Error("the Gateway's Deployment is gone with the class")
		}
		s.upgrade(values)
		address = net.JoinHostPort(s.programmed("gw"), "80")
		s.answers(address)
	})
	mesh := &stage{T: t, ctx: s.ctx, namespace: s.namespace + "-mesh", start: s.start}
	mesh.makeNamespace(mesh.namespace)
	mesh.meshed()
	mesh.pod("client", s.nodes()[0], "", "", "")
	mesh.pod("server", s.nodes()[1], "", "", "")
	mesh.ready("client", "server")
	mesh.captured("client", "server")
	kept := mesh.streams("client", port("server", 7002), 5, 100*time.Millisecond)
	var folders []nodeFolders
	for _, node := range s.nodes() {
		folders = append(folders, s.nodeFolders(node))
	}
	s.part("the proxy goes on", func(s *stage) {
		loads := s.allLoads(address)
		_, err := s.run(*helm, "uninstall", "fairway", "-n", systemNamespace, "--wait", "--timeout", "2m")
		s.must(err)
		_, err = s.run(*helm, "uninstall", "fairway-crds", "-n", systemNamespace, "--wait", "--timeout", "2m")
		s.must(err)
		loads.carry(s, 5*time.Second)
		loads.end(s)
	})
	s.part("nodes and pods are as before", func(s *stage) {
		for i, folder := range folders {
			s.until(time.Minute, "the plugin to go", func() (string, error) {
				configurations, err := scene.Entries(folder.configurations)
				if err != nil {
					return "", err
				}
				programs, err := scene.Entries(folder.programs)
				left := slices.Contains(configurations, pluginConfiguration) || slices.Contains(configurations, pluginCredentials) ||
					slices.Contains(programs, pluginProgram)
				return missing(!left, fmt.Sprintf("on node %d are %v and %v", i+1, configurations, programs)), err
			})
		}
		mesh := &stage{T: s.T, ctx: s.ctx, namespace: mesh.namespace, start: s.start}
		mesh.well("connections", "client", port("server", 7002), peer.Echo, "-times", "10")
		mesh.pod("new", s.nodes()[0], "", "", "")
		mesh.ready("new")
		// What was within the tunnels had the time that a tunnel has to end.
		s.Logf("streams from before: %s", mesh.stop(kept))
		mesh.removeNamespace(mesh.namespace)
	})
	s.part("kinds stay", func(s *stage) {
		for _, name := range crds {
			if !slices.Contains(s.definitions(), name) {
				s.Errorf("%s is gone", name)
			}
		}
	})
	s.part("its objects go with the Gateway", func(s *stage) {
		s.must(cluster.Delete(s.ctx, "Gateway", s.namespace, "gw"))
		s.must(cluster.Delete(s.ctx, "GatewayParameters", s.namespace, "gw"))
		for _, kind := range append(slices.Clone(provisionedKinds), "Pod") {
			s.until(removeLimit, kind+"s to go", func() (string, error) {
				left := s.made(kind, "gw")
				return missing(len(left) == 0, fmt.Sprint(left)), nil
			})
		}
	})
	s.part("nothing else is left", func(s *stage) {
		var unexpected []string
		// The garbage collector is given time.
		s.wait(30*time.Second, func() bool {
			unexpected = nil
			for _, left := range s.leftovers() {
				if !documented(left) {
					unexpected = append(unexpected, left)
				}
			}
			return len(unexpected) == 0
		})
		for _, left := range unexpected {
			s.Errorf("left: %s", left)
		}
		s.figure("objects left that docs/installing.md does not name", float64(len(unexpected)), "", record.AtMost(0))
	})
	s.part("installed again", func(s *stage) {
		secret, err := cluster.Get(s.ctx, "Secret", systemNamespace, "fairway-ca")
		s.must(err)
		if secret == nil {
			s.Fatal("the Secret fairway-ca is gone")
		}
		start := time.Now()
		s.upgrade(values)
		s.rolledOut(systemNamespace, controllerName)
		s.figure("installed in", time.Since(start).Seconds(), "s", nil)
		now, err := cluster.Get(s.ctx, "Secret", systemNamespace, "fairway-ca")
		s.must(err)
		if fmt.Sprint(now.Object["data"]) != fmt.Sprint(secret.Object["data"]) {
			s.Error("the roots are others than before")
		}
		address := s.gateway("gw", 1)
		s.reach(address, load.Request{Host: "x", Path: "/"}, 404, 200, appearLimit)
	})
}

// documented is what docs/installing.md says is left on purpose.
func documented(left string) bool {
	for _, known := range []string{
		"namespaces /" + systemNamespace,
		"secrets " + systemNamespace + "/fairway-ca",
		"customresourcedefinitions.apiextensions.k8s.io /gatewayparameters.fairway.dev",
	} {
		if left == known {
			return true
		}
	}
	// Events go by themselves after an hour.
	return strings.HasPrefix(left, "events")
}

// installedValues is a file with the values Fairway was installed with.
func (s *stage) installedValues() string {
	s.Helper()
	text, err := s.run(*helm, "get", "values", "fairway", "-n", systemNamespace, "-o", "yaml")
	s.must(err)
	path := filepath.Join(s.TempDir(), "values.yaml")
	s.must(os.WriteFile(path, []byte(text), 0o644))
	return path
}

// installedWith sets values of the chart (as `helm --set` takes them), for the time of the test.
func (s *stage) installedWith(settings string) {
	s.Helper()
	values := s.installedValues()
	s.Cleanup(func() {
		back := &stage{T: s.T, ctx: context.Background(), namespace: s.namespace}
		back.upgrade(values, "--reset-values")
		back.rolledOut(systemNamespace, controllerName)
	})
	s.upgrade(values, "--reset-values", "--set", settings)
	s.rolledOut(systemNamespace, controllerName)
}

func (s *stage) upgrade(values string, more ...string) {
	s.Helper()
	s.changesSystem(systemNamespace)
	for _, chart := range []string{"fairway-crds", "fairway"} {
		args := []string{"upgrade", "--install", chart, filepath.Join(*charts, chart), "-n", systemNamespace, "--create-namespace", "--wait", "--timeout", "3m"}
		if chart == "fairway" {
			args = append(append(args, "-f", values), more...)
		}
		_, err := s.run(*helm, args...)
		s.must(err)
	}
}

// definitions are the names of all kinds' definitions of the Gateway API and ours.
func (s *stage) definitions() []string {
	s.Helper()
	list, err := cluster.Dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}).List(s.ctx, metav1.ListOptions{})
	s.must(err)
	var names []string
	for _, it := range list.Items {
		if strings.Contains(it.GetName(), "gateway.networking.k8s.io") || strings.Contains(it.GetName(), "fairway.dev") {
			names = append(names, it.GetName())
		}
	}
	return names
}

// leftovers are all objects of the cluster that have to do with Fairway: by name, by label, by who wrote them, or by
// being in its namespace. What Kubernetes itself puts into each namespace is not one.
func (s *stage) leftovers() []string {
	s.Helper()
	lists, err := discovery.NewDiscoveryClientForConfigOrDie(cluster.Config).ServerPreferredResources()
	s.must(err)
	var found []string
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		s.must(err)
		for _, resource := range list.APIResources {
			if !slices.Contains(resource.Verbs, "list") || strings.Contains(resource.Name, "/") {
				continue
			}
			name := group.WithResource(resource.Name)
			objects, err := cluster.Dynamic.Resource(name).List(s.ctx, metav1.ListOptions{})
			if err != nil {
				s.Logf("%s: %v", name.Resource, err)
				continue
			}
			for i := range objects.Items {
				if it := &objects.Items[i]; fairways(it) {
					found = append(found, fmt.Sprintf("%s %s/%s", name.GroupResource(), it.GetNamespace(), it.GetName()))
				}
			}
		}
	}
	return found
}

func fairways(it *scene.Object) bool {
	switch {
	case it.GetKind() == "APIService" || it.GetName() == "fairway-kube-proxy":
		// The API server's own record of a kind; and something of the test cluster's.
		return false
	case it.GetName() == "kube-root-ca.crt" || it.GetKind() == "ServiceAccount" && it.GetName() == "default":
		return false
	case it.GetLabels()["behaviour.test"] != "" || strings.HasPrefix(it.GetNamespace(), "behaviour-"):
		// The tests' own; what was made for Gateways there is looked for by its label.
		return it.GetLabels()["gateway.networking.k8s.io/gateway-class-name"] != ""
	case it.GetNamespace() == systemNamespace || strings.Contains(it.GetName(), "fairway"):
		return true
	}
	for key, value := range it.GetLabels() {
		if strings.HasPrefix(key, "fairway.dev/") || strings.HasPrefix(key, "app.kubernetes.io/") && strings.Contains(value, "fairway") {
			return true
		}
	}
	return false
}

// wait for something that may never be.
func (s *stage) wait(limit time.Duration, done func() bool) {
	for deadline := time.Now().Add(limit); !done() && time.Now().Before(deadline); {
		s.watch(500 * time.Millisecond)
	}
}
