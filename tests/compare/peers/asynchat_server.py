"""A line echo on asynchat: the server that synchat descends from, brought to Python 3.11.

asynchat collects a line, finds its end and keeps a queue of output. Its loop polls all sockets on
one thread. The names and the order come from the article that synchat's README mentions. The parts
that asynchat leaves to its user are added: replies to one read are pushed together, lines have a
limit, the server does not read from a client that does not read, and the loop survives a lack of
descriptors.

The cost: before each poll the loop asks every channel, even a silent one, what it waits for. And
each line copies the bytes that were read behind it.

python3.11 asynchat_server.py 127.0.0.1:7008
"""

import socket
import sys
import time
import warnings

warnings.simplefilter("ignore", DeprecationWarning)
try:
    import asynchat
    import asyncore
except ImportError as error:
    sys.exit(f"asynchat_server.py: {error}; only Python up to 3.11 has it")

BACKLOG = 4096
LIMIT = 65536  # The longest line, without its terminator.


class EchoHandler(asynchat.async_chat):

    LINE_TERMINATOR = b"\r\n"
    # A stored line and the next read leave in one send.
    ac_out_buffer_size = 2 * LIMIT + 2

    def __init__(self, conn_sock, client_address, server):
        asynchat.async_chat.__init__(self, conn_sock)
        self.server = server
        self.client_address = client_address
        self.ibuffer = []
        self.length = 0  # The length of the line in ibuffer.
        self.replies = []
        self.ending = False  # Reads no more, and still sends its pending output.

        self.set_terminator(self.LINE_TERMINATOR)

    def collect_incoming_data(self, data):
        self.length += len(data)
        if self.length <= LIMIT:
            self.ibuffer.append(data)
        else:
            # The rest of the read comes here at once and is dropped.
            self.set_terminator(None)

    def found_terminator(self):
        if self.length > LIMIT:
            return
        self.replies += self.ibuffer
        self.replies.append(self.LINE_TERMINATOR)
        self.ibuffer = []
        self.length = 0

    def handle_read(self):
        asynchat.async_chat.handle_read(self)
        if self.replies:
            self.send_data()
        if self.length > LIMIT:
            self.handle_close()

    def send_data(self):
        data = b"".join(self.replies)
        self.replies = []
        self.push(data)

    def readable(self):
        return not self.producer_fifo and not self.ending

    # Called at the end of the stream, after an error, and when the queue is empty.
    def handle_close(self):
        if self.producer_fifo and not self.ending:
            self.ending = True
            self.close_when_done()
        else:
            asynchat.async_chat.handle_close(self)


class EchoServer(asyncore.dispatcher):

    allow_reuse_address = True
    request_queue_size = BACKLOG
    address_family = socket.AF_INET
    socket_type = socket.SOCK_STREAM

    def __init__(self, address, handlerClass=EchoHandler):
        self.address = address
        self.handlerClass = handlerClass
        self.accept_after = 0.0

        asyncore.dispatcher.__init__(self)
        self.create_socket(self.address_family, self.socket_type)

        if self.allow_reuse_address:
            self.set_reuse_addr()

        self.server_bind()
        self.server_activate()

    def server_bind(self):
        self.bind(self.address)

    def server_activate(self):
        self.listen(self.request_queue_size)

    def serve_forever(self):
        # select(), the default, cannot go beyond descriptor 1023. The timeout serves accept_after.
        asyncore.loop(timeout=1.0, use_poll=True)

    # Without descriptors, asyncore's loop closes the listener. This one waits a little instead.
    def readable(self):
        return time.monotonic() >= self.accept_after

    # Internal use
    def handle_accept(self):
        # Each turn of the loop looks at every channel, so accept all waiting connections in one.
        try:
            while (pair := self.accept()) is not None:
                if self.verify_request(*pair):
                    self.process_request(*pair)
        except OSError:
            self.accept_after = time.monotonic() + 0.1

    def verify_request(self, conn_sock, client_address):
        return True

    def process_request(self, conn_sock, client_address):
        conn_sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.handlerClass(conn_sock, client_address, self)

    def handle_close(self):
        self.close()


if __name__ == "__main__":
    try:
        host, port = sys.argv[1].rsplit(":", 1)
        server = EchoServer((host, int(port)))
    except (IndexError, ValueError, OverflowError, OSError) as error:
        sys.exit(f"asynchat_server.py: cannot listen on {sys.argv[1:]}: {error}")
    server.serve_forever()
