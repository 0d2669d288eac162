package test

import "testing"

// The EndpointSlice of the leader, as `controller/src/leader/address.rs` applies it and an API server shows it.
func leaderSlice() object {
	return object{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata": object{"name": "fairway-controller", "namespace": "fairway-system", "uid": "u",
			"labels":          object{"kubernetes.io/service-name": "fairway-controller", "app.kubernetes.io/managed-by": "fairway-controller"},
			"ownerReferences": list{object{"apiVersion": "v1", "kind": "Service", "name": "fairway-controller", "uid": "s"}}},
		"endpoints": list{object{"addresses": list{"10.0.0.7"}, "conditions": object{"ready": true},
			"targetRef": object{"kind": "Pod", "name": "fairway-controller-1", "namespace": "fairway-system"}}},
		"ports": list{object{"name": "grpc", "port": 15010, "protocol": "TCP"}},
	}
}

func leaderLease() object {
	return object{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": object{"holderIdentity": "a"},
		"metadata": object{"name": "fairway-controller", "namespace": "fairway-system"}}
}

// Roles cannot name what is created, so this policy does: one Lease and one EndpointSlice, of this shape.
func TestTheLeaderWritesItsLeaseAndItsSliceAndNoOther(t *testing.T) {
	asked := policyNamed(t, "-leader")
	for _, it := range []struct {
		resource  string
		good      object
		forbidden []change
	}{
		{"leases", leaderLease(), []change{{"metadata name", "kube-scheduler"}, {"metadata namespace", "kube-system"}}},
		{"endpointslices", leaderSlice(), []change{
			{"metadata name", "vault-x"}, {"metadata namespace", "bank"}, {"metadata labels kubernetes.io/service-name", "vault"}, {"metadata labels", object{}},
			{"endpoints", list{}}, {"endpoints +", object{"addresses": list{"10.0.0.8"}}}, {"endpoints 0 addresses +", "10.0.0.8"}, {"endpoints 0 targetRef", nil},
			{"endpoints 0 targetRef kind", "Node"}, {"endpoints 0 targetRef namespace", "bank"}, {"endpoints 0 nodeName", "n1"},
			{"ports +", object{"name": "db", "port": 5432, "protocol": "TCP"}}, {"ports 0 name", "https"}, {"ports", list{}}, {"aFieldOfTomorrow", true},
		}},
	} {
		for _, old := range []object{nil, it.good} {
			if why := asked.asked(t, request{it.resource, it.good, old}); why != nil {
				t.Errorf("%s: %q", it.resource, why)
			}
			for _, bad := range it.forbidden {
				if asked.asked(t, request{it.resource, edit(t, it.good, bad.path, bad.value), old}) == nil {
					t.Errorf("%s: %s: %v is let through", it.resource, bad.path, bad.value)
				}
			}
		}
		if asked.asked(t, request{it.resource, nil, edit(t, it.good, "metadata name", "other")}) == nil {
			t.Errorf("another of %s may be deleted", it.resource)
		}
	}
}
