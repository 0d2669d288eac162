// Package scene is what the behaviour tests need of a cluster: objects written and waited for, processes of pods looked
// at and killed, writes of others counted.
package scene

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Cluster is a Kubernetes cluster.
type Cluster struct {
	Config  *rest.Config
	Core    kubernetes.Interface
	Dynamic dynamic.Interface
}

// Writer is the name under which objects are written.
const Writer = "fairway-behaviour"

// Object is any object.
type Object = unstructured.Unstructured

// Open connects to a cluster. The client holds nothing back: how fast objects can be written is for the server to say.
func Open(kubeconfig string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	config.WarningHandler = rest.NoWarnings{}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	anything, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &Cluster{Config: config, Core: core, Dynamic: anything}, nil
}

// resources by kind: the tests use few, and need no discovery.
var resources = map[string]schema.GroupVersionResource{
	"ConfigMap":               {Version: "v1", Resource: "configmaps"},
	"Event":                   {Group: "events.k8s.io", Version: "v1", Resource: "events"},
	"Namespace":               {Version: "v1", Resource: "namespaces"},
	"Pod":                     {Version: "v1", Resource: "pods"},
	"Secret":                  {Version: "v1", Resource: "secrets"},
	"Service":                 {Version: "v1", Resource: "services"},
	"ServiceAccount":          {Version: "v1", Resource: "serviceaccounts"},
	"Node":                    {Version: "v1", Resource: "nodes"},
	"DaemonSet":               {Group: "apps", Version: "v1", Resource: "daemonsets"},
	"StatefulSet":             {Group: "apps", Version: "v1", Resource: "statefulsets"},
	"Job":                     {Group: "batch", Version: "v1", Resource: "jobs"},
	"Deployment":              {Group: "apps", Version: "v1", Resource: "deployments"},
	"Lease":                   {Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
	"EndpointSlice":           {Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
	"PodDisruptionBudget":     {Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
	"HorizontalPodAutoscaler": {Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"},
	"Gateway":                 {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"},
	"GatewayClass":            {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"},
	"HTTPRoute":               {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
	"GRPCRoute":               {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "grpcroutes"},
	"TCPRoute":                {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "tcproutes"},
	"TLSRoute":                {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "tlsroutes"},
	"BackendTLSPolicy":        {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "backendtlspolicies"},
	"ClusterTrustBundle":      {Group: "certificates.k8s.io", Version: "v1beta1", Resource: "clustertrustbundles"},
	"ReferenceGrant":          {Group: "gateway.networking.k8s.io", Version: "v1beta1", Resource: "referencegrants"},
	"AccessPolicy":            {Group: "fairway.dev", Version: "v1alpha1", Resource: "accesspolicies"},
	"AuthenticationPolicy":    {Group: "fairway.dev", Version: "v1alpha1", Resource: "authenticationpolicies"},
	"ClientPolicy":            {Group: "fairway.dev", Version: "v1alpha1", Resource: "clientpolicies"},
	"RateLimitPolicy":         {Group: "fairway.dev", Version: "v1alpha1", Resource: "ratelimitpolicies"},
	"GatewayParameters":       {Group: "fairway.dev", Version: "v1alpha1", Resource: "gatewayparameters"},
}

// ResourceOf is how the API calls a kind.
func ResourceOf(kind string) schema.GroupVersionResource {
	resource, known := resources[kind]
	if !known {
		panic("scene: no kind " + kind)
	}
	return resource
}

// Of is the API for a kind in a namespace; "" for kinds without.
func (c *Cluster) Of(kind, namespace string) dynamic.ResourceInterface {
	resource := ResourceOf(kind)
	if namespace == "" {
		return c.Dynamic.Resource(resource)
	}
	return c.Dynamic.Resource(resource).Namespace(namespace)
}

// Parse reads YAML documents.
func Parse(text string) ([]*Object, error) {
	var objects []*Object
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		object := &Object{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("%w in:\n%s", err, text)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}

// Apply writes YAML documents by server-side apply and returns what the server made of them.
func (c *Cluster) Apply(ctx context.Context, text string) ([]*Object, error) {
	objects, err := Parse(text)
	if err != nil {
		return nil, err
	}
	for i, object := range objects {
		api := c.Of(object.GetKind(), object.GetNamespace())
		options := metav1.ApplyOptions{FieldManager: Writer, Force: true}
		if objects[i], err = api.Apply(ctx, object.GetName(), object, options); err != nil {
			return nil, fmt.Errorf("%s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
		}
	}
	return objects, nil
}

// Create creates the objects of YAML documents.
func (c *Cluster) Create(ctx context.Context, text string) error {
	objects, err := Parse(text)
	if err != nil {
		return err
	}
	for _, object := range objects {
		options := metav1.CreateOptions{FieldManager: Writer}
		if _, err := c.Of(object.GetKind(), object.GetNamespace()).Create(ctx, object, options); err != nil {
			return fmt.Errorf("%s %s/%s: %w", object.GetKind(), object.GetNamespace(), object.GetName(), err)
		}
	}
	return nil
}

// Delete deletes an object; one that is not there is fine.
func (c *Cluster) Delete(ctx context.Context, kind, namespace, name string) error {
	// The word of kubectl: what belongs to it goes in the background.
	background := metav1.DeletePropagationBackground
	err := c.Of(kind, namespace).Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &background})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// Get reads an object; nil if it is not there.
func (c *Cluster) Get(ctx context.Context, kind, namespace, name string) (*Object, error) {
	object, err := c.Of(kind, namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	return object, err
}

// List reads the objects of a kind; all namespaces for "".
func (c *Cluster) List(ctx context.Context, kind, namespace, labels string) ([]Object, error) {
	list, err := c.Of(kind, namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// Until asks again and again until the answer is yes. `missing` says what it still lacks when the time is over.
func Until(ctx context.Context, limit time.Duration, ask func() (missing string, err error)) error {
	const pause = 50 * time.Millisecond
	deadline := time.Now().Add(limit)
	for {
		missing, err := ask()
		if err == nil && missing == "" {
			return nil
		}
		if time.Now().After(deadline) {
			if err != nil {
				missing = err.Error()
			}
			return fmt.Errorf("after %s: %s", limit, missing)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}
