package test

import (
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

type change struct {
	path  string
	value any
}

type ofStatus struct {
	policy, resource, condition string
	labels                      bool
	good                        object
	forbidden                   []change
}

// What the controller may write into statuses of objects that it did not make, and whose kinds are Kubernetes' own.
var statuses = []ofStatus{
	{
		policy: "-capture", resource: "pods", condition: "fairway.dev/Captured", labels: true,
		good: object{
			"metadata": object{"name": "web", "namespace": "shop", "uid": "u", "labels": object{"app": "web"}, "finalizers": list{"shop.example/x"}},
			"status":   object{"phase": "Running", "podIP": "10.0.0.7", "conditions": list{object{"type": "Ready", "status": "True"}}},
		},
		forbidden: []change{
			{"metadata labels app", "bank"}, {"metadata labels other", "x"}, {"metadata annotations", object{"x": "y"}}, {"metadata finalizers", list{}},
			{"metadata finalizers +", "x/y"}, {"metadata ownerReferences", list{object{"kind": "Node"}}}, {"status phase", "Failed"}, {"status podIP", "10.0.0.8"},
			{"status podIPs", list{object{"ip": "10.0.0.8"}}}, {"status hostIPs", list{}}, {"status resourceClaimStatuses", list{object{"name": "gpu"}}},
			{"status ephemeralContainerStatuses", list{object{"name": "x"}}}, {"status aFieldOfTomorrow", true}, {"status conditions 0 status", "False"},
			{"status conditions", list{}}, {"status conditions +", object{"type": "other.example/Gate", "status": "True"}},
		},
	},
	{
		policy: "-service-status", resource: "services", condition: "fairway.dev/ThroughWaypoint",
		good: object{
			"metadata": object{"name": "web", "namespace": "shop", "uid": "u", "labels": object{"app": "web"}, "annotations": object{"a": "b"}},
			"status":   object{"loadBalancer": object{"ingress": list{object{"ip": "192.0.2.1"}}}, "conditions": list{object{"type": "LoadBalancerPortsError", "status": "False"}}},
		},
		forbidden: []change{
			{"status loadBalancer", object{}}, {"status loadBalancer ingress +", object{"ip": "192.0.2.2"}}, {"status loadBalancer ingress 0 ip", "192.0.2.2"},
			{"metadata labels app", "bank"}, {"metadata labels", object{}}, {"metadata labels kubernetes.io/service-name", "x"}, {"metadata annotations a", "c"},
			{"metadata annotations external-dns.alpha.kubernetes.io/hostname", "bank.example"}, {"metadata finalizers", list{"x/y"}},
			{"metadata ownerReferences", list{object{"kind": "Node"}}}, {"status conditions 0 status", "True"}, {"status conditions", list{}},
			{"status conditions +", object{"type": "Accepted", "status": "True"}}, {"status aFieldOfTomorrow", true},
		},
	},
}

func TestOfOthersStatusesTheControllerWritesItsOneCondition(t *testing.T) {
	for _, it := range statuses {
		asked := policyNamed(t, it.policy)
		own := func(status string) object { return object{"type": it.condition, "status": status} }
		with := edit(t, it.good, "status conditions +", own("True"))
		changed := edit(t, it.good, "status conditions +", own("False"))
		bare := object{"metadata": object{"name": "web", "namespace": "shop"}}
		olds := []object{it.good, with, bare}
		news := []object{with, changed, edit(t, bare, "status conditions", list{own("True")})}
		if it.labels {
			olds = append(olds, with)
			news = append(news, edit(t, changed, "metadata labels fairway.dev/captured", "false"))
		}
		for i, old := range olds {
			for _, pair := range [][2]object{{news[i], old}, {old, news[i]}} {
				if why := asked.asked(t, request{it.resource, pair[0], pair[1]}); why != nil {
					t.Errorf("%s: from %v to %v: %q", it.policy, pair[1], pair[0], why)
				}
			}
		}
		for _, bad := range it.forbidden {
			now := edit(t, with, bad.path, bad.value)
			if asked.asked(t, request{it.resource, now, with}) == nil {
				t.Errorf("%s: %s: %v is let through", it.policy, bad.path, bad.value)
			}
		}
	}
}

// Of kinds that are CRDs an API server takes the status alone from who writes that. Every other right to write a status needs a policy.
func TestEveryRightToAStatusHasItsPolicy(t *testing.T) {
	for _, each := range objects(t, render(t, fairway)) {
		role, ok := typed(t, each).(*rbacv1.ClusterRole)
		if !ok {
			continue
		}
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				name, isStatus := strings.CutSuffix(resource, "/status")
				ofCRDs := slices.ContainsFunc(rule.APIGroups, func(it string) bool {
					return it == "gateway.networking.k8s.io" || it == "gateway.networking.x-k8s.io" || it == "fairway.dev"
				})
				if !isStatus || ofCRDs && len(rule.APIGroups) == 1 {
					continue
				}
				if !slices.ContainsFunc(statuses, func(it ofStatus) bool { return it.resource == name }) {
					t.Errorf("%s may write %s, and no policy says what of it", role.Name, resource)
				}
			}
		}
	}
}
