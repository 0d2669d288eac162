package behaviour

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/scene"
)

func (s *stage) patch(kind, namespace, name, change string) error {
	s.Helper()
	s.changesSystem(namespace)
	_, err := cluster.Of(kind, namespace).Patch(s.ctx, name, types.MergePatchType, []byte(change), metav1.PatchOptions{FieldManager: scene.Writer})
	return err
}

// patchStatus writes into an object's status, as another controller would.
func (s *stage) patchStatus(kind, namespace, name, change string) {
	s.Helper()
	options := metav1.PatchOptions{FieldManager: "somebody-else"}
	_, err := cluster.Of(kind, namespace).Patch(s.ctx, name, types.MergePatchType, []byte(change), options, "status")
	s.must(err)
}

// reach asks again and again, every 5 ms on one connection, until the answer has the wanted status. It returns when that
// was, and what else was answered than the status before.
func (s *stage) reach(address string, request load.Request, before, wanted int, limit time.Duration) (at time.Time, others []string) {
	s.Helper()
	const pause = 5 * time.Millisecond
	conn := load.NewConnection(address, nil)
	defer conn.Close()
	deadline := time.Now().Add(limit)
	for {
		answer, err := conn.Do(s.ctx, request)
		switch {
		case err != nil:
			others = append(others, err.Error())
		case answer.Status == wanted:
			return time.Now(), others
		case answer.Status != before:
			others = append(others, fmt.Sprintf("status %d: %.100s", answer.Status, answer.Body))
		}
		if time.Now().After(deadline) {
			s.Fatalf("%s: no %d within %s (last: %d, %v; others: %d)", request.Path, wanted, limit, answer.Status, err, len(others))
		}
		s.watch(pause)
	}
}

// pods of a label, in a namespace; those that are going are left out.
func (s *stage) pods(namespace, labels string) []*scene.Object {
	s.Helper()
	all, err := cluster.List(s.ctx, "Pod", namespace, labels)
	s.must(err)
	var pods []*scene.Object
	for i := range all {
		if all[i].GetDeletionTimestamp() == nil {
			pods = append(pods, &all[i])
		}
	}
	return pods
}

// proxies of a Gateway.
func (s *stage) proxies(gateway string) []*scene.Object {
	s.Helper()
	return s.pods(s.namespace, "gateway.networking.k8s.io/gateway-name="+gateway)
}

// leader is the pod of the controller that leads.
func (s *stage) leader() string {
	s.Helper()
	lease, err := cluster.Core.CoordinationV1().Leases(systemNamespace).Get(s.ctx, controllerName, metav1.GetOptions{})
	s.must(err)
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// process of a pod, on nodes that are on this machine.
func (s *stage) process(pod *scene.Object, program string) scene.Process {
	s.Helper()
	process, err := scene.ProcessOf(pod, program)
	if errors.Is(err, scene.ErrElsewhere) && !*own {
		s.unable(*own, "%v", err)
	}
	// A pod without a readiness probe is ready before its program has taken the place of the container runtime's.
	s.until(10*time.Second, fmt.Sprintf("the process %s of pod %s", program, pod.GetName()), func() (string, error) {
		process, err = scene.ProcessOf(pod, program)
		return "", err
	})
	return process
}

// run runs a program for the cluster and returns what it printed.
func (s *stage) run(program string, args ...string) (string, error) {
	cmd := exec.CommandContext(s.ctx, program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+*kubeconfig)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// autopsy keeps logs and objects of a failed test.
func (s *stage) autopsy() {
	if *reports == "" {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	dir := filepath.Join(*reports, "failed", strings.ReplaceAll(s.Name(), "/", "_"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.Log(err)
		return
	}
	since := int64(time.Since(s.start).Seconds()) + 1
	for _, namespace := range []string{systemNamespace, s.namespace} {
		pods, err := cluster.Core.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			s.Log(err)
			continue
		}
		for _, pod := range pods.Items {
			for _, container := range pod.Spec.Containers {
				for _, previous := range []bool{false, true} {
					options := corev1.PodLogOptions{Container: container.Name, SinceSeconds: &since, Previous: previous, Timestamps: true}
					text, err := cluster.Core.CoreV1().Pods(namespace).GetLogs(pod.Name, &options).DoRaw(ctx)
					if err != nil || len(text) == 0 {
						continue
					}
					name := pod.Name + "." + container.Name + ".log"
					if previous {
						name = pod.Name + "." + container.Name + ".before.log"
					}
					if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
						s.Log(err)
					}
				}
			}
		}
	}
	cmd := exec.CommandContext(ctx, *kubectl, "-n", s.namespace, "get", "gateway-api,pods,services,endpointslices,events", "-o", "yaml")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+*kubeconfig)
	if text, err := cmd.Output(); err != nil {
		s.Log(err)
	} else if err := os.WriteFile(filepath.Join(dir, "objects.yaml"), text, 0o644); err != nil {
		s.Log(err)
	}
}
