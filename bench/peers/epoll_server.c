// The least that an HTTP server can do, on one thread: finds where each request ends, and sends the
// same answer to all of them.
//
//   epoll_server PORT

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kInputBytes = 16 << 10, kMostConnections = 1 << 16, kEvents = 256, kBacklog = 4096 };

static const char kAnswer[] =
    "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
    "{\"accepted\":20}";

// What of a request has been received; by descriptor.
struct connection {
  size_t bytes;
  char input[kInputBytes];
};
static struct connection* connections[kMostConnections];

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static size_t content_length(const char* head, const char* end) {
  static const char kName[] = "\r\nContent-Length:";
  for (const char* at = head; at + sizeof(kName) - 1 < end; ++at) {
    at = memchr(at, '\r', (size_t)(end - at));
    if (at == NULL) return 0;
    if (strncasecmp(at, kName, sizeof(kName) - 1) == 0) {
      return strtoul(at + sizeof(kName) - 1, NULL, 10);
    }
  }
  return 0;
}

// 0 while it is incomplete.
static size_t request_bytes(const char* input, size_t bytes) {
  const char* const end = memmem(input, bytes, "\r\n\r\n", 4);
  if (end == NULL) return 0;
  const size_t whole = (size_t)(end - input) + 4 + content_length(input, end + 2);
  return whole <= bytes ? whole : 0;
}

// -1 when the connection is to be closed.
static int answer_all(int fd, struct connection* connection) {
  size_t done = 0;
  while (done < connection->bytes) {
    const size_t whole = request_bytes(connection->input + done, connection->bytes - done);
    if (whole == 0) break;
    done += whole;
    const ssize_t sent = send(fd, kAnswer, sizeof(kAnswer) - 1, MSG_NOSIGNAL);
    if (sent != (ssize_t)sizeof(kAnswer) - 1) return -1;
  }
  if (done == 0 && connection->bytes == kInputBytes) return -1;
  connection->bytes -= done;
  if (done > 0) memmove(connection->input, connection->input + done, connection->bytes);
  return 0;
}

static int receive(int fd) {
  struct connection* const connection = connections[fd];
  const ssize_t count =
      recv(fd, connection->input + connection->bytes, kInputBytes - connection->bytes, 0);
  if (count < 0 && errno == EAGAIN) return 0;
  if (count <= 0) return -1;
  connection->bytes += (size_t)count;
  return answer_all(fd, connection);
}

static void close_connection(int fd) {
  free(connections[fd]);
  connections[fd] = NULL;
  close(fd);
}

static void accept_all(int listener, int epoll) {
  const int on = 1;
  while (1) {
    const int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
      fail("accept4");
    }
    if (fd >= kMostConnections) {
      close(fd);
      continue;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    connections[fd] = malloc(sizeof(struct connection));
    if (connections[fd] == NULL) fail("malloc");
    connections[fd]->bytes = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
  }
}

static int listening(int port) {
  const int on = 1;
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(fd, (const struct sockaddr*)&address, sizeof(address)) != 0) fail("bind");
  if (listen(fd, kBacklog) != 0) fail("listen");
  return fd;
}

static void raise_open_files(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) fail("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) fail("setrlimit");
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: epoll_server PORT\n");
    return 2;
  }
  raise_open_files();
  const int listener = listening(atoi(argv[1]));
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
  if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) fail("epoll");
  while (1) {
    struct epoll_event events[kEvents];
    const int count = epoll_wait(epoll, events, kEvents, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        accept_all(listener, epoll);
      } else if (receive(fd) != 0) {
        close_connection(fd);
      }
    }
  }
}
