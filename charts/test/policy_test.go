package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"
)

// What provisioning makes is written down by its own tests, in the controller.
const snapshots = "../../controller/src/provision/tests/snapshots/fairway_controller__provision__tests__plans__*.snap"

// allowing are values with which everything that those tests wish for may be made.
var allowing = []string{
	"--set-string", "waypoint.image.tag=1",
	"--set", "gatewayParameters.allowedImages={mirror/waypoint,below.example/}",
	"--set", "gatewayParameters.allowedPriorityClasses={high}",
	"--set", "gatewayParameters.allowedAnnotations={net.example/,vault.example/role}",
}

// judge is a ValidatingAdmissionPolicy that can be asked, as an API server asks it.
type judge struct {
	names       []string
	variables   map[string]cel.Program
	validations []validation
}

type validation struct {
	says, expression string
	holds            cel.Program
	message          cel.Program
}

// a request: what is written, and what was there.
type request struct {
	resource    string
	object, old map[string]any
}

var ofVariable = regexp.MustCompile(`\bvariables\.`)

// newPolicy is the policy for what is provisioned.
func newPolicy(t *testing.T, arguments ...string) *judge {
	t.Helper()
	return policyNamed(t, "-provision", arguments...)
}

// policyNamed compiles every expression of a policy with the types that an API server gives it.
func policyNamed(t *testing.T, suffix string, arguments ...string) *judge {
	t.Helper()
	for _, object := range objects(t, render(t, fairway, arguments...)) {
		read, ok := typed(t, object).(*admissionv1.ValidatingAdmissionPolicy)
		if !ok || !strings.HasSuffix(read.Name, suffix) {
			continue
		}
		env, err := cel.NewEnv(ext.Strings(ext.StringsVersion(2)), cel.HomogeneousAggregateLiterals(), cel.DefaultUTCTimeZone(true),
			cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType), cel.Variable("request", cel.DynType))
		if err != nil {
			t.Fatal(err)
		}
		compile := func(what, expression string) (*cel.Ast, cel.Program) {
			ast, issues := env.Compile(ofVariable.ReplaceAllString(expression, "variables_"))
			if issues.Err() != nil {
				t.Fatalf("%s: %v", what, issues.Err())
			}
			program, err := env.Program(ast, cel.CostLimit(10_000_000))
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			return ast, program
		}
		it := &judge{variables: map[string]cel.Program{}}
		for _, variable := range read.Spec.Variables {
			ast, program := compile(variable.Name, variable.Expression)
			it.names = append(it.names, variable.Name)
			it.variables[variable.Name] = program
			if env, err = env.Extend(cel.Variable("variables_"+variable.Name, ast.OutputType())); err != nil {
				t.Fatal(err)
			}
		}
		for _, each := range read.Spec.Validations {
			_, holds := compile(each.Expression, each.Expression)
			one := validation{says: each.Message, expression: each.Expression, holds: holds}
			if each.MessageExpression != "" {
				ast, program := compile(each.MessageExpression, each.MessageExpression)
				if !ast.OutputType().IsAssignableType(cel.StringType) {
					t.Errorf("%s is %s, no text", each.MessageExpression, ast.OutputType())
				}
				one.message = program
			}
			it.validations = append(it.validations, one)
		}
		return it
	}
	t.Fatal("no policy ", suffix)
	return nil
}

// asked returns why a request is refused; empty when it is not. What errs is refused, too.
func (p *judge) asked(t *testing.T, r request) []string {
	t.Helper()
	metadata := r.object
	if metadata == nil {
		metadata = r.old
	}
	named := metadata["metadata"].(map[string]any)
	activation := map[string]any{
		"object": nilOr(r.object), "oldObject": nilOr(r.old),
		"request": map[string]any{"resource": map[string]any{"resource": r.resource}, "namespace": named["namespace"], "name": named["name"]},
	}
	for _, name := range p.names {
		// An API server works them out when they are needed: what errs is missed only by who asks for it.
		if value, _, err := p.variables[name].Eval(activation); err == nil {
			activation["variables_"+name] = value
		}
	}
	var why []string
	for _, each := range p.validations {
		value, _, err := each.holds.Eval(activation)
		switch {
		case err != nil:
			why = append(why, "error: "+err.Error())
		case value.Value() == true:
		case each.message != nil:
			text, _, err := each.message.Eval(activation)
			if err != nil {
				t.Errorf("the message of %s: %v", each.expression, err)
				continue
			}
			why = append(why, fmt.Sprint(text.Value()))
		default:
			why = append(why, each.says)
		}
	}
	return why
}

func nilOr(object map[string]any) any {
	if object == nil {
		return nil
	}
	return object
}

// made are the manifests of a snapshot, as an API server shows them to admission: with its defaults.
func made(t *testing.T) map[string][]map[string]any {
	t.Helper()
	files, err := filepath.Glob(snapshots)
	if err != nil || len(files) == 0 {
		t.Fatal("no snapshots", err)
	}
	found := map[string][]map[string]any{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(strings.TrimPrefix(string(text), "---\n"), "---\n")
		var manifests []map[string]any
		if err := yaml.Unmarshal([]byte(body), &manifests); err != nil {
			t.Fatal(file, err)
		}
		for _, it := range manifests {
			withDefaults(it)
		}
		found[filepath.Base(file)] = manifests
	}
	return found
}

func resourceOf(object map[string]any) string {
	return strings.ToLower(object["kind"].(string)) + "s"
}

// withDefaults fills in what an API server does, as far as a policy can see it.
func withDefaults(object map[string]any) {
	put := func(into map[string]any, fields map[string]any) {
		for key, value := range fields {
			if _, there := into[key]; !there {
				into[key] = value
			}
		}
	}
	put(object["metadata"].(map[string]any), map[string]any{"creationTimestamp": nil, "uid": "u", "managedFields": []any{}})
	spec, _ := object["spec"].(map[string]any)
	switch object["kind"] {
	case "Service":
		put(spec, map[string]any{"clusterIP": "10.96.0.9", "clusterIPs": []any{"10.96.0.9"}, "ipFamilies": []any{"IPv4"}, "internalTrafficPolicy": "Cluster",
			"sessionAffinity": "None", "allocateLoadBalancerNodePorts": true, "healthCheckNodePort": int64(30001)})
		object["status"] = map[string]any{"loadBalancer": map[string]any{}}
	case "Deployment":
		put(spec, map[string]any{"progressDeadlineSeconds": int64(600), "replicas": int64(1)})
		object["status"] = map[string]any{}
		template := spec["template"].(map[string]any)
		put(template["metadata"].(map[string]any), map[string]any{"creationTimestamp": nil})
		pod := template["spec"].(map[string]any)
		put(pod, map[string]any{"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "serviceAccount": pod["serviceAccountName"]})
		container := pod["containers"].([]any)[0].(map[string]any)
		put(container, map[string]any{"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"})
		for _, name := range []string{"startupProbe", "readinessProbe"} {
			probe := container[name].(map[string]any)
			put(probe, map[string]any{"successThreshold": int64(1), "failureThreshold": int64(3)})
			put(probe["httpGet"].(map[string]any), map[string]any{"scheme": "HTTP"})
		}
	}
}

func TestThePolicyTakesEverythingThatProvisioningMakes(t *testing.T) {
	asked := newPolicy(t, allowing...)
	for file, manifests := range made(t) {
		for _, object := range manifests {
			for _, old := range []map[string]any{nil, object} {
				if why := asked.asked(t, request{resourceOf(object), object, old}); why != nil {
					t.Errorf("%s: %s: %q", file, nameOf(object), why)
				}
			}
			if why := asked.asked(t, request{resourceOf(object), nil, object}); why != nil {
				t.Errorf("%s: deleting %s: %q", file, nameOf(object), why)
			}
		}
	}
}

// edit is an object that is changed at a path: maps by key, lists by index; "+" puts something more into a list.
func edit(t *testing.T, object map[string]any, path string, value any) map[string]any {
	t.Helper()
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	var copied map[string]any
	if err := yaml.Unmarshal(text, &copied); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(path, " ")
	var set func(at any, parts []string) any
	set = func(at any, parts []string) any {
		if len(parts) == 0 {
			return value
		}
		if list, ok := at.([]any); ok {
			if parts[0] == "+" {
				return append(list, value)
			}
			list[0] = set(list[0], parts[1:])
			return list
		}
		into, ok := at.(map[string]any)
		if !ok {
			into = map[string]any{}
			if parts[0] == "+" {
				return []any{value}
			}
		}
		into[parts[0]] = set(into[parts[0]], parts[1:])
		return into
	}
	return set(copied, parts).(map[string]any)
}

const (
	inTemplate  = "spec template "
	inPod       = inTemplate + "spec "
	inContainer = inPod + "containers 0 "
)

type object = map[string]any
type list = []any

// forbidden is one change, or more, for each field that whoever has the controller's token would like to have.
var forbidden = map[string][]struct {
	path  string
	value any
}{
	"Deployment": {
		{inPod + "hostNetwork", true}, {inPod + "hostPID", true}, {inPod + "hostIPC", true}, {inPod + "hostUsers", true}, {inPod + "shareProcessNamespace", true},
		{inPod + "hostname", "db-0"}, {inPod + "subdomain", "db"}, {inPod + "hostAliases", list{object{"ip": "10.0.0.1", "hostnames": list{"bank"}}}}, {inPod + "setHostnameAsFQDN", true},
		{inPod + "dnsPolicy", "None"}, {inPod + "dnsConfig", object{"nameservers": list{"10.0.0.1"}}}, {inPod + "nodeName", "control-plane"}, {inPod + "schedulerName", "mine"},
		{inPod + "runtimeClassName", "kata-privileged"}, {inPod + "priorityClassName", "system-node-critical"}, {inPod + "priority", 2000000000}, {inPod + "preemptionPolicy", "PreemptLowerPriority"},
		{inPod + "restartPolicy", "Never"}, {inPod + "activeDeadlineSeconds", 1}, {inPod + "overhead", object{"cpu": "1"}}, {inPod + "readinessGates", list{object{"conditionType": "x"}}},
		{inPod + "schedulingGates", list{object{"name": "x"}}}, {inPod + "resourceClaims", list{object{"name": "gpu"}}}, {inPod + "resources", object{}}, {inPod + "os", object{"name": "linux"}},
		{inPod + "serviceAccountName", "default"}, {inPod + "serviceAccount", "cluster-admin"}, {inPod + "automountServiceAccountToken", true}, {inPod + "enableServiceLinks", true},
		{inPod + "initContainers", list{object{"name": "x", "image": "evil"}}}, {inPod + "ephemeralContainers", list{object{"name": "x", "image": "evil"}}},
		{inPod + "containers +", object{"name": "sidecar", "image": "ghcr.io/fairway-dev/fairway-waypoint:1"}}, {inPod + "containers", list{}}, {inPod + "aFieldOfTomorrow", true},
		{inPod + "securityContext", nil}, {inPod + "securityContext runAsUser", 0}, {inPod + "securityContext runAsGroup", 0}, {inPod + "securityContext runAsNonRoot", false},
		{inPod + "securityContext fsGroup", 0}, {inPod + "securityContext supplementalGroups", list{0}}, {inPod + "securityContext seccompProfile", object{"type": "Unconfined"}},
		{inPod + "securityContext seccompProfile", object{"type": "Localhost", "localhostProfile": "x"}}, {inPod + "securityContext appArmorProfile", object{"type": "Unconfined"}},
		{inPod + "securityContext seLinuxOptions", object{"type": "spc_t"}}, {inPod + "securityContext windowsOptions", object{"hostProcess": true}}, {inPod + "securityContext fsGroupChangePolicy", "Always"},
		{inPod + "securityContext sysctls +", object{"name": "kernel.msgmax", "value": "1"}}, {inPod + "securityContext sysctls +", object{"name": "net.ipv4.ip_unprivileged_port_start", "value": "70000"}},
		{inContainer + "name", "other"}, {inContainer + "image", "evil"}, {inContainer + "image", "ghcr.io/fairway-dev/fairway-waypoint:2:5000/evil"}, {inContainer + "image", "ghcr.io/fairway-dev/fairway-waypoint-evil:1"},
		{inContainer + "image", "mirror/waypoint:5000/evil"}, {inContainer + "image", "below.example.evil/x"}, {inContainer + "command", list{"/bin/sh"}}, {inContainer + "workingDir", "/"},
		{inContainer + "args +", "--admin=0.0.0.0:15000"}, {inContainer + "args +", "--gateway=bank/public"}, {inContainer + "args +", "--controller=https://evil.example:15010"},
		{inContainer + "args +", "--controller=https://fairway-controller.fairway-system.svc:15010.evil.example:1"}, {inContainer + "args +", "--identity=spiffe://cluster.local/ns/bank/sa/ledger"},
		{inContainer + "args +", "--state-file=/proc/1/root"}, {inContainer + "args +", "--token=/etc/shadow"}, {inContainer + "args", nil},
		{inContainer + "env +", object{"name": "LD_PRELOAD", "value": "/x.so"}}, {inContainer + "env +", object{"name": "NODE_NAME", "value": "n2"}},
		{inContainer + "env +", object{"name": "NODE_NAME", "valueFrom": object{"secretKeyRef": object{"name": "s", "key": "k"}}}}, {inContainer + "env +", object{"name": "NODE_ZONE", "valueFrom": object{"configMapKeyRef": object{"name": "s", "key": "k"}}}},
		{inContainer + "env +", object{"name": "NODE_NAME", "valueFrom": object{"fieldRef": object{"fieldPath": "metadata.annotations"}}}},
		{inContainer + "envFrom", list{object{"secretRef": object{"name": "s"}}}}, {inContainer + "ports +", object{"containerPort": 80, "hostPort": 80}}, {inContainer + "ports +", object{"containerPort": 80, "hostIP": "0.0.0.0"}},
		{inContainer + "resources claims", list{object{"name": "gpu"}}}, {inContainer + "resizePolicy", list{object{"resourceName": "cpu", "restartPolicy": "NotRequired"}}}, {inContainer + "restartPolicy", "Always"},
		{inContainer + "lifecycle", object{"postStart": object{"httpGet": object{"host": "10.0.0.1", "port": 80}}}}, {inContainer + "livenessProbe", object{"exec": object{"command": list{"sh"}}}},
		{inContainer + "startupProbe", object{"exec": object{"command": list{"sh"}}}}, {inContainer + "readinessProbe httpGet host", "10.0.0.1"}, {inContainer + "readinessProbe httpGet port", 80},
		{inContainer + "readinessProbe httpGet path", "/admin/delete"}, {inContainer + "readinessProbe httpGet httpHeaders", list{object{"name": "Host", "value": "bank"}}}, {inContainer + "readinessProbe tcpSocket", object{"port": 1}},
		{inContainer + "readinessProbe terminationGracePeriodSeconds", 1}, {inContainer + "stdin", true}, {inContainer + "tty", true}, {inContainer + "volumeDevices", list{object{"name": "d", "devicePath": "/dev/sda"}}},
		{inContainer + "securityContext", nil}, {inContainer + "securityContext privileged", true}, {inContainer + "securityContext allowPrivilegeEscalation", true}, {inContainer + "securityContext runAsUser", 0},
		{inContainer + "securityContext runAsNonRoot", false}, {inContainer + "securityContext readOnlyRootFilesystem", false}, {inContainer + "securityContext procMount", "Unmasked"},
		{inContainer + "securityContext seccompProfile", object{"type": "Unconfined"}}, {inContainer + "securityContext appArmorProfile", object{"type": "Unconfined"}}, {inContainer + "securityContext seLinuxOptions", object{"type": "spc_t"}},
		{inContainer + "securityContext capabilities add", list{"SYS_ADMIN"}}, {inContainer + "securityContext capabilities add", list{"NET_BIND_SERVICE"}}, {inContainer + "securityContext capabilities drop", list{"NET_RAW"}},
		{inContainer + "securityContext capabilities", object{}}, {inContainer + "terminationMessagePath", "/etc/x"},
		{inContainer + "volumeMounts +", object{"name": "roots", "mountPath": "/usr/local/bin"}}, {inContainer + "volumeMounts +", object{"name": "state", "mountPath": "/var/lib/fairway", "mountPropagation": "Bidirectional"}},
		{inContainer + "volumeMounts +", object{"name": "state", "mountPath": "/var/lib/fairway", "subPathExpr": "$(X)"}}, {inContainer + "volumeMounts +", object{"name": "other", "mountPath": "/var/lib/fairway"}},
		{inPod + "volumes +", object{"name": "state", "hostPath": object{"path": "/"}}}, {inPod + "volumes +", object{"name": "state", "emptyDir": object{"medium": "Memory"}}}, {inPod + "volumes +", object{"name": "x", "emptyDir": object{}}},
		{inPod + "volumes +", object{"name": "roots", "secret": object{"secretName": "s"}}}, {inPod + "volumes +", object{"name": "roots", "configMap": object{"name": "other"}}}, {inPod + "volumes +", object{"name": "x", "persistentVolumeClaim": object{"claimName": "db"}}},
		{inPod + "volumes +", object{"name": "x", "csi": object{"driver": "d"}}}, {inPod + "volumes +", object{"name": "x", "image": object{"reference": "evil"}}}, {inPod + "volumes +", object{"name": "x", "ephemeral": object{}}},
		{inPod + "volumes +", object{"name": "token", "projected": object{"sources": list{object{"secret": object{"name": "s"}}}}}}, {inPod + "volumes +", object{"name": "token", "projected": object{"sources": list{object{"serviceAccountToken": object{"path": "t"}}}}}},
		{inPod + "volumes +", object{"name": "token", "projected": object{"sources": list{object{"serviceAccountToken": object{"path": "t", "audience": "vault"}}}}}}, {inPod + "volumes +", object{"name": "token", "projected": object{"sources": list{object{"clusterTrustBundle": object{}}}}}},
		{inPod + "volumes +", ofToken(object{"path": "../token", "audience": "fairway.dev", "expirationSeconds": 3600})}, {inPod + "volumes +", ofToken(object{"path": "token", "audience": "fairway.dev", "expirationSeconds": 86400})},
		{inPod + "volumes +", ofToken(object{"path": "token", "audience": "fairway.dev"})}, {inPod + "volumes +", object{"name": "token", "projected": object{"sources": list{}}}},
		{inPod + "volumes +", object{"name": "roots", "configMap": object{"name": "public-fairway", "items": list{object{"key": "ca.crt", "path": "../x"}}}}},
		{inPod + "volumes +", object{"name": "roots", "configMap": object{"name": "public-fairway", "optional": true}}},
		{inTemplate + "metadata annotations sidecar.istio.io/proxyImage", "evil"}, {inTemplate + "metadata annotations k8s.v1.cni.cncf.io/networks", "bank"}, {inTemplate + "metadata annotations vault.example/role-x", "x"},
		{inTemplate + "metadata annotations net.example.evil/x", "x"}, {inTemplate + "metadata finalizers", list{"x/y"}}, {inTemplate + "metadata ownerReferences", list{object{"kind": "Node"}}},
		{"spec replicas", 51}, {"spec paused", true}, {"spec minReadySeconds", 1}, {"spec selector matchLabels", object{"app": "bank"}}, {"spec selector matchExpressions", list{object{"key": "x", "operator": "Exists"}}},
		{"metadata finalizers", list{"x/y"}}, {"metadata ownerReferences", list{object{"kind": "Deployment", "apiVersion": "apps/v1", "name": "x", "uid": "u"}}}, {"metadata labels", object{}}, {"aTopField", true},
	},
	"Service": {
		{"spec externalIPs", list{"192.0.2.1"}}, {"spec externalName", "evil.example"}, {"spec type", "ExternalName"}, {"spec selector", object{"app": "bank"}}, {"spec selector", object{}}, {"spec publishNotReadyAddresses", true},
		{"spec loadBalancerSourceRanges", list{"0.0.0.0/0"}}, {"spec sessionAffinityConfig", object{}}, {"spec trafficDistribution", "PreferClose"}, {"metadata labels", object{}}, {"metadata finalizers", list{"x/y"}},
	},
	"ServiceAccount": {
		{"automountServiceAccountToken", true}, {"secrets", list{object{"name": "s"}}}, {"imagePullSecrets", list{object{"name": "s"}}}, {"metadata annotations eks.amazonaws.com/role-arn", "admin"}, {"metadata annotations iam.gke.io/gcp-service-account", "admin"},
	},
	"ConfigMap":           {{"data Corefile", "."}, {"binaryData", object{"x": "eA=="}}, {"immutable", true}},
	"PodDisruptionBudget": {{"spec selector", object{"matchLabels": object{"app": "bank"}}}, {"spec selector", object{}}, {"spec aField", 1}},
	"HorizontalPodAutoscaler": {
		{"spec scaleTargetRef", object{"apiVersion": "apps/v1", "kind": "Deployment", "name": "bank"}}, {"spec scaleTargetRef", object{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "public-fairway"}},
		{"spec maxReplicas", 51}, {"spec behavior", object{}}, {"spec targetCPUUtilizationPercentage", 1},
	},
}

// ofToken is a volume with a token of the service account.
func ofToken(token object) object {
	return object{"name": "token", "projected": object{"sources": list{object{"serviceAccountToken": token}}}}
}

func TestThePolicyRefusesEverythingElse(t *testing.T) {
	asked := newPolicy(t, allowing...)
	manifests := made(t)["fairway_controller__provision__tests__plans__a_gateway_with_every_parameter.snap"]
	judged := map[string]bool{}
	for _, good := range manifests {
		kind := good["kind"].(string)
		judged[kind] = true
		for _, it := range forbidden[kind] {
			bad := edit(t, good, it.path, it.value)
			// Made so, and changed to it.
			for _, old := range []map[string]any{nil, good} {
				if asked.asked(t, request{resourceOf(good), bad, old}) == nil {
					t.Errorf("%s: %s: %v is let through", kind, it.path, it.value)
				}
			}
		}
	}
	for kind := range forbidden {
		if !judged[kind] {
			t.Errorf("provisioning makes no %s", kind)
		}
	}
}

// What people, webhooks and other controllers wrote is left to them: it does not stop the controller.
func TestThePolicyJudgesWhatTheControllerChanges(t *testing.T) {
	asked := newPolicy(t, allowing...)
	for _, good := range made(t)["fairway_controller__provision__tests__plans__a_gateway_with_every_parameter.snap"] {
		for _, path := range map[string][]string{
			"Deployment":     {inPod + "hostname", "spec paused", inContainer + "image"},
			"Service":        {"spec loadBalancerSourceRanges", "spec trafficDistribution"},
			"ServiceAccount": {"imagePullSecrets", "secrets"},
		}[good["kind"].(string)] {
			old := edit(t, good, path, "x")
			now := edit(t, old, "metadata labels cost", "8")
			if why := asked.asked(t, request{resourceOf(good), now, old}); why != nil {
				t.Errorf("%s: %s: %q", nameOf(good), path, why)
			}
		}
	}
	restarted := edit(t, deploymentOf(t), inTemplate+"metadata annotations kubectl.kubernetes.io/restartedAt", "now")
	if why := asked.asked(t, request{"deployments", restarted, deploymentOf(t)}); why != nil {
		t.Errorf("after kubectl rollout restart: %q", why)
	}
}

// Without values to that end nothing of all that may be chosen.
func TestByDefaultNobodyChoosesARight(t *testing.T) {
	asked := newPolicy(t, "--set-string", "waypoint.image.tag=1")
	why := strings.Join(asked.asked(t, request{"deployments", deploymentOf(t), nil}), "\n")
	for _, word := range []string{"gatewayParameters.allowedImages", "gatewayParameters.allowedPriorityClasses"} {
		if !strings.Contains(why, word) {
			t.Errorf("%s is not named in %q", word, why)
		}
	}
	plain := made(t)["fairway_controller__provision__tests__plans__a_gateway_without_parameters.snap"]
	for _, it := range plain {
		if why := asked.asked(t, request{resourceOf(it), it, nil}); why != nil {
			t.Errorf("%s: %q", nameOf(it), why)
		}
	}
}

// Of Gateways only waypoints, and of Secrets and ConfigMaps the roots.
func TestThePolicyKnowsWaypointsAndRoots(t *testing.T) {
	asked := newPolicy(t, allowing...)
	labels := object{"app.kubernetes.io/managed-by": "fairway-controller", "gateway.networking.k8s.io/gateway-name": "waypoint"}
	waypoint := object{
		"metadata": object{"name": "waypoint", "namespace": "shop", "labels": labels},
		"spec": object{"gatewayClassName": "fairway-waypoint", "allowedListeners": object{"namespaces": object{"from": "None"}},
			"listeners": list{object{"name": "mesh", "port": 15008, "protocol": "HBONE", "allowedRoutes": object{"namespaces": object{"from": "Same"}}}}},
	}
	secret := func(name, kind string) object {
		return object{"metadata": object{"name": name, "namespace": "fairway-system"}, "type": kind, "data": object{"x": "eA=="}}
	}
	for _, it := range []struct {
		says     string
		resource string
		object   object
		taken    bool
	}{
		{"a waypoint", "gateways", waypoint, true},
		{"a Gateway", "gateways", edit(t, waypoint, "spec gatewayClassName", "fairway"), false},
		{"a waypoint with parameters", "gateways", edit(t, waypoint, "spec infrastructure", object{"parametersRef": object{}}), false},
		{"a waypoint with an address", "gateways", edit(t, waypoint, "spec addresses", list{object{"value": "10.0.0.1"}}), false},
		{"a waypoint that listens elsewhere", "gateways", edit(t, waypoint, "spec listeners 0 port", 80), false},
		{"the roots", "secrets", secret("fairway-ca", "Opaque"), true},
		{"a token", "secrets", secret("fairway-ca", "kubernetes.io/service-account-token"), false},
		{"another Secret", "secrets", secret("other", "Opaque"), false},
		{"the published roots", "configmaps", object{"metadata": object{"name": "fairway-roots", "namespace": "fairway-system"}, "data": object{"ca.crt": "x"}}, true},
		{"such roots elsewhere", "configmaps", object{"metadata": object{"name": "fairway-roots", "namespace": "shop"}, "data": object{"ca.crt": "x"}}, false},
	} {
		if why := asked.asked(t, request{it.resource, it.object, nil}); (why == nil) != it.taken {
			t.Errorf("%s: %q", it.says, why)
		}
	}
	foreign := edit(t, deploymentOf(t), "metadata labels", object{})
	for _, now := range []object{nil, deploymentOf(t)} {
		if asked.asked(t, request{"deployments", now, foreign}) == nil {
			t.Error("somebody else's Deployment is changed or deleted")
		}
	}
}

func deploymentOf(t *testing.T) map[string]any {
	t.Helper()
	all := made(t)["fairway_controller__provision__tests__plans__a_gateway_with_every_parameter.snap"]
	at := slices.IndexFunc(all, func(it map[string]any) bool { return it["kind"] == "Deployment" })
	return maps.Clone(all[at])
}
