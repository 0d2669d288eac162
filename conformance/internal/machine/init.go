package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Init is the life of PID 1: it makes the machine's view of the file system, then serves orders until it is killed.
func Init(specPath string) error {
	if os.Getpid() != 1 {
		return errors.New("this is started by `up`, as PID 1 of a machine")
	}
	spec, err := ReadSpec(specPath)
	if err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(spec.Name)); err != nil {
		return err
	}
	if err := mountFilesystems(spec); err != nil {
		return err
	}
	s := newSupervisor()
	children := make(chan os.Signal, 64)
	signal.Notify(children, syscall.SIGCHLD)
	// A closing terminal or a polite kill is not for a machine: `down` kills it. They are caught and dropped: what is
	// ignored stays ignored in every program started from here, down to those in pods.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		for range children {
			s.reap()
		}
	}()
	if spec.Forward != "" {
		if err := forward(spec.Forward); err != nil {
			return err
		}
	}
	_ = os.Remove(spec.Socket)
	listener, err := net.Listen("unix", spec.Socket)
	if err != nil {
		return err
	}
	return http.Serve(listener, handler(s))
}

func handler(s *supervisor) http.Handler {
	answer := func(w http.ResponseWriter, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /units", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, json.NewEncoder(w).Encode(s.status()))
	})
	mux.HandleFunc("PUT /units/{name}", func(w http.ResponseWriter, r *http.Request) {
		var spec Unit
		if err := json.NewDecoder(r.Body).Decode(&spec); err != nil || len(spec.Args) == 0 {
			http.Error(w, fmt.Sprintf("not a unit with a command: %v", err), http.StatusBadRequest)
			return
		}
		answer(w, s.put(spec))
	})
	mux.HandleFunc("POST /units/{name}/restart", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.signal(r.PathValue("name"), syscall.SIGKILL, false))
	})
	mux.HandleFunc("POST /units/{name}/stop", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.signal(r.PathValue("name"), syscall.SIGTERM, true))
	})
	return mux
}

// forward passes connections of the inherited listener, which is on the host's loopback, on to an address in the machine.
func forward(to string) error {
	listener, err := net.FileListener(os.NewFile(3, "forward"))
	if err != nil {
		return fmt.Errorf("the listener to forward from: %w", err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				log.Printf("forward: %v", err)
				return
			}
			go splice(conn, to)
		}
	}()
	return nil
}

func splice(client net.Conn, to string) {
	defer client.Close()
	server, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(server, client)
		closeWrite(server)
	}()
	_, _ = io.Copy(client, server)
	closeWrite(client)
	<-done
}

func closeWrite(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}
