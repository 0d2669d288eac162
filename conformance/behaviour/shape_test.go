package behaviour

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

// What the policy says of a request that it refuses; a role that lacks a right says something else.
const byPolicy = "ValidatingAdmissionPolicy"

var _ = promised(TestControllerShape, everyChange,
	"Who has the controller's token can write only objects of the shape that the controller writes.")

// Who has the controller's token can make what the controller makes, and nothing else: each field that would be more is tried, as the controller,
// in a Deployment that is there and in a new one. Nothing of it is written.
func TestControllerShape(t *testing.T) {
	s := begin(t, "shape")
	s.gateway("shape", 1)
	controller := s.asController()
	const name = "shape-fairway"
	deployment, err := cluster.Get(s.ctx, "Deployment", s.namespace, name)
	s.must(err)
	fresh := freshDeployment(deployment, name, "again-fairway")

	try := func(kind, what string, patch []addition) (changed, made error) {
		text, err := json.Marshal(patch)
		s.must(err)
		of := controller.Resource(scene.ResourceOf(kind)).Namespace(s.namespace)
		_, changed = of.Patch(s.ctx, name, types.JSONPatchType, text, metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}})
		if kind == "Deployment" {
			object := fresh.DeepCopy()
			for _, it := range patch {
				s.must(it.apply(object.Object))
			}
			_, made = of.Create(s.ctx, object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		}
		return changed, made
	}
	if changed, made := try("Deployment", "a label", []addition{{"add", "/metadata/labels/shape", "x"}}); changed != nil || made != nil {
		s.Fatalf("what the controller may do is refused: %v; %v", changed, made)
	}
	const (
		template  = "/spec/template"
		pod       = template + "/spec"
		container = pod + "/containers/0"
	)
	type object = map[string]any
	type list = []any
	for _, it := range []struct {
		kind, path string
		value      any
	}{
		{"Deployment", pod + "/hostNetwork", true},
		{"Deployment", pod + "/hostPID", true},
		{"Deployment", pod + "/hostIPC", true},
		{"Deployment", pod + "/hostUsers", true},
		{"Deployment", pod + "/shareProcessNamespace", true},
		{"Deployment", pod + "/nodeName", "n1"},
		{"Deployment", pod + "/schedulerName", "mine"},
		{"Deployment", pod + "/priorityClassName", "system-node-critical"},
		{"Deployment", pod + "/runtimeClassName", "mine"},
		{"Deployment", pod + "/serviceAccountName", "default"},
		{"Deployment", pod + "/automountServiceAccountToken", true},
		{"Deployment", pod + "/hostAliases", list{object{"ip": "10.0.0.1", "hostnames": list{"bank"}}}},
		{"Deployment", pod + "/dnsConfig", object{"nameservers": list{"10.0.0.1"}}},
		{"Deployment", pod + "/initContainers", list{object{"name": "x", "image": *image}}},
		{"Deployment", pod + "/containers/-", object{"name": "x", "image": *image}},
		{"Deployment", pod + "/securityContext/runAsUser", 0},
		{"Deployment", pod + "/securityContext/runAsNonRoot", false},
		{"Deployment", pod + "/securityContext/supplementalGroups", list{0}},
		{"Deployment", pod + "/securityContext/seccompProfile", object{"type": "Unconfined"}},
		{"Deployment", pod + "/securityContext/appArmorProfile", object{"type": "Unconfined"}},
		{"Deployment", pod + "/securityContext/seLinuxOptions", object{"type": "spc_t"}},
		{"Deployment", container + "/image", *image},
		{"Deployment", container + "/command", list{"sh"}},
		{"Deployment", container + "/args/-", "--admin=0.0.0.0:15000"},
		{"Deployment", container + "/env/-", object{"name": "LD_PRELOAD", "value": "/x"}},
		{"Deployment", container + "/envFrom", list{object{"secretRef": object{"name": "x"}}}},
		{"Deployment", container + "/ports/0/hostPort", 15020},
		{"Deployment", container + "/lifecycle", object{"preStop": object{"exec": object{"command": list{"sh"}}}}},
		{"Deployment", container + "/livenessProbe", object{"httpGet": object{"host": "10.0.0.1", "port": 80}}},
		{"Deployment", container + "/readinessProbe/httpGet/host", "10.0.0.1"},
		{"Deployment", container + "/securityContext/allowPrivilegeEscalation", true},
		{"Deployment", container + "/securityContext/readOnlyRootFilesystem", false},
		{"Deployment", container + "/securityContext/runAsUser", 0},
		{"Deployment", container + "/securityContext/capabilities/add", list{"SYS_MODULE"}},
		{"Deployment", container + "/securityContext/capabilities/drop", list{"NET_RAW"}},
		{"Deployment", container + "/securityContext/procMount", "Unmasked"},
		{"Deployment", container + "/securityContext/seccompProfile", object{"type": "Unconfined"}},
		{"Deployment", pod + "/volumes/-", object{"name": "x", "hostPath": object{"path": "/"}}},
		{"Deployment", pod + "/volumes/-", object{"name": "x", "secret": object{"secretName": "x"}}},
		{"Deployment", pod + "/volumes/-", object{"name": "x", "persistentVolumeClaim": object{"claimName": "x"}}},
		{"Deployment", template + "/metadata/annotations/sidecar.istio.io~1proxyImage", "x"},
		{"Deployment", "/spec/replicas", 1000},
		{"Service", "/spec/externalIPs", list{"192.0.2.1"}},
		{"Service", "/spec/selector", object{"app": "bank"}},
		{"ServiceAccount", "/automountServiceAccountToken", true},
		{"ServiceAccount", "/imagePullSecrets", list{object{"name": "x"}}},
		{"ServiceAccount", "/metadata/annotations/eks.amazonaws.com~1role-arn", "x"},
		{"ConfigMap", "/data/Corefile", "x"},
		{"PodDisruptionBudget", "/spec/selector", object{"matchLabels": object{"app": "bank"}}},
	} {
		changed, made := try(it.kind, it.path, []addition{{"add", it.path, it.value}})
		errs := []error{changed}
		if it.kind == "Deployment" {
			errs = append(errs, made)
		}
		for _, err := range errs {
			switch {
			case err == nil:
				s.Errorf("%s %s: %v is taken from the controller", it.kind, it.path, it.value)
			case !strings.Contains(err.Error(), byPolicy) && !apierrors.IsInvalid(err):
				s.Errorf("%s %s: refused by something else: %v", it.kind, it.path, err)
			}
		}
	}
}

var _ = promised(TestHandMadeProxy, everyChange,
	"A pod that somebody makes with the service account of a Gateway's proxy gets neither its configuration nor its identity.")

// A pod that somebody made with the service account of a Gateway's proxy is not that proxy.
func TestHandMadeProxy(t *testing.T) {
	s := begin(t, "handmade")
	s.gateway("gw", 1)
	identity := fmt.Sprintf("spiffe://cluster.local/ns/%s/sa/gw-fairway", s.namespace)
	proxies := s.proxies("gw")
	if code, message := s.issue(s.tokenOf("gw-fairway", proxies[0]), identity); code != granted {
		s.Fatalf("the proxy itself: code %d (%s)", code, message)
	}
	// It copies everything that can be written: labels, owner, service account.
	owner, err := json.Marshal(proxies[0].GetOwnerReferences())
	s.must(err)
	labels, err := json.Marshal(proxies[0].GetLabels())
	s.must(err)
	for name, metadata := range map[string]string{
		"plain":  "{name: plain, namespace: NAMESPACE}",
		"labels": "{name: labels, namespace: NAMESPACE, labels: {app.kubernetes.io/part-of: fairway}}",
		"owned":  fmt.Sprintf(`{name: owned, namespace: NAMESPACE, labels: %s, ownerReferences: %s}`, labels, owner),
	} {
		s.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: %s
spec:
  serviceAccountName: gw-fairway
  terminationGracePeriodSeconds: 1
  containers: [{name: waypoint, image: %s, imagePullPolicy: IfNotPresent}]
`, metadata, *image))
		pod, err := cluster.Get(s.ctx, "Pod", s.namespace, name)
		s.must(err)
		if pod == nil {
			continue // its would-be owner has found one too many
		}
		token := s.tokenOf("gw-fairway", pod)
		if token == "" {
			continue // the same, a moment later
		}
		if code, message := s.issue(token, identity); code != permissionDenied {
			now, err := cluster.Get(s.ctx, "Pod", s.namespace, name)
			s.must(err)
			if code != granted && (now == nil || now.GetDeletionTimestamp() != nil) {
				continue // and another moment later: its token ends with it
			}
			s.Errorf("%s: code %d (%s), want %d", name, code, message, permissionDenied)
		}
	}
}

// tokenOf is the token that a pod of a service account has for Fairway; empty if the pod is gone.
func (s *stage) tokenOf(account string, pod *scene.Object) string {
	s.Helper()
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences:      []string{"fairway.dev"},
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.GetName(), UID: pod.GetUID()},
	}}
	made, err := cluster.Core.CoreV1().ServiceAccounts(s.namespace).CreateToken(s.ctx, account, request, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) {
		return ""
	}
	s.must(err)
	return made.Status.Token
}

// asController is a client with a token of the controller.
func (s *stage) asController() dynamic.Interface {
	s.Helper()
	made, err := cluster.Core.CoreV1().ServiceAccounts(systemNamespace).CreateToken(s.ctx, controllerName, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	s.must(err)
	config := rest.AnonymousClientConfig(cluster.Config)
	config.BearerToken = made.Status.Token
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	s.must(err)
	return client
}

// freshDeployment is what the controller would make under another name.
func freshDeployment(there *scene.Object, old, name string) *scene.Object {
	object := there.DeepCopy()
	unstructured.RemoveNestedField(object.Object, "status")
	metadata := object.Object["metadata"].(map[string]any)
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"} {
		delete(metadata, field)
	}
	// Its name is in arguments and volumes as well.
	text, err := json.Marshal(object.Object)
	if err == nil {
		err = json.Unmarshal([]byte(strings.ReplaceAll(string(text), old, name)), &object.Object)
	}
	if err != nil {
		panic(err) // it was JSON a moment ago
	}
	return object
}

// addition is an operation of a JSON patch: only "add".
type addition struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// apply does it to an object here, for one that is not there yet.
func (c addition) apply(object map[string]any) error {
	text, err := json.Marshal(c.Value)
	if err != nil {
		return err
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		return err
	}
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	parts := strings.Split(strings.TrimPrefix(c.Path, "/"), "/")
	var set func(at any, parts []string) (any, error)
	set = func(at any, parts []string) (any, error) {
		if len(parts) == 0 {
			return value, nil
		}
		switch into := at.(type) {
		case map[string]any:
			key := unescape.Replace(parts[0])
			inner, err := set(into[key], parts[1:])
			into[key] = inner
			return into, err
		case []any:
			if parts[0] == "-" {
				return append(into, value), nil
			}
			inner, err := set(into[0], parts[1:])
			into[0] = inner
			return into, err
		}
		return nil, fmt.Errorf("%s: nothing is there", c.Path)
	}
	_, err = set(object, parts)
	return err
}
