package test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// cluster is as much of an API server as Helm asks before it writes: what is offered, and which objects are there, by path.
type cluster struct {
	objects map[string]map[string]any
}

const (
	crdPath    = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/"
	policyPath = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/"
	bindPath   = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/"
)

// put has an object of the Gateway API be there: who owns it, and of which bundle it is.
func (c *cluster) put(path, name string, owner owner, version, channel string) {
	annotations := map[string]any{"gateway.networking.k8s.io/bundle-version": version, "gateway.networking.k8s.io/channel": channel}
	labels := map[string]any{}
	if owner.release != "" {
		labels["app.kubernetes.io/managed-by"] = "Helm"
		annotations["meta.helm.sh/release-name"] = owner.release
		annotations["meta.helm.sh/release-namespace"] = "fairway-system"
	}
	object := map[string]any{"metadata": map[string]any{
		"name": name, "annotations": annotations, "labels": labels,
		"managedFields": []any{map[string]any{"manager": owner.manager, "operation": "Apply"}, map[string]any{"manager": "kube-apiserver", "operation": "Update", "subresource": "status"}},
	}}
	if c.objects == nil {
		c.objects = map[string]map[string]any{}
	}
	c.objects[path+name] = object
}

type owner struct{ release, manager string }

func (c *cluster) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	path := strings.TrimSuffix(request.URL.Path, "/")
	group := func(name string, versions ...string) map[string]any {
		var offered []any
		for _, version := range versions {
			offered = append(offered, map[string]any{"groupVersion": name + "/" + version, "version": version})
		}
		return map[string]any{"name": name, "versions": offered, "preferredVersion": offered[0]}
	}
	kind := func(plural, name string, namespaced bool) map[string]any {
		return map[string]any{"name": plural, "kind": name, "namespaced": namespaced, "verbs": []string{"get", "list", "create", "patch"}}
	}
	answer := map[string]any{}
	switch path {
	case "/version":
		answer = map[string]any{"major": "1", "minor": "36", "gitVersion": "v1.36.3"}
	case "/api":
		answer = map[string]any{"kind": "APIVersions", "versions": []string{"v1"}}
	case "/api/v1":
		answer = map[string]any{"kind": "APIResourceList", "groupVersion": "v1", "resources": []any{kind("secrets", "Secret", true), kind("namespaces", "Namespace", false)}}
	case "/apis":
		groups := []any{group("apiextensions.k8s.io", "v1"), group("admissionregistration.k8s.io", "v1")}
		answer = map[string]any{"kind": "APIGroupList", "groups": groups}
	case "/apis/apiextensions.k8s.io/v1":
		answer = map[string]any{"kind": "APIResourceList", "groupVersion": "apiextensions.k8s.io/v1", "resources": []any{kind("customresourcedefinitions", "CustomResourceDefinition", false)}}
	case "/apis/admissionregistration.k8s.io/v1":
		answer = map[string]any{"kind": "APIResourceList", "groupVersion": "admissionregistration.k8s.io/v1", "resources": []any{
			kind("validatingadmissionpolicies", "ValidatingAdmissionPolicy", false), kind("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", false)}}
	default:
		object, there := c.objects[path]
		if !there {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": path + " not found"})
			return
		}
		answer = object
		answer["apiVersion"], answer["kind"] = "apiextensions.k8s.io/v1", "CustomResourceDefinition"
		if !strings.HasPrefix(path, crdPath) {
			answer["apiVersion"], answer["kind"] = "admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// install is what `helm install` would write into the cluster, and tell the user.
func (c *cluster) install(t *testing.T, arguments ...string) (manifest, notes string, err error) {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	config := filepath.Join(t.TempDir(), "kubeconfig")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: '" + server.URL + "'}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := helm(append([]string{"install", "fairway-crds", crds, "--namespace", "fairway-system", "--set", "gatewayAPI.install=true",
		"--output", "json", "--dry-run=server", "--disable-openapi-validation", "--kubeconfig", config}, arguments...)...)
	if err != nil {
		return "", "", err
	}
	var release struct {
		Manifest string
		Info     struct{ Notes string }
	}
	if err := json.Unmarshal([]byte(out), &release); err != nil {
		t.Fatal(err)
	}
	return release.Manifest, release.Info.Notes, nil
}

func gatewayKinds(t *testing.T, rendered string) (found []string) {
	for _, object := range objects(t, rendered) {
		if name := nameOf(object); strings.Contains(name, "gateway.networking") {
			found = append(found, strings.TrimPrefix(name, "CustomResourceDefinition "))
		}
	}
	return found
}

// Kinds of somebody else are left alone, none is added beside them, and the notes say whose they are.
func TestOwnersAreNotFought(t *testing.T) {
	const gateways, routes = "gateways.gateway.networking.k8s.io", "httproutes.gateway.networking.k8s.io"
	ours, theirs, kubectl := owner{"fairway-crds", "helm"}, owner{"other", "helm"}, owner{"", "kubectl"}
	const all = 12 // ten kinds, the policy and its binding
	for _, it := range []struct {
		says  string
		there map[string]owner
		want  int
		notes string
	}{
		{"an empty cluster", nil, all, "The Gateway API v1.7.0 is installed: standard channel."},
		{"an earlier install of this release", map[string]owner{gateways: ours, routes: ours}, all, "The Gateway API v1.7.0 is installed"},
		{"kinds that kubectl brought", map[string]owner{gateways: kubectl, routes: kubectl}, 0, "kept by kubectl: v1.7.0, standard channel.\nIt was left alone"},
		{"kinds that another release brought", map[string]owner{gateways: theirs, routes: theirs}, 0, "kept by the Helm release fairway-system/other: v1.7.0"},
		{"one kind that another release brought", map[string]owner{routes: theirs}, 0, "kept by the Helm release fairway-system/other: v1.7.0"},
		{"one of ours beside one of theirs", map[string]owner{gateways: ours, routes: theirs}, 1, "kept by the Helm release fairway-system/other: v1.7.0"},
	} {
		t.Run(it.says, func(t *testing.T) {
			var c cluster
			for name, owner := range it.there {
				c.put(crdPath, name, owner, "v1.7.0", "standard")
			}
			manifest, notes, err := c.install(t)
			if err != nil {
				t.Fatal(err)
			}
			if found := gatewayKinds(t, manifest); len(found) != it.want {
				t.Errorf("it would install %v", found)
			}
			if !strings.Contains(notes, it.notes) {
				t.Errorf("the notes do not say %q:\n%s", it.notes, notes)
			}
		})
	}
}

func TestNotesWarnOfVersionAndChannel(t *testing.T) {
	for _, it := range []struct{ version, channel, says string }{
		{"v1.7.0", "standard", ""},
		{"v1.8.1", "standard", ""},
		{"v1.5.0", "standard", "WARNING: Gateway API v1.5.0 is older than v1.7.0"},
		{"v1.3.0", "standard", "WARNING: Gateway API v1.3.0 is older than v1.4.0, the oldest that Fairway reads"},
		{"v1.7.0", "experimental", "WARNING: gatewayAPI.channel=standard, but the cluster has the experimental channel"},
		{"", "", "version unknown, channel unknown"},
	} {
		var c cluster
		c.put(crdPath, "gateways.gateway.networking.k8s.io", owner{"", "kubectl"}, it.version, it.channel)
		_, notes, err := c.install(t)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(notes, it.says) || it.says == "" && strings.Contains(notes, "WARNING") {
			t.Errorf("%s %s: the notes should say %q:\n%s", it.version, it.channel, it.says, notes)
		}
	}
}

// The Gateway API's policy would refuse it half-way through; the chart does before anything is written.
func TestAChangeToTheExperimentalChannelIsStoppedBeforeItBegins(t *testing.T) {
	const name = "safe-upgrades.gateway.networking.k8s.io"
	change := func(c cluster) error {
		c.put(crdPath, "gateways.gateway.networking.k8s.io", owner{"fairway-crds", "helm"}, "v1.7.0", "standard")
		_, _, err := c.install(t, "--set", "gatewayAPI.channel=experimental")
		return err
	}
	var guarded cluster
	guarded.put(policyPath, name, owner{"fairway-crds", "helm"}, "v1.7.0", "standard")
	guarded.put(bindPath, name, owner{"fairway-crds", "helm"}, "v1.7.0", "standard")
	if err := change(guarded); err == nil || !strings.Contains(err.Error(), "kubectl delete validatingadmissionpolicybinding "+name) {
		t.Errorf("it said: %v", err)
	}
	if err := change(cluster{}); err != nil {
		t.Errorf("without the policy: %v", err)
	}
}

func TestAChangeToTheStandardChannelIsWarnedOf(t *testing.T) {
	var c cluster
	c.put(crdPath, "gateways.gateway.networking.k8s.io", owner{"fairway-crds", "helm"}, "v1.7.0", "experimental")
	if _, notes, err := c.install(t); err != nil || !strings.Contains(notes, "WARNING: it was the experimental channel before") {
		t.Errorf("%v\n%s", err, notes)
	}
}
