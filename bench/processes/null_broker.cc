#include "bench/processes/null_broker.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "bench/load/frame_socket.h"
#include "broker/embedded/handshake.h"

namespace postoffice::bench {
namespace {

using embedded::Frame;
using embedded::MethodWriter;
using embedded::WireReader;

constexpr uint16_t kChannel = 1;
// Publishers wait while a consumer has so much unsent.
constexpr size_t kFullBytes = 1 << 20;

class Client {
 public:
  explicit Client(FileDescriptor socket) : socket_(std::move(socket)), frames_(socket_.get()) {}

  int fd() const { return socket_.get(); }
  bool consumes() const { return consumes_; }
  const std::string& output() const { return output_; }

  // Returns how many messages were published.
  uint64_t read() {
    if (!greeted_) {
      frames_.fill();
      if (frames_.waiting().size() < embedded::kProtocolHeader.size()) return 0;
      frames_.skip(embedded::kProtocolHeader.size());
      greeted_ = true;
      embedded::write_start(output_);
    }
    const uint64_t before = published_;
    frames_.read([this](const Frame& frame) {
      if (frame.type == embedded::kBodyFrame) ++published_;
      if (frame.type == embedded::kMethodFrame) method(WireReader(frame.payload));
    });
    if (published_ > before) {
      MethodWriter(output_, kChannel, AMQP_BASIC_ACK_METHOD)->u64(published_).octet(1);
    }
    return published_ - before;
  }

  void deliver(uint64_t count) {
    if (delivery_.empty()) {
      MethodWriter(delivery_, kChannel, AMQP_BASIC_DELIVER_METHOD)
          ->short_string("bench")
          .u64(0)
          .octet(0)
          .short_string("")
          .short_string("bench");
      embedded::write_content(delivery_, kChannel, 131'072, std::string("\x10\x00\x02", 3),
                              std::string(100, 'x'));
    }
    constexpr size_t kLowTagAt = embedded::kFrameHeaderBytes + 4 + 1 + 5 + 4;
    for (uint64_t i = 0; i < count; ++i) {
      embedded::patch_u32(delivery_, kLowTagAt, static_cast<uint32_t>(++delivered_));
      output_ += delivery_;
    }
  }

  void send() {
    if (!output_.empty()) output_.erase(0, frames_.send(output_));
  }

 private:
  void method(WireReader reader) {
    switch (reader.u32()) {
      case AMQP_CONNECTION_START_OK_METHOD:
        MethodWriter(output_, 0, AMQP_CONNECTION_TUNE_METHOD)->u16(2047).u32(131'072).u16(0);
        break;
      case AMQP_CONNECTION_OPEN_METHOD:
        MethodWriter(output_, 0, AMQP_CONNECTION_OPEN_OK_METHOD)->short_string("");
        break;
      case AMQP_CHANNEL_OPEN_METHOD:
        MethodWriter(output_, kChannel, AMQP_CHANNEL_OPEN_OK_METHOD)->long_string("");
        break;
      case AMQP_QUEUE_DECLARE_METHOD:
        reader.u16();
        MethodWriter(output_, kChannel, AMQP_QUEUE_DECLARE_OK_METHOD)
            ->short_string(reader.short_string())
            .u32(0)
            .u32(0);
        break;
      case AMQP_QUEUE_DELETE_METHOD:
        MethodWriter(output_, kChannel, AMQP_QUEUE_DELETE_OK_METHOD)->u32(0);
        break;
      case AMQP_CONFIRM_SELECT_METHOD:
        reply(AMQP_CONFIRM_SELECT_OK_METHOD);
        break;
      case AMQP_BASIC_QOS_METHOD:
        reply(AMQP_BASIC_QOS_OK_METHOD);
        break;
      case AMQP_BASIC_CONSUME_METHOD:
        consumes_ = true;
        break;
      default:
        break;
    }
  }

  void reply(uint32_t method) { const MethodWriter writer(output_, kChannel, method); }

  FileDescriptor socket_;
  FrameSocket frames_;
  std::string output_;
  std::string delivery_;
  bool greeted_ = false;
  bool consumes_ = false;
  uint64_t published_ = 0;
  uint64_t delivered_ = 0;
};

class Server {
 public:
  explicit Server(FileDescriptor listener) : listener_(std::move(listener)) {}

  void turn() {
    const bool full = !consumers().empty() && consumers().front()->output().size() > kFullBytes;
    std::vector<pollfd> polled = {{listener_.get(), POLLIN, 0}};
    for (const auto& client : clients_) {
      const bool reads = client->consumes() || !full;
      const bool writes = !client->output().empty();
      polled.push_back({client->fd(), short((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)), 0});
    }
    poll(polled.data(), polled.size(), -1);
    uint64_t published = 0;
    for (size_t i = clients_.size(); i > 0; --i) {
      try {
        if ((polled[i].revents & (POLLIN | POLLERR | POLLHUP)) != 0) {
          published += clients_[i - 1]->read();
        }
        clients_[i - 1]->send();
      } catch (const std::runtime_error&) {
        clients_.erase(clients_.begin() + static_cast<ptrdiff_t>(i - 1));
      }
    }
    if ((polled[0].revents & POLLIN) != 0) accept();
    deliver(published);
  }

 private:
  std::vector<Client*> consumers() const {
    std::vector<Client*> found;
    for (const auto& client : clients_) {
      if (client->consumes()) found.push_back(client.get());
    }
    return found;
  }

  void accept() {
    FileDescriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK));
    if (!socket.is_open()) return;
    const int on = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    clients_.push_back(std::make_unique<Client>(std::move(socket)));
  }

  void deliver(uint64_t count) {
    const auto to = consumers();
    for (size_t i = 0; i < to.size(); ++i) {
      to[i]->deliver(count / to.size() + (i < count % to.size() ? 1 : 0));
    }
  }

  FileDescriptor listener_;
  std::vector<std::unique_ptr<Client>> clients_;
};

[[noreturn]] void serve(FileDescriptor listener) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    Server server(std::move(listener));
    while (true) server.turn();
  } catch (const std::exception& error) {
    fprintf(stderr, "null broker: %s\n", error.what());
  }
  _exit(1);
}

}  // namespace

NullBroker::NullBroker() {
  FileDescriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener.get(), any, bytes) != 0 || listen(listener.get(), 64) != 0 ||
      getsockname(listener.get(), any, &bytes) != 0) {
    throw std::runtime_error("no port for the null broker");
  }
  port_ = ntohs(address.sin_port);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) serve(std::move(listener));
}

NullBroker::~NullBroker() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

}  // namespace postoffice::bench
