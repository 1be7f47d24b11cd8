// A line echo on Node: one loop on one thread, which calls back with what was read.
//
// All lines of a read are answered by one write. When the socket does not take all of it, reading
// pauses until it has. The beginning of a line is copied at every read until its end comes; the
// limit bounds that.
//
// node echo.js 127.0.0.1:7008

'use strict';

const net = require('node:net');

const [CR, LF] = Buffer.from('\r\n');
const LIMIT = 65536; // The longest line, without its terminator.

function serve(socket) {
    let tail = Buffer.alloc(0); // A line without end.
    socket.on('data', (data) => {
        const bytes = tail.length > 0 ? Buffer.concat([tail, data]) : data;
        const replies = Buffer.allocUnsafe(bytes.length);
        let [length, start, scan] = [0, 0, tail.length];
        let newline;
        while ((newline = bytes.indexOf(LF, scan)) >= 0) {
            scan = newline + 1;
            if (newline === start || bytes[newline - 1] !== CR) {
                continue; // A bare one is data.
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
        // The last byte may be the first one of the terminator.
        if (newline >= 0 || tail.length - Number(tail.at(-1) === CR) > LIMIT) {
            socket.removeAllListeners('data').destroySoon(); // Once all is sent.
        }
    });
    socket.on('drain', () => socket.resume());
    socket.on('end', () => socket.end());
    socket.on('error', () => {}); // It is closed by then.
}

function fail(error) {
    console.error(`echo.js: ${error.message}`);
    process.exit(1);
}

const server = net.createServer({ allowHalfOpen: true, noDelay: true }, serve);
server.on('error', (error) => {
    // When it listens already, a connection could not be accepted; the next one may be.
    if (!server.listening) {
        fail(error);
    }
});
try {
    const [, host, port] = /^(.*):(\d+)$/.exec(process.argv[2]);
    server.listen({ host, port: Number(port), backlog: 4096 });
} catch {
    fail(new Error('give an address to listen on, as 127.0.0.1:7008'));
}
