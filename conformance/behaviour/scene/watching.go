package scene

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	tools "k8s.io/client-go/tools/watch"
)

// Watching counts the writes of a kind's objects, as the API server tells of each.
type Watching struct {
	stop context.CancelFunc
	over chan struct{}

	mu sync.Mutex
	// generation each object was last seen with: a write that keeps it was one of status (or of labels).
	generation map[string]int64
	statuses   int
	last       time.Time
	latest     map[string]*Object
}

// Watch begins to count. Objects that are there already count from now on.
func (c *Cluster) Watch(ctx context.Context, kind, namespace string) (*Watching, error) {
	ctx, stop := context.WithCancel(ctx)
	list, err := c.Of(kind, namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		stop()
		return nil, err
	}
	w := &Watching{stop: stop, over: make(chan struct{}), generation: map[string]int64{}, latest: map[string]*Object{}}
	for i := range list.Items {
		object := &list.Items[i]
		w.generation[key(object)], w.latest[key(object)] = object.GetGeneration(), object
	}
	// A server under load may end a watch; this one goes on where it was.
	stream, err := tools.NewRetryWatcherWithContext(ctx, list.GetResourceVersion(), &cache.ListWatch{
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			return c.Of(kind, namespace).Watch(ctx, options)
		},
	})
	if err != nil {
		stop()
		return nil, err
	}
	go func() {
		defer close(w.over)
		for event := range stream.ResultChan() {
			if object, is := event.Object.(*Object); is {
				w.take(event.Type, object)
			}
		}
	}()
	return w, nil
}

func (w *Watching) take(what watch.EventType, object *Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, known := w.generation[key(object)]
	w.generation[key(object)], w.latest[key(object)] = object.GetGeneration(), object
	if what == watch.Deleted {
		delete(w.generation, key(object))
		delete(w.latest, key(object))
	}
	if what == watch.Modified && known && before == object.GetGeneration() && object.GetDeletionTimestamp() == nil {
		w.statuses++
		w.last = time.Now()
	}
}

// StatusWrites so far, and when the last was.
func (w *Watching) StatusWrites() (int, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.statuses, w.last
}

// Count the objects of which something is true.
func (w *Watching) Count(is func(*Object) bool) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	count := 0
	for _, object := range w.latest {
		if is(object) {
			count++
		}
	}
	return count
}

// Stop ends it.
func (w *Watching) Stop() {
	w.stop()
	<-w.over
}

func key(object *Object) string { return object.GetNamespace() + "/" + object.GetName() }
