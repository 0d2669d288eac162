// Package load sends requests at a fixed rate and forgives nothing: every answer that is not the expected one, and every
// connection that ends in the middle of a request, is a fault. Nothing is sent twice.
package load

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// timeout is how long a connection, and then each request, may take.
const timeout = 10 * time.Second

// Request is one HTTP request without a body.
type Request struct {
	// Method is GET if it is empty.
	Method     string
	Host, Path string
	// Header has what is sent beside the Host.
	Header http.Header
}

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Connection is one HTTP/1.1 connection that is kept open, as long as the server wants it.
// net/http's own client is not used: it sends a request again if a kept connection turns out to be closed.
type Connection struct {
	address string
	tls     *tls.Config
	dial    Dial
	conn    net.Conn
	reader  *bufio.Reader
	dials   int
}

// Dial opens a connection, as net.Dialer does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// From has connections opened from elsewhere.
func (c *Connection) From(dial Dial) *Connection {
	if dial != nil {
		c.dial = dial
	}
	return c
}

// NewConnection to an address; it is opened by the first request.
func NewConnection(address string, config *tls.Config) *Connection {
	return &Connection{address: address, tls: config, dial: (&net.Dialer{}).DialContext}
}

// Dials counts how often it was opened.
func (c *Connection) Dials() int { return c.dials }

// Close closes it.
func (c *Connection) Close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// Certificate that the server showed on the open connection, if it is TLS.
func (c *Connection) Certificate() []byte {
	if over, is := c.conn.(*tls.Conn); is {
		if chain := over.ConnectionState().PeerCertificates; len(chain) > 0 {
			return chain[0].Raw
		}
	}
	return nil
}

// Do sends one request and reads its answer. After an error the connection is closed.
func (c *Connection) Do(ctx context.Context, request Request) (Answer, error) {
	reused := c.conn != nil
	if !reused {
		if err := c.open(ctx); err != nil {
			return Answer{}, err
		}
	}
	answer, keep, err := c.exchange(request)
	if err != nil {
		c.Close()
		if reused {
			return answer, fmt.Errorf("on a kept connection: %w", err)
		}
		return answer, fmt.Errorf("on a new connection: %w", err)
	}
	if !keep {
		c.Close()
	}
	return answer, nil
}

func (c *Connection) open(ctx context.Context) error {
	c.dials++
	ctx, stop := context.WithTimeout(ctx, timeout)
	defer stop()
	conn, err := c.dial(ctx, "tcp", c.address)
	if err != nil {
		return err
	}
	if c.tls != nil {
		over := tls.Client(conn, c.tls)
		if err := over.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return fmt.Errorf("TLS handshake: %w", err)
		}
		conn = over
	}
	c.conn, c.reader = conn, bufio.NewReader(conn)
	return nil
}

func (c *Connection) exchange(request Request) (Answer, bool, error) {
	if err := c.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return Answer{}, false, err
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: fairway-behaviour\r\n", cmp.Or(request.Method, http.MethodGet), request.Path, request.Host)
	if request.Method == http.MethodPost {
		head.WriteString("Content-Length: 0\r\n")
	}
	if err := request.Header.Write(&head); err != nil {
		return Answer{}, false, err
	}
	head.WriteString("\r\n")
	if _, err := c.conn.Write(head.Bytes()); err != nil {
		return Answer{}, false, fmt.Errorf("sending: %w", err)
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return Answer{}, false, fmt.Errorf("reading the answer: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, false, fmt.Errorf("reading the body: %w", err)
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: body}, !response.Close, nil
}
