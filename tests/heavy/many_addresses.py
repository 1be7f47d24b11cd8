"""Connects to 127.0.0.1 at PORT from COUNT addresses of 127.0.0.0/8, the FIRST of them so far from
127.1.0.0, asks each connection for an echo and waits for its end."""

import ipaddress
import socket
import sys

port, first, count = map(int, sys.argv[1:])
served = 0
for number in range(first, first + count):
    source = str(ipaddress.IPv4Address("127.1.0.0") + number)
    with socket.create_connection(("127.0.0.1", port), 10, (source, 0)) as connection:
        connection.sendall(b"x\r\n")
        connection.shutdown(socket.SHUT_WR)
        # The end of the stream comes when the place is given back.
        served += connection.makefile("rb").read() == b"x\r\n"
print(served, "served")
