"""Connects to HOST PORT from each SOURCE in turn, asks each connection for an echo, and prints the
line that comes. All connections stay open until the last one was asked."""

import socket
import sys

host, port, *sources = sys.argv[1:]
connections = []
for source in sources:
    connection = socket.create_connection((host, int(port)), 10, (source, 0))
    connections.append(connection)
    try:
        connection.sendall(b"echo\r\n")
        print(connection.makefile("rb").readline().decode().rstrip(), flush=True)
    except ConnectionError as error:
        print(error, flush=True)
