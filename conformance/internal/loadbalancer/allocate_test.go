package loadbalancer

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var pool = Pool{Prefix: netip.MustParsePrefix("10.0.0.0/29"), Reserved: []netip.Addr{netip.MustParseAddr("10.0.0.5")}}

// service of type LoadBalancer, made `age` seconds ago, that wants and has these addresses.
func service(name string, age int, wants, has string) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, CreationTimestamp: metav1.NewTime(time.Unix(int64(1000-age), 0))},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerIP: wants},
	}
	if has != "" {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: has}}
	}
	return s
}

func plain(s *corev1.Service) *corev1.Service {
	s.Spec.Type = corev1.ServiceTypeClusterIP
	return s
}

func change(name, address, problem string) Change {
	c := Change{Service: types.NamespacedName{Namespace: "ns", Name: name}, Problem: problem}
	if address != "" {
		c.Address = netip.MustParseAddr(address)
	}
	return c
}

func TestAllocate(t *testing.T) {
	const outside = "spec.loadBalancerIP 192.0.2.1 is not in the pool 10.0.0.0/29"
	full := []*corev1.Service{
		service("a", 9, "", "10.0.0.1"), service("b", 8, "", "10.0.0.2"), service("c", 7, "", "10.0.0.3"),
		service("d", 6, "", "10.0.0.4"), service("e", 5, "", "10.0.0.6"),
	}
	cases := []struct {
		name     string
		services []*corev1.Service
		want     []Change
	}{
		{"the oldest is served first, and the reserved address is left", []*corev1.Service{service("young", 1, "", ""), service("old", 2, "", "")},
			[]Change{change("old", "10.0.0.1", ""), change("young", "10.0.0.2", "")}},
		{"who has an address keeps it", []*corev1.Service{service("a", 1, "", "10.0.0.4"), service("b", 2, "", "")},
			[]Change{change("b", "10.0.0.1", "")}},
		{"an address on request", []*corev1.Service{service("a", 1, "10.0.0.5", "")}, []Change{change("a", "10.0.0.5", "")}},
		{"a request outside of the pool", []*corev1.Service{service("a", 1, "192.0.2.1", "")}, []Change{change("a", "", outside)}},
		{"a request that is no address", []*corev1.Service{service("a", 1, "here", "")}, []Change{change("a", "", "spec.loadBalancerIP here is not in the pool 10.0.0.0/29")}},
		{"network and broadcast addresses are not given", []*corev1.Service{service("a", 1, "10.0.0.7", "")},
			[]Change{change("a", "", "spec.loadBalancerIP 10.0.0.7 is not in the pool 10.0.0.0/29")}},
		{"a request for an address in use", []*corev1.Service{service("a", 2, "", "10.0.0.1"), service("b", 1, "10.0.0.1", "")},
			[]Change{change("b", "", "spec.loadBalancerIP 10.0.0.1 is in use by Service ns/a")}},
		{"another request takes back what was given", []*corev1.Service{service("a", 1, "192.0.2.1", "10.0.0.1")}, []Change{change("a", "", outside)}},
		{"another request moves", []*corev1.Service{service("a", 1, "10.0.0.5", "10.0.0.1")}, []Change{change("a", "10.0.0.5", "")}},
		{"two with one address: the younger moves", []*corev1.Service{service("a", 1, "", "10.0.0.1"), service("b", 2, "", "10.0.0.1")},
			[]Change{change("a", "10.0.0.2", "")}},
		{"no LoadBalancer any more", []*corev1.Service{plain(service("a", 1, "", "10.0.0.1"))}, []Change{change("a", "", "")}},
		{"never was one", []*corev1.Service{plain(service("a", 1, "", ""))}, nil},
		{"an address of another pool is exchanged", []*corev1.Service{service("a", 1, "", "10.9.9.9")}, []Change{change("a", "10.0.0.1", "")}},
		{"the pool is used up", append(full, service("late", 1, "", "")), []Change{change("late", "", "no address is left in the pool 10.0.0.0/29")}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Allocate(pool, c.services); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}
