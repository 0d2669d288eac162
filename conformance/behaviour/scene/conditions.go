package scene

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// ControllerName by which Fairway signs.
const ControllerName = "fairway.dev/controller"

// Condition of an object.
type Condition struct {
	Status, Reason, Message string
	ObservedGeneration      int64
}

func (c Condition) String() string {
	return fmt.Sprintf("%s (%s: %s, generation %d)", c.Status, c.Reason, c.Message, c.ObservedGeneration)
}

// ConditionOf a Gateway, a Deployment, a pod: what is in status.conditions.
func ConditionOf(object *Object, kind string) Condition {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	return find(conditions, kind)
}

// Containers of a pod: their statuses, as far as it has any.
func Containers(pod *Object) []map[string]any {
	all, _, _ := unstructured.NestedSlice(pod.Object, "status", "containerStatuses")
	var statuses []map[string]any
	for _, entry := range all {
		if status, is := entry.(map[string]any); is {
			statuses = append(statuses, status)
		}
	}
	return statuses
}

// ListenerCondition of a Gateway.
func ListenerCondition(gateway *Object, listener, kind string) Condition {
	all, _, _ := unstructured.NestedSlice(gateway.Object, "status", "listeners")
	for _, entry := range all {
		status, _ := entry.(map[string]any)
		if status["name"] == listener {
			conditions, _, _ := unstructured.NestedSlice(status, "conditions")
			return find(conditions, kind)
		}
	}
	return Condition{}
}

// RouteCondition is what Fairway says of a route, for its first parent.
func RouteCondition(route *Object, kind string) Condition {
	for _, parent := range Parents(route) {
		if parent["controllerName"] == ControllerName {
			conditions, _, _ := unstructured.NestedSlice(parent, "conditions")
			return find(conditions, kind)
		}
	}
	return Condition{}
}

// PolicyCondition is of the first ancestor that our controller wrote.
func PolicyCondition(policy *Object, kind string) Condition {
	all, _, _ := unstructured.NestedSlice(policy.Object, "status", "ancestors")
	for _, entry := range all {
		if ancestor, is := entry.(map[string]any); is && ancestor["controllerName"] == ControllerName {
			conditions, _, _ := unstructured.NestedSlice(ancestor, "conditions")
			return find(conditions, kind)
		}
	}
	return Condition{}
}

// Parents are the entries of a route's status.
func Parents(route *Object) []map[string]any {
	all, _, _ := unstructured.NestedSlice(route.Object, "status", "parents")
	var parents []map[string]any
	for _, entry := range all {
		if parent, is := entry.(map[string]any); is {
			parents = append(parents, parent)
		}
	}
	return parents
}

// AttachedRoutes of a Gateway's listener; -1 while it has no status.
func AttachedRoutes(gateway *Object, listener string) int64 {
	all, _, _ := unstructured.NestedSlice(gateway.Object, "status", "listeners")
	for _, entry := range all {
		status, _ := entry.(map[string]any)
		if status["name"] == listener {
			count, _, _ := unstructured.NestedInt64(status, "attachedRoutes")
			return count
		}
	}
	return -1
}

// Addresses in a Gateway's status.
func Addresses(gateway *Object) []string {
	all, _, _ := unstructured.NestedSlice(gateway.Object, "status", "addresses")
	var addresses []string
	for _, entry := range all {
		if address, is := entry.(map[string]any); is {
			value, _ := address["value"].(string)
			addresses = append(addresses, value)
		}
	}
	return addresses
}

func find(conditions []any, kind string) Condition {
	for _, entry := range conditions {
		it, _ := entry.(map[string]any)
		if it["type"] != kind {
			continue
		}
		text := func(field string) string { value, _ := it[field].(string); return value }
		generation, _ := it["observedGeneration"].(int64)
		return Condition{text("status"), text("reason"), text("message"), generation}
	}
	return Condition{}
}
