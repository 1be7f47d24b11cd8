"""A line echo on asyncio's streams: a coroutine per connection that reads as if it blocked.

readuntil gives one line, and does not give way to the loop while a whole line is buffered. So the
first reply of a batch asks the loop to send it and those behind it as soon as the coroutine waits:
one write for all, at the cost of one more turn of the loop. A write and a drain after each line, as
mostly seen, is a system call a line.

Flow control is in drain, which waits while too much is unsent, and in the reader, which stops at
twice its limit. Of a line that is one byte too long the reader knows when one more byte came.

python3 asyncio_streams.py 127.0.0.1:7008
"""

import asyncio
import sys

CRLF = b"\r\n"
LIMIT = 65536  # The longest line, without its terminator.


async def echo(reader, writer):
    loop = asyncio.get_running_loop()
    replies = []

    def send():
        writer.write(b"".join(replies))
        replies.clear()

    try:
        while True:
            line = await reader.readuntil(CRLF)
            if not replies:
                await writer.drain()
                loop.call_soon(send)
            replies.append(line)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        # The end of the stream, or a line that is too long.
        send()
    except OSError:
        pass
    finally:
        writer.close()


def complain(loop, context):
    # Out of descriptors, asyncio says so for each place in the backlog, and tries after a second.
    if not context["message"].startswith("socket.accept()"):
        loop.default_exception_handler(context)


async def main(host, port):
    asyncio.get_running_loop().set_exception_handler(complain)
    server = await asyncio.start_server(echo, host, int(port), limit=LIMIT, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        host, port = sys.argv[1].rsplit(":", 1)
        asyncio.run(main(host, port))
    except (IndexError, ValueError, OverflowError, OSError) as error:
        sys.exit(f"asyncio_streams.py: cannot listen on {sys.argv[1:]}: {error}")
