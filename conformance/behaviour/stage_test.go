package behaviour

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/record"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

const (
	systemNamespace = "fairway-system"
	controllerName  = "fairway-controller"
	controllerLabel = "app.kubernetes.io/name=fairway,app.kubernetes.io/component=controller"
	// How long to wait for what has no bar of its own: pods that start, namespaces that go.
	ample = 3 * time.Minute
)

// stage is one test's place in the cluster: a namespace that is gone after it.
type stage struct {
	*testing.T
	ctx       context.Context
	namespace string
	start     time.Time
}

// besides has the names of the tests that run beside others.
var besides sync.Map

// beginBeside is begin for a test that is in nobody's way: it has no bar of time that a busy machine breaks, changes nothing outside its
// namespace, and kills no process but of its own proxies. Those tests run beside each other, after all others.
func beginBeside(t *testing.T, name string) *stage {
	t.Helper()
	besides.Store(t.Name(), true)
	t.Parallel()
	return begin(t, name)
}

// changesSystem ends a test that runs beside others and would change what they all use.
func (s *stage) changesSystem(namespace string) {
	s.Helper()
	test, _, _ := strings.Cut(s.Name(), "/")
	if _, beside := besides.Load(test); beside && namespace == systemNamespace {
		s.Fatalf("this changes namespace %s, which the tests beside it use: call begin, not beginBeside", systemNamespace)
	}
}

// begin sets the stage for a test; `name` is its namespace, with others behind it if it needs more.
func begin(t *testing.T, name string) *stage {
	t.Helper()
	s := &stage{T: t, ctx: t.Context(), namespace: "behaviour-" + name, start: time.Now()}
	s.recorded()
	s.makeNamespace(s.namespace)
	t.Cleanup(func() {
		if t.Failed() {
			s.autopsy()
		}
	})
	return s
}

// recorded writes into the book what came of the test.
func (s *stage) recorded() {
	s.T.Cleanup(func() {
		outcome := record.Pass
		switch {
		case s.T.Failed():
			outcome = record.Fail
		case s.T.Skipped():
			outcome = record.Skip
		}
		s.must(book.End(s.Name(), outcome, time.Since(s.start).Seconds()))
	})
}

// part is a test within the test, on the same stage.
func (s *stage) part(name string, do func(*stage)) {
	s.Run(name, func(t *testing.T) {
		inner := &stage{T: t, ctx: t.Context(), namespace: s.namespace, start: time.Now()}
		inner.recorded()
		do(inner)
	})
}

// makeNamespace makes one, anew if a run before left it, and removes it after the test.
func (s *stage) makeNamespace(name string) {
	s.Helper()
	s.removeNamespace(name)
	s.apply(fmt.Sprintf(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {behaviour.test: "yes"}}}`, name))
	s.Cleanup(func() {
		if !*keep {
			s.must(cluster.Delete(context.Background(), "Namespace", "", name))
		}
	})
}

func (s *stage) removeNamespace(name string) {
	s.Helper()
	s.must(cluster.Delete(s.ctx, "Namespace", "", name))
	s.until(ample, "namespace "+name+" to go", func() (string, error) {
		object, err := cluster.Get(s.ctx, "Namespace", "", name)
		return missing(object == nil, "it is still there"), err
	})
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// apply writes objects; NAMESPACE in the text is the stage's.
func (s *stage) apply(text string) []*scene.Object {
	s.Helper()
	objects, err := cluster.Apply(s.ctx, strings.ReplaceAll(text, "NAMESPACE", s.namespace))
	s.must(err)
	return objects
}

func (s *stage) get(kind, name string) *scene.Object {
	s.Helper()
	object, err := cluster.Get(s.ctx, kind, s.namespace, name)
	s.must(err)
	return object
}

// until waits, and ends the test if it was in vain. It returns how long it took.
func (s *stage) until(limit time.Duration, what string, ask func() (string, error)) time.Duration {
	s.Helper()
	start := time.Now()
	if err := scene.Until(s.ctx, limit, ask); err != nil {
		s.Fatalf("waiting for %s: %v", what, err)
	}
	return time.Since(start)
}

// unable ends a test that this cluster cannot run. On a cluster of somebody else it is skipped; where it has to run, it fails.
func (s *stage) unable(hasToRun bool, format string, args ...any) {
	s.Helper()
	if hasToRun {
		s.Fatalf("this has to run here, and cannot: "+format, args...)
	}
	s.Skipf(format, args...)
}

// watch lets time pass in which something must not happen, or which is part of what is tested. What will happen is waited for with
// `until`, and that there is load with `carry`.
func (s *stage) watch(span time.Duration) {
	s.Helper()
	select {
	case <-s.ctx.Done():
		s.Fatal(s.ctx.Err())
	case <-time.After(span):
	}
}

// carry waits until each load has ended as many requests as this time brings at its rate: on a slow machine that takes longer, and is
// as much of a test.
func (s *stage) carry(span time.Duration, runs ...*load.Run) {
	s.Helper()
	wanted := make([]int, len(runs))
	for i, run := range runs {
		wanted[i] = run.Answered() + run.Brings(span)
	}
	s.until(span+ample, "requests to be answered", func() (string, error) {
		for i, run := range runs {
			if answered := run.Answered(); answered < wanted[i] {
				return fmt.Sprintf("%d of %d are", answered, wanted[i]), nil
			}
		}
		return "", nil
	})
}

func missing(there bool, what string) string {
	if there {
		return ""
	}
	return what
}

// figure records a number and fails the test if it does not pass its bar.
func (s *stage) figure(name string, value float64, unit string, bar *record.Bar) {
	s.Helper()
	if math.IsInf(value, 0) || math.IsNaN(value) {
		// JSON has no such number: kept, it would fail every test behind this one.
		s.Fatalf("%s: there is no number (%v)", name, value)
	}
	figure := record.Figure{Name: name, Value: value, Unit: unit, Bar: bar}
	s.must(book.Add(s.Name(), figure))
	if bar.Passes(value) {
		s.Logf("%s", figure)
	} else {
		s.Errorf("bar missed: %s", figure)
	}
}

// noFaults records how a load went; none of its requests may have failed.
func (s *stage) noFaults(name string, result load.Result) {
	s.Helper()
	s.Logf("%s: %s", name, result)
	s.figure(name+": requests", float64(result.Requests), "", record.AtLeast(1))
	s.figure(name+": faults", float64(len(result.Faults)), "", record.AtMost(0))
	s.figure(name+": p99", milliseconds(load.Quantile(result.Answers, 0.99)), "ms", nil)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
