/*
 * What a fan-out costs where nothing is interpreted: the server of bench_floor.py, in C over epoll.
 *
 *     cc -O2 -o bound bound.c && ./bound PORT
 *
 * One process, no store, no JSON, no order, no acknowledgements, no limits. What one turn of epoll brings for a room
 * leaves by one send() for each member. A connection is in the room that its hello names first, and speaks to that one.
 * Compressed messages are passed on as they came. The answer to a handshake is that to the key of RFC 6455, section
 * 1.3, which every connection of the load sends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, INPUT = 1 << 18, NAME = 64, ROOMS = 1 << 14, MOST_WAITING = 64 << 20 };

static const char DEFLATE[] = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
static const char WELCOME[] = "\x81\x12{\"type\":\"welcome\"}";

struct bytes {
    char *data;
    size_t size, room;
};

struct room {
    char name[NAME];
    struct connection **members;
    size_t count, space;
    struct bytes batch; /* what this turn has brought */
    int waits;          /* whether it is among `due` */
};

struct connection {
    int fd, open, closed;
    struct room *room; /* NULL until the hello */
    size_t place;      /* among the room's members */
    struct bytes rest; /* a request or frame that has come in part */
    struct bytes unsent;
};

static int epoll;
static struct room *rooms[ROOMS]; /* open addressing by name */
static struct room *due[ROOMS];
static size_t due_count;
static struct connection *ended[EVENTS * 16];
static size_t ended_count;

static void *must(void *memory) {
    if (memory == NULL) {
        fputs("bound: out of memory\n", stderr);
        exit(1);
    }
    return memory;
}

static void append(struct bytes *bytes, const char *data, size_t size) {
    if (bytes->size + size > bytes->room) {
        bytes->room = (bytes->size + size) * 2;
        bytes->data = must(realloc(bytes->data, bytes->room));
    }
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void release(struct bytes *bytes) {
    free(bytes->data);
    memset(bytes, 0, sizeof *bytes);
}

/* The room of that name, made where there is none; NULL where there are too many. */
static struct room *room_of(const char *name, size_t size) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    for (size_t tried = 0; tried < ROOMS; tried++) {
        struct room **slot = &rooms[(hash + tried) % ROOMS];
        if (*slot == NULL) {
            *slot = must(calloc(1, sizeof **slot));
            memcpy((*slot)->name, name, size);
            return *slot;
        }
        if (strlen((*slot)->name) == size && memcmp((*slot)->name, name, size) == 0)
            return *slot;
    }
    return NULL;
}

static void leave(struct connection *connection) {
    struct room *room = connection->room;
    if (room == NULL)
        return;
    struct connection *last = room->members[--room->count];
    room->members[connection->place] = last;
    last->place = connection->place;
    connection->room = NULL;
}

static void finish(struct connection *connection) {
    if (connection->closed || ended_count == sizeof ended / sizeof *ended)
        return;
    connection->closed = 1;
    leave(connection);
    close(connection->fd);
    ended[ended_count++] = connection; /* freed after the turn: its events may be among those at hand */
}

static void watch(struct connection *connection, int change, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(epoll, change, connection->fd, &event);
}

/* Send now what the kernel takes; keep the rest. Returns 0 where the connection is to be ended. */
static int transmit(struct connection *connection, const char *data, size_t size) {
    if (connection->unsent.size == 0) {
        ssize_t sent = send(connection->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent == (ssize_t)size)
            return 1;
        if (sent < 0 && errno != EAGAIN)
            return 0;
        data += sent < 0 ? 0 : sent;
        size -= sent < 0 ? 0 : (size_t)sent;
        watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    append(&connection->unsent, data, size);
    return connection->unsent.size <= MOST_WAITING;
}

static void writable(struct connection *connection) {
    struct bytes *unsent = &connection->unsent;
    ssize_t sent = send(connection->fd, unsent->data, unsent->size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return;
    unsent->size -= (size_t)sent;
    memmove(unsent->data, unsent->data + sent, unsent->size);
    if (unsent->size == 0) {
        release(unsent);
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    }
}

static int join(struct connection *connection, const char *hello, size_t size) {
    static const char key[] = "\"room\":\"";
    const char *name = memmem(hello, size, key, sizeof key - 1);
    if (name == NULL)
        return 0;
    name += sizeof key - 1;
    const char *end = memchr(name, '"', size - (size_t)(name - hello));
    if (end == NULL || end - name >= NAME)
        return 0;
    struct room *room = room_of(name, (size_t)(end - name));
    if (room == NULL)
        return 0;
    if (room->count == room->space) {
        room->space = room->space ? room->space * 2 : 4;
        room->members = must(realloc(room->members, room->space * sizeof *room->members));
    }
    connection->room = room;
    connection->place = room->count;
    room->members[room->count++] = connection;
    return transmit(connection, WELCOME, sizeof WELCOME - 1);
}

static void say(struct room *room, const char *head, size_t head_size, const char *payload, size_t size) {
    if (!room->waits) {
        room->waits = 1;
        due[due_count++] = room;
    }
    append(&room->batch, head, head_size);
    append(&room->batch, payload, size);
}

/* The frames at the begin of the data. Returns how many bytes they took, or -1 to end the connection. */
static ssize_t frames(struct connection *connection, char *data, size_t size) {
    size_t at = 0;
    while (size - at >= 2) {
        unsigned char *head = (unsigned char *)data + at;
        size_t length = head[1] & 0x7F, begin = 2;
        if (length == 127 || head[0] % 16 == 8)
            return -1; /* longer than the load's, or a close */
        if (length == 126) {
            if (size - at < 4)
                break;
            length = (size_t)head[2] << 8 | head[3];
            begin = 4;
        }
        if (size - at < begin + 4 + length)
            break;
        char *mask = data + at + begin, *payload = mask + 4;
        for (size_t i = 0; i < length; i++)
            payload[i] ^= mask[i % 4];
        head[1] &= 0x7F;
        if (connection->room != NULL && (head[0] == 0x81 || head[0] == 0xC1))
            say(connection->room, (char *)head, begin, payload, length);
        else if (connection->room == NULL && !join(connection, payload, length))
            return -1;
        at += begin + 4 + length;
    }
    return (ssize_t)at;
}

/* The request at the begin of the data. Returns how many bytes it took, 0 where it is not whole, or -1. */
static ssize_t handshake(struct connection *connection, char *data, size_t size) {
    char *end = memmem(data, size, "\r\n\r\n", 4);
    if (end == NULL)
        return size < 16384 ? 0 : -1;
    char answer[512];
    int compressed = memmem(data, (size_t)(end - data), DEFLATE, sizeof DEFLATE - 1) != NULL;
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n%s%s%s"
                          "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
                          compressed ? "Sec-WebSocket-Extensions: " : "", compressed ? DEFLATE : "",
                          compressed ? "\r\n" : "");
    connection->open = 1;
    return transmit(connection, answer, (size_t)length) ? end + 4 - data : -1;
}

static void readable(struct connection *connection) {
    static char input[INPUT];
    size_t size = connection->rest.size;
    if (size > INPUT / 2)
        return finish(connection);
    memcpy(input, connection->rest.data ? connection->rest.data : "", size);
    ssize_t got = recv(connection->fd, input + size, INPUT - size, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        return finish(connection);
    size += (size_t)got;
    ssize_t used = connection->open ? 0 : handshake(connection, input, size);
    if (used >= 0 && connection->open) {
        ssize_t more = frames(connection, input + used, size - (size_t)used);
        used = more < 0 ? -1 : used + more;
    }
    if (used < 0)
        return finish(connection);
    release(&connection->rest);
    if ((size_t)used < size)
        append(&connection->rest, input + used, size - (size_t)used);
}

static void welcome_all(int listener) {
    int on = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = must(calloc(1, sizeof *connection));
        connection->fd = fd;
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

static void flush_all(void) {
    for (size_t i = 0; i < due_count; i++) {
        struct room *room = due[i];
        for (size_t place = room->count; place-- > 0;)
            if (!transmit(room->members[place], room->batch.data, room->batch.size))
                finish(room->members[place]);
        room->batch.size = 0;
        room->waits = 0;
    }
    due_count = 0;
    for (; ended_count > 0; ended_count--) {
        release(&ended[ended_count - 1]->rest);
        release(&ended[ended_count - 1]->unsent);
        free(ended[ended_count - 1]);
    }
}

static int listen_on(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) {
        perror("bound: listen");
        exit(1);
    }
    return fd;
}

int main(int count, char **arguments) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (count != 2) {
        fputs("usage: bound PORT\n", stderr);
        return 2;
    }
    int listener = listen_on(atoi(arguments[1]));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event found[EVENTS], event = {.events = EPOLLIN};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int many = epoll_wait(epoll, found, EVENTS, -1);
        for (int i = 0; i < many; i++) {
            struct connection *connection = found[i].data.ptr;
            if (connection == NULL)
                welcome_all(listener);
            else if (!connection->closed && (found[i].events & EPOLLOUT))
                writable(connection);
            if (connection != NULL && !connection->closed && (found[i].events & ~(uint32_t)EPOLLOUT))
                readable(connection);
        }
        flush_all();
    }
}
