package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairway-mesh/fairway/conformance/behaviour/load"
	"github.com/fairway-mesh/fairway/conformance/behaviour/peer"
)

// runClient is the program as a client within its pod: `try`, `streams` or `requests`, run by `kubectl exec`. It prints a peer.Report.
func runClient(args []string) error {
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	to := flags.String("to", "", "host:port")
	say := flags.String("say", peer.Echo, "what is said")
	bytes := flags.Int64("bytes", 1024, "how much, where that can be said")
	times := flags.Int("times", 1, "how many connections")
	parallel := flags.Int("parallel", 1, "how many of them at once")
	pause := flags.Duration("pause", 0, "between two of them, and between the words on a stream")
	rate := flags.Int("rate", 100, "requests a second")
	once := flags.Bool("once", false, "a connection for each request")
	timeout := flags.Duration("timeout", 10*time.Second, "how long a connection may take, idle ones apart")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	var report peer.Report
	switch args[0] {
	case "true":
		return nil
	case "sleep":
		time.Sleep(1 << 62)
	case "try":
		report = try(*times, *parallel, *pause, func() error { return converse(*to, *say, *bytes, *timeout) })
	case "streams":
		report = hold(*to, *parallel, *pause)
	case "requests":
		host, _, _ := strings.Cut(*to, ":")
		run := load.Start(context.Background(), load.Plan{
			Address: *to, Rate: *rate, Connections: *parallel, Once: *once, Request: load.Always(load.Request{Host: host, Path: "/"}),
		})
		untilTold()
		result := run.Stop()
		report = peer.Report{Done: result.Requests - len(result.Faults), Slowest: load.Quantile(result.Answers, 1), Median: load.Quantile(result.Answers, 0.5), P99: load.Quantile(result.Answers, 0.99)}
		for _, fault := range result.Faults {
			report.Faults = append(report.Faults, peer.Fault{At: fault.At, Why: fault.Why})
		}
	default:
		return fmt.Errorf("%q is none of true, try, streams, requests", args[0])
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// untilTold waits for the end of the standard input.
func untilTold() { _, _ = io.Copy(io.Discard, os.Stdin) }

func try(times, parallel int, pause time.Duration, once func() error) peer.Report {
	var mu sync.Mutex
	var report peer.Report
	var took []time.Duration
	tickets := make(chan struct{}, times)
	for range times {
		tickets <- struct{}{}
	}
	close(tickets)
	var all sync.WaitGroup
	for range parallel {
		all.Go(func() {
			for range tickets {
				start := time.Now()
				err := once()
				mu.Lock()
				took = append(took, time.Since(start))
				if err != nil {
					report.Faults = append(report.Faults, peer.Fault{At: time.Now(), Why: err.Error()})
				} else {
					report.Done++
				}
				mu.Unlock()
				time.Sleep(pause)
			}
		})
	}
	all.Wait()
	slices.Sort(took)
	report.Median, report.P99, report.Slowest = load.Quantile(took, 0.5), load.Quantile(took, 0.99), load.Quantile(took, 1)
	return report
}

// converse has one conversation on a connection of its own, and says what was wrong with it.
func converse(to, say string, count int64, timeout time.Duration) error {
	conn, err := net.DialTimeout("tcp", to, timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	over := conn.(*net.TCPConn)
	switch say {
	case peer.Greeting:
		return hear(over, greeting, "EHLO\n", "250 EHLO\n")
	case peer.Echo:
		return sendAndCompare(over, count)
	case peer.Digest:
		return sendAndEnd(over, count)
	case peer.Source:
		return askAndSum(over, count)
	case peer.Name:
		return askName(over, to)
	default:
		return fmt.Errorf("nobody knows how to say %q", say)
	}
}

// hear waits for a first word, answers, and waits for the second.
func hear(conn *net.TCPConn, first, answer, second string) error {
	reader := bufio.NewReader(conn)
	if line, err := reader.ReadString('\n'); err != nil || line != first {
		return fmt.Errorf("the greeting was %q: %v", line, err)
	}
	if _, err := io.WriteString(conn, answer); err != nil {
		return err
	}
	if line, err := reader.ReadString('\n'); err != nil || line != second {
		return fmt.Errorf("the answer was %q: %v", line, err)
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	return wantEnd(reader)
}

func sendAndCompare(conn *net.TCPConn, count int64) error {
	sending := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, stuff(count))
		if err == nil {
			err = conn.CloseWrite()
		}
		sending <- err
	}()
	got, sum := sha256.New(), sha256.New()
	length, err := io.Copy(got, conn)
	if sent := <-sending; err != nil || sent != nil {
		return errors.Join(err, sent)
	}
	_, _ = io.Copy(sum, stuff(count))
	if length != count || !slices.Equal(got.Sum(nil), sum.Sum(nil)) {
		return fmt.Errorf("%d bytes came back of %d, or others", length, count)
	}
	return nil
}

func sendAndEnd(conn *net.TCPConn, count int64) error {
	sum := sha256.New()
	if _, err := io.Copy(conn, io.TeeReader(stuff(count), sum)); err != nil {
		return err
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if want := fmt.Sprintf("%d %x\n", count, sum.Sum(nil)); err != nil || string(answer) != want {
		return fmt.Errorf("the answer was %q, want %q: %v", answer, want, err)
	}
	return nil
}

func askAndSum(conn *net.TCPConn, count int64) error {
	if _, err := fmt.Fprintf(conn, "%d\n", count); err != nil {
		return err
	}
	got, want := sha256.New(), sha256.New()
	length, err := io.Copy(got, conn)
	_, _ = io.Copy(want, stuff(count))
	if err != nil || length != count || !slices.Equal(got.Sum(nil), want.Sum(nil)) {
		return fmt.Errorf("%d bytes of %d, or others: %v", length, count, err)
	}
	return nil
}

// askName wants an answer from the pod that was called: the first word of a host's name is the pod's.
func askName(conn *net.TCPConn, to string) error {
	name, _, _ := strings.Cut(strings.Split(to, ":")[0], ".")
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", name); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if pod := answer.Header.Get("pod"); pod != name {
		return fmt.Errorf("%s answered for %s", pod, name)
	}
	return nil
}

func wantEnd(reader *bufio.Reader) error {
	if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("no clean end: %v", err)
	}
	return nil
}

// hold keeps connections open until it is told to stop, and says a word on each from time to time. One that ends before is broken.
func hold(to string, count int, pause time.Duration) peer.Report {
	ctx, stop := context.WithCancel(context.Background())
	var mu sync.Mutex
	var report peer.Report
	var all, open sync.WaitGroup
	open.Add(count)
	for range count {
		all.Go(func() {
			words, err := keepTalking(ctx, to, pause, open.Done)
			mu.Lock()
			defer mu.Unlock()
			report.Words += words
			if err != nil {
				report.Faults = append(report.Faults, peer.Fault{At: time.Now(), Why: fmt.Sprintf("after %d words: %v", words, err)})
			} else {
				report.Done++
			}
		})
	}
	open.Wait()
	fmt.Println(peer.Ready)
	untilTold()
	stop()
	all.Wait()
	return report
}

// keepTalking says words until it is told to stop; `opened` is told after the first, or when there is none.
func keepTalking(ctx context.Context, to string, pause time.Duration, opened func()) (words int, err error) {
	opened = sync.OnceFunc(opened)
	defer opened()
	conn, err := net.DialTimeout("tcp", to, 10*time.Second)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		word := fmt.Sprintf("word %d\n", words)
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			return words, err
		}
		if _, err := io.WriteString(conn, word); err != nil {
			return words, err
		}
		if back, err := reader.ReadString('\n'); err != nil || back != word {
			return words, fmt.Errorf("%q came back for %q: %v", back, word, err)
		}
		words++
		opened()
		select {
		case <-ctx.Done():
			return words, nil
		case <-time.After(pause):
		}
	}
}
