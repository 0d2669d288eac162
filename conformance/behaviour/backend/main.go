// Backend is the server behind the routes of the behaviour tests. It says who it is, on which port it was asked, by whom, and with
// which headers `variant`, `X-Forwarded-For` and those named by `?header=`, with the status that it is asked for, and it can be told to be in trouble for a while. With arguments it is a client within its pod.
package main

import (
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Ports that answer, and the port that takes orders.
const control = ":9000"

// tlsPort answers as the first of the ports does, over TLS.
const tlsPort = ":8443"

var ports = []string{":8080", ":8081"}

func main() {
	if len(os.Args) > 1 {
		if err := runClient(os.Args[1:]); err != nil {
			log.Fatal(err)
		}
		return
	}
	serveProtocols()
	doors := make([]*door, 0, len(ports))
	for _, port := range ports {
		d := &door{port: port, conns: map[net.Conn]bool{}}
		if err := d.open(); err != nil {
			log.Fatal(err)
		}
		doors = append(doors, d)
	}
	serveTLS(doors[0])
	http.HandleFunc("POST /trouble", func(w http.ResponseWriter, r *http.Request) {
		span, err := time.ParseDuration(r.URL.Query().Get("for"))
		mode, known := modes[r.URL.Query().Get("mode")]
		if err != nil || !known {
			http.Error(w, "say ?mode=reset|refuse&for=20s", http.StatusBadRequest)
			return
		}
		for _, d := range doors {
			d.trouble(mode, span)
		}
	})
	log.Fatal(http.ListenAndServe(control, nil))
}

type mode int

const (
	fine   mode = iota
	reset       // accepts connections and resets them
	refuse      // does not listen
)

var modes = map[string]mode{"reset": reset, "refuse": refuse}

// door is one port: the listener, and the connections it let in.
type door struct {
	port     string
	mu       sync.Mutex
	mode     mode
	listener net.Listener
	conns    map[net.Conn]bool
}

func (d *door) open() error {
	listener, err := net.Listen("tcp", d.port)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.listener = listener
	d.mu.Unlock()
	server := &http.Server{Handler: http.HandlerFunc(d.answer), ConnState: d.follow}
	go func() {
		if err := server.Serve(guarded{listener, d}); !errors.Is(err, net.ErrClosed) {
			log.Fatal(err)
		}
	}()
	return nil
}

func (d *door) answer(w http.ResponseWriter, r *http.Request) {
	if span, err := time.ParseDuration(r.URL.Query().Get("wait")); err == nil {
		time.Sleep(span)
	}
	w.Header().Set("pod", os.Getenv("POD_NAME"))
	w.Header().Set("port", d.port[1:])
	w.Header().Set("client", r.RemoteAddr)
	w.Header().Set("variant", r.Header.Get("variant"))
	w.Header().Set("forwarded-for", strings.Join(r.Header.Values("X-Forwarded-For"), " | "))
	w.Header().Set("path", r.URL.Path)
	w.Header().Set("target", r.Method+" "+r.RequestURI)
	for _, name := range r.URL.Query()["header"] {
		w.Header().Add("heard", name+": "+strings.Join(r.Header.Values(name), " | "))
	}
	w.Header().Set("traceparent", r.Header.Get("traceparent"))
	if status, err := strconv.Atoi(r.URL.Query().Get("status")); err == nil {
		w.WriteHeader(status)
	}
	fmt.Fprintln(w, os.Getenv("POD_NAME"))
}

// serveTLS has a door answer over TLS, too, where a certificate is mounted.
func serveTLS(d *door) {
	const certificate, key = "/tls/tls.crt", "/tls/tls.key"
	if _, err := os.Stat(certificate); err != nil {
		return
	}
	server := &http.Server{Addr: tlsPort, Handler: http.HandlerFunc(d.answer)}
	go func() { log.Fatal(server.ListenAndServeTLS(certificate, key)) }()
}

func (d *door) follow(conn net.Conn, state http.ConnState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch state {
	case http.StateNew:
		d.conns[conn] = true
	case http.StateClosed, http.StateHijacked:
		delete(d.conns, conn)
	}
}

func (d *door) trouble(m mode, span time.Duration) {
	d.mu.Lock()
	d.mode = m
	if m == refuse {
		_ = d.listener.Close()
	}
	for conn := range d.conns {
		abort(conn)
	}
	d.mu.Unlock()
	time.AfterFunc(span, func() {
		d.mu.Lock()
		d.mode = fine
		d.mu.Unlock()
		if m == refuse {
			if err := d.open(); err != nil {
				log.Fatal(err)
			}
		}
	})
}

// guarded resets what comes while the door is in trouble.
type guarded struct {
	net.Listener
	door *door
}

func (g guarded) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.door.mu.Lock()
		m := g.door.mode
		g.door.mu.Unlock()
		if m == fine {
			return conn, nil
		}
		abort(conn)
	}
}

// abort ends a connection with a reset.
func abort(conn net.Conn) {
	if tcp, is := conn.(*net.TCPConn); is {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
