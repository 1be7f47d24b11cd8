// A line echo in Go: a goroutine per connection, which reads and writes as if it blocked.
//
// The runtime parks goroutines on one epoll and runs them on as many threads as there are cores.
// Replies are sent when the reader is empty, never later. So all replies to one read leave in one
// write, and the server does not read from a client that never reads. Each connection has a buffer of
// 64 KiB.
//
// go build -o echo echo.go && ./echo 127.0.0.1:7008
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"time"
)

// The longest line, without its terminator.
const limit = 64 << 10

var crlf = []byte("\r\n")

type connection struct {
	net.Conn
	lines []byte // The whole lines, then the beginning of the next line.
	whole int    // The length of the whole lines, which are still to be sent.
}

// Read is called by the buffered reader when it is empty. It sends the replies first, so the server
// never waits for input while replies are unsent.
func (c *connection) Read(buffer []byte) (int, error) {
	if c.whole > 0 {
		if _, err := c.Write(c.lines[:c.whole]); err != nil {
			return 0, err
		}
		c.lines = append(c.lines[:0], c.lines[c.whole:]...)
		c.whole = 0
	}
	return c.Conn.Read(buffer)
}

func (c *connection) echo() {
	defer c.Close()
	// A line that fills this buffer is too long, unless its last byte begins the terminator.
	reader := bufio.NewReaderSize(c, limit+1)
	for {
		// This reads up to a newline, which may be data. So look at the end of the whole line.
		piece, err := reader.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return
		}
		c.lines = append(c.lines, piece...)
		line := c.lines[c.whole:]
		if ended := bytes.HasSuffix(line, crlf); ended && len(line) <= limit+len(crlf) {
			c.whole = len(c.lines)
		} else if ended || len(bytes.TrimSuffix(line, crlf[:1])) > limit {
			c.Write(c.lines[:c.whole])
			return
		}
	}
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "echo.go: give an address to listen on, as in 127.0.0.1:7008")
		os.Exit(1)
	}
	// The backlog is net.core.somaxconn, by default 4096.
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo.go:", err)
		os.Exit(1)
	}
	for {
		conn, err := listener.Accept() // Go sets TCP_NODELAY by itself.
		if err != nil {
			time.Sleep(10 * time.Millisecond) // No descriptor is free. Wait for a connection to end.
			continue
		}
		go (&connection{Conn: conn}).echo()
	}
}
