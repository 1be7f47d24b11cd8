// A line echo on Node.js: one loop on one thread, which calls back with the bytes it has read.
//
// One write answers all lines of a read. If the socket does not accept all of it, reading pauses
// until it has. The beginning of a line is copied at every read until its end comes. The limit of a
// line bounds that cost.
//
// node echo.js 127.0.0.1:7008

'use strict';

const net = require('node:net');

const [CR, LF] = Buffer.from('\r\n');
const LIMIT = 65536; // The longest line, without its terminator.

function serve(socket) {
    let tail = Buffer.alloc(0); // The beginning of a line whose end has not come.
    socket.on('data', (data) => {
        const bytes = tail.length > 0 ? Buffer.concat([tail, data]) : data;
        const replies = Buffer.allocUnsafe(bytes.length);
        let [length, start, scan] = [0, 0, tail.length];
        let newline;
        while ((newline = bytes.indexOf(LF, scan)) >= 0) {
            scan = newline + 1;
            if (newline === start || bytes[newline - 1] !== CR) {
                continue; // A single LF is data.
            }
            if (scan - start > LIMIT + 2) {
                break;
            }
            length += bytes.copy(replies, length, start, scan);
            start = scan;
        }
        tail = bytes.subarray(start);
        if (length > 0 && !socket.write(replies.subarray(0, length))) {
            socket.pause();
        }
        // The last byte may be the first byte of the terminator.
        if (newline >= 0 || tail.length - Number(tail.at(-1) === CR) > LIMIT) {
            socket.removeAllListeners('data').destroySoon(); // It sends its output first.
        }
    });
    socket.on('drain', () => socket.resume());
    socket.on('end', () => socket.end());
    socket.on('error', () => {}); // The socket is already closed.
}

function fail(error) {
    console.error(`echo.js: ${error.message}`);
    process.exit(1);
}

const server = net.createServer({ allowHalfOpen: true, noDelay: true }, serve);
server.on('error', (error) => {
    // While it listens, an error only means that one connection could not be accepted.
    if (!server.listening) {
        fail(error);
    }
});
try {
    const [, host, port] = /^(.*):(\d+)$/.exec(process.argv[2]);
    server.listen({ host, port: Number(port), backlog: 4096 });
} catch {
    fail(new Error('give an address to listen on, as in 127.0.0.1:7008'));
}
