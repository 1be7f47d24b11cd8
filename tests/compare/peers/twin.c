/* A line echo in C: a thread per connection, which blocks in read and in write. It has synchat's
 * shape without its library, its deadlines and its language. It shows the most that a machine gives
 * to this design.
 *
 * The replies to one read leave in one write, and nothing is read before that is done. So a client
 * that never reads costs only its two buffers. Each holds the longest line and one more read. Only
 * the used pages of a buffer are resident.
 *
 * With `yield` behind the address, each thread yields the processor after a reply, as synchat does
 * where that pays. The difference shows the effect of yielding.
 *
 * cc -O2 -pthread twin.c -o twin && ./twin 127.0.0.1:7008
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT 65536 /* The longest line, without its terminator. */
#define READ 65536
#define STACK 131072

static int yields;

struct connection {
    int fd;
    char in[LIMIT + 1 + READ], out[LIMIT + 1 + READ];
};

static int write_all(int fd, const char *bytes, size_t left)
{
    while (left > 0) {
        ssize_t written = write(fd, bytes, left);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        bytes += written;
        left -= written;
    }
    return 0;
}

/* Returns at the end of the stream, at an error, and at a line that is too long. */
static void serve(struct connection *c)
{
    size_t filled = 0; /* The length of an unfinished line at the beginning of `in`. */
    int fits = 1;
    while (fits) {
        ssize_t got = read(c->fd, c->in + filled, READ);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return;
        char *line = c->in, *scan = c->in + filled, *end = scan + got, *newline;
        size_t replies = 0;
        while ((newline = memchr(scan, '\n', end - scan))) {
            scan = newline + 1;
            if (newline == line || newline[-1] != '\r')
                continue; /* A single LF is data. */
            size_t length = scan - line;
            if (length > LIMIT + 2)
                break;
            memcpy(c->out + replies, line, length);
            replies += length;
            line = scan;
        }
        filled = end - line;
        /* The last byte may be the first byte of the terminator. */
        fits = !newline && filled - (filled > 0 && end[-1] == '\r') <= LIMIT;
        if (write_all(c->fd, c->out, replies) < 0)
            return;
        if (yields && replies > 0)
            sched_yield();
        memmove(c->in, line, filled);
    }
}

static void *run(void *connection)
{
    struct connection *c = connection;
    serve(c);
    close(c->fd);
    free(c);
    return NULL;
}

static int listen_on(const char *argument)
{
    int on = 1;
    char host[16] = "";
    unsigned port = 0;
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (argument == NULL || sscanf(argument, "%15[0-9.]:%u", host, &port) != 2 || port > 65535 ||
        inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    address.sin_port = htons(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        /* Accepted sockets inherit it. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0)
        return -1;
    return fd;
}

int main(int argc, char **argv)
{
    pthread_attr_t attributes;
    yields = argc == 3 && strcmp(argv[2], "yield") == 0;
    int listener = listen_on(argc == 2 || yields ? argv[1] : NULL);
    if (listener < 0) {
        fprintf(stderr, "twin: cannot listen on %s: %s\n", argc > 1 ? argv[1] : "no address",
                strerror(errno));
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED || errno == EPROTO))
            continue;
        struct connection *c = fd < 0 ? NULL : malloc(sizeof *c);
        if (c) {
            c->fd = fd;
            if (pthread_create(&thread, &attributes, run, c) == 0)
                continue;
            free(c);
        }
        if (fd >= 0)
            close(fd);
        usleep(10000); /* Descriptors, memory or threads ran out. Wait for a connection to end. */
    }
}
