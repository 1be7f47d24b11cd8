"""A line echo on asyncio's streams: a coroutine per connection that reads as if it blocked.

readuntil returns one line. It does not yield to the loop while a whole line is buffered. So the
first reply of a batch asks the loop to send all replies as soon as the coroutine waits. That is one
write for all of them, and costs one more turn of the loop. The usual way, a write and a drain after
each line, costs one system call per line.

Flow control lies in drain, which waits while too much is unsent, and in the reader, which stops at
twice its limit. The reader notices a line that is one byte too long only when one more byte comes.

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
        # The stream has ended, or a line is too long.
        send()
    except OSError:
        pass
    finally:
        writer.close()


def complain(loop, context):
    # Without descriptors, asyncio logs an error for each place in the backlog, then waits a second.
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
