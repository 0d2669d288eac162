package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
)

// The ports of protocols that are not HTTP.
const (
	greetingPort = ":7001"
	echoPort     = ":7002"
	digestPort   = ":7003"
	sourcePort   = ":7004"
	healthPort   = ":7005"
)

// serveProtocols serves what is not HTTP: what a tunnel that looks into connections, or waits for their first bytes, gets wrong.
func serveProtocols() {
	for port, serve := range map[string]func(*net.TCPConn) error{
		greetingPort: greet, echoPort: echo, digestPort: digest, sourcePort: pour,
	} {
		listener, err := net.Listen("tcp", port)
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			for {
				conn, err := listener.Accept()
				if err != nil {
					log.Fatal(err)
				}
				go func() {
					defer conn.Close()
					if err := serve(conn.(*net.TCPConn)); err != nil {
						log.Printf("%s: %v", port, err)
					}
				}()
			}
		}()
	}
	go serveHealth()
}

// greet speaks first, as MySQL and SMTP do.
func greet(conn *net.TCPConn) error {
	if _, err := io.WriteString(conn, greeting); err != nil {
		return err
	}
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if _, err := fmt.Fprintf(conn, "250 %s\n", lines.Text()); err != nil {
			return err
		}
	}
	return lines.Err()
}

const greeting = "220 ready\n"

// echo gives back what it gets, and ends when the client has ended.
func echo(conn *net.TCPConn) error {
	if _, err := io.Copy(conn, conn); err != nil {
		return err
	}
	return conn.CloseWrite()
}

// digest answers only when the client has ended its half.
func digest(conn *net.TCPConn) error {
	sum := sha256.New()
	count, err := io.Copy(sum, conn)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "%d %x\n", count, sum.Sum(nil))
	return err
}

// pour sends as many bytes as it is asked for.
func pour(conn *net.TCPConn) error {
	var count int64
	if _, err := fmt.Fscanln(conn, &count); err != nil {
		return err
	}
	_, err := io.Copy(conn, stuff(count))
	return err
}

// stuff is so many bytes, always the same and nowhere twice in a row.
func stuff(count int64) io.Reader { return io.LimitReader(&counter{}, count) }

type counter struct{ at uint64 }

func (c *counter) Read(into []byte) (int, error) {
	for i := range into {
		into[i] = byte(c.at ^ c.at>>8 ^ c.at>>16)
		c.at++
	}
	return len(into), nil
}

// serveHealth answers grpc.health.v1 for kubelet: the one message there is to say.
func serveHealth() {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Addr: healthPort, Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/grpc.health.v1.Health/") {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		_, _ = w.Write([]byte{0, 0, 0, 0, 2, 8, 1}) // two bytes: status = SERVING
		w.Header().Set("Grpc-Status", "0")
	})}
	log.Fatal(server.ListenAndServe())
}
