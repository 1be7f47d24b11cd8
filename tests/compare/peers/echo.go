// A line echo in Go: a goroutine per connection, which reads and writes as if it blocked.
//
// The runtime parks goroutines on one epoll and runs them on as many threads as there are cores.
// Replies are flushed when the reader runs dry, never later: all that one read ended leaves in one
// write, and a client that never reads is not read from. Each connection has its 64 KiB buffer.
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
	lines []byte // Those that have their end, and then the beginning of the next.
	whole int    // Length of the former: what is to be sent.
}

// Read is called by the buffered reader once it is dry: never wait for input on unsent replies.
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
	// Full with a line that is too long, unless its last byte begins the terminator.
	reader := bufio.NewReaderSize(c, limit+1)
	for {
		// Up to a newline, which may be data: the terminator is looked for in the whole line.
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
		fmt.Fprintln(os.Stderr, "echo.go: give an address to listen on, as 127.0.0.1:7008")
		os.Exit(1)
	}
	// Its backlog is net.core.somaxconn, 4096 unless set otherwise.
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo.go:", err)
		os.Exit(1)
	}
	for {
		conn, err := listener.Accept() // With TCP_NODELAY, as all of Go's.
		if err != nil {
			time.Sleep(10 * time.Millisecond) // Out of descriptors: others have to end first.
			continue
		}
		go (&connection{Conn: conn}).echo()
	}
}
