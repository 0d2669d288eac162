package loadbalancer

import (
	"context"
	"log"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
)

// Run watches Services and publishes addresses until the context ends.
func Run(ctx context.Context, kubeconfig string, pool Pool) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 100, 200
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "fairway-load-balancer"})

	factory := informers.NewSharedInformerFactory(client, 0)
	services := factory.Core().V1().Services()
	// One pending "look again" is enough, however many Services changed.
	look := make(chan struct{}, 1)
	wake := func() {
		select {
		case look <- struct{}{}:
		default:
		}
	}
	_, err = services.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { wake() },
		UpdateFunc: func(any, any) { wake() },
		DeleteFunc: func(any) { wake() },
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	told := map[types.UID]string{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look:
		}
		all, err := services.Lister().List(labels.Everything())
		if err != nil {
			return err
		}
		failed := false
		for _, change := range Allocate(pool, all) {
			service, err := services.Lister().Services(change.Service.Namespace).Get(change.Service.Name)
			if err != nil {
				continue // gone meanwhile
			}
			if change.Problem != "" && told[service.UID] != change.Problem {
				told[service.UID] = change.Problem
				recorder.Event(service, corev1.EventTypeWarning, "AllocationFailed", change.Problem)
			}
			if err := publish(ctx, client, service.DeepCopy(), change); err != nil {
				log.Printf("Service %s: %v", change.Service, err)
				failed = true
			}
		}
		if failed { // a conflict heals with the next event, anything else with time
			time.AfterFunc(time.Second, wake)
		}
	}
}

func publish(ctx context.Context, client kubernetes.Interface, service *corev1.Service, change Change) error {
	had := len(service.Status.LoadBalancer.Ingress) > 0
	service.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	if change.Address.IsValid() {
		service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: change.Address.String()}}
	} else if !had {
		return nil
	}
	_, err := client.CoreV1().Services(service.Namespace).UpdateStatus(ctx, service, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
