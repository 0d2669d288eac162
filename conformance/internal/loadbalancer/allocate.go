// Package loadbalancer gives LoadBalancer Services an address out of a pool, as a cloud would. Kube-proxy does the rest.
package loadbalancer

import (
	"fmt"
	"net/netip"
	"sort"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Pool of addresses.
type Pool struct {
	Prefix netip.Prefix
	// Reserved addresses are given only to a Service that asks for them.
	Reserved []netip.Addr
}

// Change is what has to be written to one Service.
type Change struct {
	Service types.NamespacedName
	// Address to publish; invalid (the zero value) withdraws what is there.
	Address netip.Addr
	// Problem, if not empty, is why the Service gets no address.
	Problem string
}

// Allocate decides the address of every Service. It keeps what a Service has if that is still right, so the answer
// depends on nothing but the Services: the allocator has no memory that could be lost.
func Allocate(pool Pool, services []*corev1.Service) []Change {
	ordered := append([]*corev1.Service(nil), services...)
	sort.Slice(ordered, func(i, j int) bool {
		a, b := ordered[i], ordered[j]
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Before(&b.CreationTimestamp)
		}
		return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
	})
	taken := map[netip.Addr]types.NamespacedName{}
	for _, service := range ordered {
		if address, ok := current(service); ok && rightful(pool, service, address) {
			if _, double := taken[address]; !double {
				taken[address] = nameOf(service)
			}
		}
	}
	var changes []Change
	for _, service := range ordered {
		name := nameOf(service)
		address, has := current(service)
		if has && taken[address] == name {
			continue
		}
		if service.Spec.Type != corev1.ServiceTypeLoadBalancer || service.DeletionTimestamp != nil {
			if has && service.DeletionTimestamp == nil {
				changes = append(changes, Change{Service: name})
			}
			continue
		}
		chosen, problem := choose(pool, service, taken)
		if problem == "" {
			taken[chosen] = name
		}
		if has || chosen.IsValid() || problem != "" {
			changes = append(changes, Change{Service: name, Address: chosen, Problem: problem})
		}
	}
	return changes
}

func choose(pool Pool, service *corev1.Service, taken map[netip.Addr]types.NamespacedName) (netip.Addr, string) {
	if wanted := service.Spec.LoadBalancerIP; wanted != "" {
		address, err := netip.ParseAddr(wanted)
		if err != nil || !pool.gives(address) {
			return netip.Addr{}, fmt.Sprintf("spec.loadBalancerIP %s is not in the pool %s", wanted, pool.Prefix)
		}
		if owner, used := taken[address]; used {
			return netip.Addr{}, fmt.Sprintf("spec.loadBalancerIP %s is in use by Service %s", wanted, owner)
		}
		return address, ""
	}
	for address := pool.Prefix.Masked().Addr().Next(); pool.gives(address); address = address.Next() {
		if _, used := taken[address]; !used && !pool.reserves(address) {
			return address, ""
		}
	}
	return netip.Addr{}, fmt.Sprintf("no address is left in the pool %s", pool.Prefix)
}

// rightful says whether a Service may keep the address it has.
func rightful(pool Pool, service *corev1.Service, address netip.Addr) bool {
	if service.Spec.Type != corev1.ServiceTypeLoadBalancer || !pool.gives(address) {
		return false
	}
	if wanted := service.Spec.LoadBalancerIP; wanted != "" {
		return wanted == address.String()
	}
	return !pool.reserves(address)
}

// gives says whether an address of the pool can be given at all: the first and the last cannot.
func (p Pool) gives(address netip.Addr) bool {
	return p.Prefix.Contains(address) && address != p.Prefix.Masked().Addr() && p.Prefix.Contains(address.Next())
}

func (p Pool) reserves(address netip.Addr) bool {
	for _, reserved := range p.Reserved {
		if reserved == address {
			return true
		}
	}
	return false
}

func current(service *corev1.Service) (netip.Addr, bool) {
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		if address, err := netip.ParseAddr(ingress.IP); err == nil {
			return address, true
		}
	}
	return netip.Addr{}, false
}

func nameOf(service *corev1.Service) types.NamespacedName {
	return types.NamespacedName{Namespace: service.Namespace, Name: service.Name}
}
