package test

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// foreign are kinds of others whose types are not worth a dependency.
var foreign = []string{"PodMonitor"}

// typed reads an object as strictly as an API server: no unknown field, no wrong type.
func typed(t *testing.T, object map[string]any) runtime.Object {
	t.Helper()
	text, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	codecs := serializer.NewCodecFactory(known(t), serializer.EnableStrict)
	read, _, err := codecs.UniversalDeserializer().Decode(text, nil, nil)
	if err != nil {
		t.Fatalf("%s: %v", nameOf(object), err)
	}
	return read
}

func known(t *testing.T) *runtime.Scheme {
	t.Helper()
	types := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, gatewayv1.Install, apiextensionsv1.AddToScheme} {
		if err := add(types); err != nil {
			t.Fatal(err)
		}
	}
	return types
}

func TestAnAPIServerWouldTakeEveryObject(t *testing.T) {
	for _, values := range cases(t) {
		for _, object := range objects(t, render(t, fairway, "--values", values)) {
			if !slices.Contains(foreign, object["kind"].(string)) {
				typed(t, object)
			}
		}
	}
	for _, object := range objects(t, render(t, crds, "--set", "gatewayAPI.install=true", "--set", "gatewayAPI.channel=experimental")) {
		typed(t, object)
	}
}

func TestEveryObjectIsLabelled(t *testing.T) {
	for _, values := range cases(t) {
		for _, object := range objects(t, render(t, fairway, "--values", values, "--set", "commonLabels.of=all")) {
			labels, _ := object["metadata"].(map[string]any)["labels"].(map[string]any)
			for _, key := range []string{"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/part-of", "app.kubernetes.io/managed-by", "helm.sh/chart", "of"} {
				if labels[key] == nil {
					t.Errorf("%s has no label %s", nameOf(object), key)
				}
			}
		}
	}
}

func TestTheControllerMeetsRestrictedPodSecurity(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pod := deployment(t, "default").Spec.Template
	for _, result := range evaluator.EvaluatePod(api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec) {
		if !result.Allowed {
			t.Errorf("%s: %s", result.ForbiddenReason, result.ForbiddenDetail)
		}
	}
}

// A chart of another version must not restart a controller that stays the same.
func TestAChartsVersionIsNotInItsPods(t *testing.T) {
	for key, value := range deployment(t, "default").Spec.Template.Labels {
		if strings.Contains(value, "0.1.0") {
			t.Errorf("label %s: %s", key, value)
		}
	}
}

func TestRightsAreNeverEverything(t *testing.T) {
	for _, values := range cases(t) {
		for _, rule := range rules(t, values) {
			for _, part := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
				if slices.Contains(part, "*") {
					t.Errorf("%s: a rule allows everything: %v", values, rule)
				}
			}
			for _, verb := range []string{"escalate", "bind", "impersonate", "deletecollection"} {
				if slices.Contains(rule.Verbs, verb) {
					t.Errorf("%s: %s %v", values, verb, rule.Resources)
				}
			}
		}
	}
}

// In the default install nobody but the own namespace's objects, by name, may be written beside what is provisioned and statuses.
func TestSecretsAreNeverWrittenOutsideTheOwnNamespace(t *testing.T) {
	for _, object := range objects(t, render(t, fairway)) {
		role, ok := typed(t, object).(*rbacv1.ClusterRole)
		if !ok {
			continue
		}
		for _, rule := range role.Rules {
			if slices.Contains(rule.Resources, "secrets") && slices.ContainsFunc(rule.Verbs, writes) {
				t.Errorf("%s: %v", role.Name, rule)
			}
		}
	}
}

// With rbac.gatewayNamespaces nothing can be made elsewhere.
func TestNamedNamespacesAreTheOnlyOnesProvisionedIn(t *testing.T) {
	var bound []string
	for _, object := range objects(t, render(t, fairway, "--values", "golden/narrow.values.yaml")) {
		switch binding := typed(t, object).(type) {
		case *rbacv1.ClusterRoleBinding:
			if strings.HasSuffix(binding.RoleRef.Name, "-provision") {
				t.Errorf("%s binds everywhere", binding.Name)
			}
		case *rbacv1.RoleBinding:
			if strings.HasSuffix(binding.RoleRef.Name, "-provision") {
				bound = append(bound, binding.Namespace)
			}
		}
	}
	if !slices.Equal(bound, []string{"ingress", "shop"}) {
		t.Errorf("bound in %v", bound)
	}
}

func TestClassesAreThereWhenTheClusterKnowsThem(t *testing.T) {
	count := func(arguments ...string) int {
		return strings.Count(render(t, fairway, arguments...), "\nkind: GatewayClass\n")
	}
	for _, it := range []struct {
		says      string
		arguments []string
		want      int
	}{
		{"a cluster without the Gateway API", nil, 0},
		{"a cluster with it", []string{"--api-versions", "gateway.networking.k8s.io/v1/GatewayClass"}, 2},
		{"always", []string{"--set", "gatewayClasses.install=always"}, 2},
		{"never", []string{"--set", "gatewayClasses.install=never", "--api-versions", "gateway.networking.k8s.io/v1/GatewayClass"}, 0},
	} {
		if got := count(it.arguments...); got != it.want {
			t.Errorf("%s: %d classes, not %d", it.says, got, it.want)
		}
	}
}

func writes(verb string) bool {
	return verb != "get" && verb != "list" && verb != "watch"
}

func deployment(t *testing.T, name string) *appsv1.Deployment {
	t.Helper()
	for _, object := range objects(t, render(t, fairway, "--values", "golden/"+name+".values.yaml")) {
		if object["kind"] == "Deployment" {
			return typed(t, object).(*appsv1.Deployment)
		}
	}
	t.Fatal("no Deployment")
	return nil
}

// rules are all rules of all roles that are rendered.
func rules(t *testing.T, values string) []rbacv1.PolicyRule {
	t.Helper()
	var found []rbacv1.PolicyRule
	for _, object := range objects(t, render(t, fairway, "--values", values)) {
		if slices.Contains(foreign, object["kind"].(string)) {
			continue
		}
		switch role := typed(t, object).(type) {
		case *rbacv1.ClusterRole:
			found = append(found, role.Rules...)
		case *rbacv1.Role:
			found = append(found, role.Rules...)
		}
	}
	return found
}
