#include "tests/fuzz/client.h"

#include <amqp_framing.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "broker/embedded/field_table.h"
#include "broker/embedded/frame.h"

namespace postoffice::fuzz {
namespace {

using embedded::FieldTable;
using embedded::FieldValue;
using embedded::MethodWriter;

constexpr uint32_t kUpdateSecretOk = 0x000A'0047;  // librabbitmq does not know it.
constexpr uint16_t kSettlingChannel = 2000;
constexpr int kMostSeconds = 15;  // Longer than the broker waits for anything a client does.
constexpr uint32_t kMostAnswerBytes = 1 << 20;  // A content header is one frame, however long.

[[noreturn]] void fail(const char* why) {
  std::fprintf(stderr, "fuzz: %s\n", why);
  std::abort();
}

std::string handshake(bool with_capabilities, uint32_t frame_max) {
  std::string out("AMQP\0\0\x09\x01", 8);
  FieldTable capabilities;
  for (const auto* const name :
       {"consumer_cancel_notify", "connection.blocked", "authentication_failure_close"}) {
    if (with_capabilities) capabilities.set(name, {'t', int64_t{1}});
  }
  FieldTable properties;
  properties.set("capabilities", FieldValue::of(std::move(capabilities)));
  {
    MethodWriter writer(out, 0, AMQP_CONNECTION_START_OK_METHOD);
    properties.write(*writer);
    writer->short_string("PLAIN").long_string({"\0guest\0guest", 12}).short_string("en_US");
  }
  MethodWriter(out, 0, AMQP_CONNECTION_TUNE_OK_METHOD)->u16(2047).u32(frame_max).u16(0);
  MethodWriter(out, 0, AMQP_CONNECTION_OPEN_METHOD)->short_string("/").short_string("").octet(0);
  return out;
}

amqp_pool_t* new_pool() {
  auto* const pool = new amqp_pool_t;
  init_amqp_pool(pool, 4096);
  return pool;
}

}  // namespace

Client::Client(uint16_t port)
    : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      pool_(new_pool(), [](amqp_pool_t* pool) {
        empty_amqp_pool(pool);
        delete pool;
      }) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 &&
      !(errno == EINTR && wait(POLLOUT))) {  // By the fuzzer's alarm.
    fail("the broker takes no connection");
  }
  const int on = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  fcntl(socket_, F_SETFL, O_NONBLOCK);
}

Client::~Client() { close(socket_); }

void Client::open(bool with_capabilities, uint32_t frame_max) {
  in_frames_ = true;
  send(handshake(with_capabilities, frame_max));
  await(0, AMQP_CONNECTION_OPEN_OK_METHOD);
  if (!methods_.contains({0, AMQP_CONNECTION_OPEN_OK_METHOD})) fail("the broker takes no client");
}

void Client::send(std::string_view bytes) {
  while (!bytes.empty() && !ended_) {
    if (!wait(POLLIN | POLLOUT)) fail("the broker does not read");
    receive();  // It need not read before its answers are read.
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
    if (sent < 0 && errno != EAGAIN && errno != EINTR) ended_ = true;
  }
}

void Client::send_frame(uint8_t type, uint16_t channel, std::string_view payload) {
  std::string frame;
  embedded::WireWriter writer(frame);
  writer.octet(type).u16(channel).long_string(payload).octet(AMQP_FRAME_END);
  send(frame);
}

void Client::settle() {
  if (!in_frames_ || closing_ || ended_) return;
  methods_.clear();
  std::string frames;
  MethodWriter(frames, kSettlingChannel, AMQP_CHANNEL_OPEN_METHOD)->short_string("");
  MethodWriter(frames, kSettlingChannel, AMQP_CHANNEL_CLOSE_METHOD)
      ->u16(200)
      .short_string("")
      .u32(0);
  send(frames);
  await(kSettlingChannel, AMQP_CHANNEL_CLOSE_OK_METHOD);
}

void Client::finish() {
  shutdown(socket_, SHUT_WR);
  while (!ended_) {
    if (!wait(POLLIN)) fail("the broker does not close a connection that its client closed");
    receive();
  }
}

void Client::await(uint16_t channel, uint32_t method) {
  while (!ended_ && !closing_ && !methods_.contains({channel, method})) {
    if (!wait(POLLIN)) fail("the broker does not answer");
    receive();
  }
}

// Second by second: a machine that stood still counts as one.
bool Client::wait(short events) {
  for (int second = 0; second < kMostSeconds; ++second) {
    pollfd polled{socket_, events, 0};
    if (poll(&polled, 1, 1000) > 0) return true;
  }
  return false;
}

void Client::receive() {
  char buffer[65'536];
  const ssize_t count = recv(socket_, buffer, sizeof(buffer), 0);
  if (count > 0) {
    received_.append(buffer, static_cast<size_t>(count));
    handle_frames();
  } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
    ended_ = true;
  }
}

void Client::handle_frames() {
  size_t used = 0;
  if (received_.starts_with("AMQP")) used = 8;  // The answer to a wrong protocol header.
  for (;;) {
    const auto rest = std::string_view(received_).substr(std::min(used, received_.size()));
    const auto frame = embedded::parse_frame(rest, kMostAnswerBytes);
    if (frame.bytes == 0) break;
    used += frame.bytes;
    if (frame.type != embedded::kMethodFrame) continue;
    embedded::WireReader reader(frame.payload);
    const uint32_t method = reader.u32();
    handle_method(frame.channel, method, reader.rest());
  }
  if (used <= received_.size()) received_.erase(0, used);
}

void Client::handle_method(uint16_t channel, uint32_t method, std::string_view arguments) {
  methods_.emplace(channel, method);
  if (method == kUpdateSecretOk) return;
  void* decoded = nullptr;
  const amqp_bytes_t bytes{arguments.size(), const_cast<char*>(arguments.data())};
  if (amqp_decode_method(method, pool_.get(), bytes, &decoded) < 0) {
    fail("librabbitmq cannot read an answer");
  }
  recycle_amqp_pool(pool_.get());
  if (method == AMQP_CONNECTION_CLOSE_METHOD) closing_ = true;
}

}  // namespace postoffice::fuzz
