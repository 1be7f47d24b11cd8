"""A line echo on asyncio's callbacks (asyncio.Protocol): the fast way to write it in Python.

One loop runs on one thread. It is asyncio's own loop or, with a second argument `uvloop`, uvloop,
which is built on libuv. One write answers all lines of a read. The server does not read from a
client that does not read. The beginning of a line is copied at every read until its end comes. The
limit of a line bounds that cost.

python3 asyncio_protocol.py 127.0.0.1:7008 [uvloop]
"""

import asyncio
import itertools
import sys

CRLF = b"\r\n"
LIMIT = 65536  # The longest line, without its terminator.


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        # Both loops have already set TCP_NODELAY.
        self.transport = transport
        self.tail = b""  # The beginning of a line whose end has not come.

    def data_received(self, data):
        *lines, self.tail = (self.tail + data).split(CRLF)
        # The last byte may be the first byte of the terminator.
        longest = max(map(len, lines + [self.tail.removesuffix(b"\r")]))
        if longest > LIMIT:
            lines = list(itertools.takewhile(lambda line: len(line) <= LIMIT, lines))
        if lines:
            lines.append(b"")  # join() then adds a terminator to the last line, too.
            self.transport.write(CRLF.join(lines))
        if longest > LIMIT:
            self.transport.close()  # It sends its output first.

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

    def eof_received(self):
        return False  # The transport sends its output, then closes itself.


def complain(loop, context):
    # Without descriptors, asyncio logs an error for each place in the backlog, then waits a second.
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
