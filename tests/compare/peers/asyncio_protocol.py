"""A line echo on asyncio's callbacks, asyncio.Protocol: the fast way to write it in Python.

One loop on one thread: asyncio's own or, with a second argument `uvloop`, that one, which is libuv.
All lines of a read are answered by one write. A client that does not read is not read from.
The beginning of a line is copied at every read until its end comes; the limit bounds that.

python3 asyncio_protocol.py 127.0.0.1:7008 [uvloop]
"""

import asyncio
import itertools
import sys

CRLF = b"\r\n"
LIMIT = 65536  # The longest line, without its terminator.


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        # TCP_NODELAY is set already: both loops do that.
        self.transport = transport
        self.tail = b""  # A line without end.

    def data_received(self, data):
        *lines, self.tail = (self.tail + data).split(CRLF)
        # Its last byte may be the first one of the terminator.
        longest = max(map(len, lines + [self.tail.removesuffix(b"\r")]))
        if longest > LIMIT:
            lines = list(itertools.takewhile(lambda line: len(line) <= LIMIT, lines))
        if lines:
            lines.append(b"")  # A terminator after the last one, too.
            self.transport.write(CRLF.join(lines))
        if longest > LIMIT:
            self.transport.close()  # Once all is sent.

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

    def eof_received(self):
        return False  # The transport closes itself, once all is sent.


def complain(loop, context):
    # Out of descriptors, asyncio says so for each place in the backlog, and tries after a second.
    if not context["message"].startswith("socket.accept()"):
        loop.default_exception_handler(context)


async def main(host, port):
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(complain)
    server = await loop.create_server(Echo, host, int(port), backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        host, port = sys.argv[1].rsplit(":", 1)
        make_loop = None
        if sys.argv[2:] == ["uvloop"]:
            from uvloop import new_event_loop as make_loop
        with asyncio.Runner(loop_factory=make_loop) as runner:
            runner.run(main(host, port))
    except (ImportError, IndexError, ValueError, OverflowError, OSError) as error:
        sys.exit(f"asyncio_protocol.py: cannot serve on {sys.argv[1:]}: {error}")
