#include "broker/tcp_connect.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/wakeup.h"
#include "broker/poll.h"

namespace postoffice {
namespace {

struct FreeAddresses {
  void operator()(addrinfo* addresses) const noexcept { freeaddrinfo(addresses); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

std::string error_text(int error) { return std::generic_category().message(error); }

// Waits for one event; false when the deadline passed first or the interrupt was fired.
bool wait_for(int fd, short events, SteadyClock::time_point deadline, const Interrupt* interrupt) {
  std::array<pollfd, 2> fds{{{fd, events, 0}, {interrupt ? interrupt->fd() : -1, POLLIN, 0}}};
  return poll_until(fds, deadline) && fds[1].revents == 0;
}

int look_up(const std::string& host, uint16_t port, int flags, Addresses& addresses) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  addresses.reset(found);
  return error;
}

// A name being looked up. The resolver has no deadline of its own and cannot be cancelled, so that
// a thread of its own asks it, and is left to itself when nobody waits for the answer any more.
struct Lookup {
  Wakeup done;
  std::mutex mutex;
  Addresses addresses;  // Guarded by mutex, as is error.
  int error = 0;
};

Addresses resolve(const std::string& host, uint16_t port, SteadyClock::time_point deadline,
                  const Interrupt* interrupt) {
  Addresses addresses;
  if (look_up(host, port, AI_NUMERICHOST, addresses) == 0) return addresses;

  std::shared_ptr<Lookup> lookup;
  try {  // Out of files, memory or threads.
    lookup = std::make_shared<Lookup>();
    std::thread([lookup, host, port] {
      Addresses found;
      const int error = look_up(host, port, 0, found);
      const std::lock_guard lock(lookup->mutex);
      lookup->addresses = std::move(found);
      lookup->error = error;
      lookup->done.ring();
    }).detach();
  } catch (const std::system_error& error) {
    throw Transient("cannot look up " + host + ": " + error.what());
  }
  if (!wait_for(lookup->done.fd(), POLLIN, deadline, interrupt))
    throw Transient("cannot look up " + host + ": no answer in time");
  const std::lock_guard lock(lookup->mutex);
  if (lookup->error != 0)
    throw Transient("cannot look up " + host + ": " + gai_strerror(lookup->error));
  return std::move(lookup->addresses);
}

// Of what a broker sends. More would only wait here when nobody reads, and RabbitMQ closes a
// connection on which it could not go on sending for 30 s: all of it is read now and then.
constexpr int kReceiveBufferBytes = 256 * 1024;

// 0, or errno.
int try_connect(const FileDescriptor& socket, const addrinfo& address,
                SteadyClock::time_point deadline, const Interrupt* interrupt) {
  const int on = 1;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBufferBytes, sizeof kReceiveBufferBytes);
  if (connect(socket.get(), address.ai_addr, address.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!wait_for(socket.get(), POLLOUT, deadline, interrupt)) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

}  // namespace

int connect_tcp(const std::string& host, uint16_t port, SteadyClock::time_point deadline,
                const Interrupt* interrupt) {
  const Addresses addresses = resolve(host, port, deadline, interrupt);
  int left = 0;
  for (const auto* address = addresses.get(); address != nullptr; address = address->ai_next)
    ++left;
  int error = EADDRNOTAVAIL;
  for (const auto* address = addresses.get(); address != nullptr; address = address->ai_next) {
    if (interrupt != nullptr && interrupt->fired()) throw Transient("interrupted");
    FileDescriptor socket(
        ::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
    const auto now = SteadyClock::now();
    error = !socket.is_open()
                ? errno
                : try_connect(socket, *address, now + (deadline - now) / left--, interrupt);
    if (error == 0) return socket.release();
  }
  throw Transient("cannot connect: " + error_text(error));
}

}  // namespace postoffice
