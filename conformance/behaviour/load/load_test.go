package load

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestTheRateIsKeptOnKeptConnections(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }))
	defer server.Close()
	run := Start(context.Background(), Plan{
		Address: server.Listener.Addr().String(), Rate: 200, Connections: 4, Request: Always(Request{Host: "x", Path: "/"}),
	})
	start := time.Now()
	answered(t, run, 100)
	took := time.Since(start)
	result := run.Stop()
	if len(result.Faults) != 0 || result.Dials != 4 {
		t.Errorf("want no fault on 4 connections, got %s", result)
	}
	// A busy machine makes it slower, nothing makes it faster.
	if took < 450*time.Millisecond {
		t.Errorf("100 requests at 200 a second took %s", took)
	}
}

func TestEveryFaultIsCounted(t *testing.T) {
	var seen atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch n := seen.Add(1); {
		case n == 3:
			w.WriteHeader(503)
		case n == 6: // the connection ends without an answer
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		case n == 8: // the server wants no more on this connection: not a fault
			w.Header().Set("Connection", "close")
		}
	}))
	defer server.Close()
	run := Start(context.Background(), Plan{
		Address: server.Listener.Addr().String(), Rate: 100, Connections: 1, Request: Always(Request{Host: "x", Path: "/"}),
	})
	answered(t, run, 12)
	result := run.Stop()
	if len(result.Faults) != 2 || result.Dials != 3 {
		t.Fatalf("want 2 faults and 3 connections, got %s", result)
	}
	if why := result.Faults[0].Why; !strings.Contains(why, "503") {
		t.Errorf("first fault: %s", why)
	}
	if why := result.Faults[1].Why; !strings.Contains(why, "kept connection") {
		t.Errorf("second fault: %s", why)
	}
}

// answered waits until so many requests have ended.
func answered(t *testing.T, run *Run, wanted int) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); run.Answered() < wanted; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d requests have ended after 15 s", run.Answered(), wanted)
		}
	}
}
