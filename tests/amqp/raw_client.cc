#include "tests/amqp/raw_client.h"

#include <amqp_framing.h>
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include "tests/amqp/channel.h"

namespace postoffice::amqp_test {
namespace {

constexpr size_t kFrameOverhead = 8;  // Type, channel, size; end.

void append_number(std::string& to, uint64_t number, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    to += static_cast<char>(number >> static_cast<unsigned>(shift));
  }
}

uint64_t number_at(std::string_view from, size_t at, size_t bytes) {
  if (from.size() < at + bytes) throw std::runtime_error("a frame is too short");
  uint64_t number = 0;
  for (size_t i = at; i < at + bytes; ++i) {
    number = number << 8U | static_cast<uint8_t>(from[i]);
  }
  return number;
}

bool wait_for(int socket, short events, SteadyClock::time_point deadline) {
  const auto left = std::chrono::ceil<Millis>(deadline - SteadyClock::now()).count();
  pollfd polled{socket, events, 0};
  return poll(&polled, 1, static_cast<int>(std::max<int64_t>(left, 0))) > 0;
}

std::string close_text(const Event& event) {
  if (event.id == AMQP_CONNECTION_CLOSE_METHOD) {
    return "connection.close " + to_string(event.as<amqp_connection_close_t>().reply_text);
  }
  if (event.id == AMQP_CHANNEL_CLOSE_METHOD) {
    return "channel.close " + to_string(event.as<amqp_channel_close_t>().reply_text);
  }
  return name_of(event.id);
}

std::string sasl_response(const OpenOptions& options) {
  if (options.mechanism == "PLAIN") {
    return std::string(1, '\0') + options.user + std::string(1, '\0') + options.password;
  }
  if (options.mechanism == "AMQPLAIN") {  // A field table without its length.
    const Pool pool = make_pool();
    const Table login = {{"LOGIN", options.user}, {"PASSWORD", options.password}};
    amqp_table_t table = to_wire(login, *pool);
    std::string encoded(1000, '\0');
    size_t size = 0;
    if (amqp_encode_table(bytes(encoded), &table, &size) < 0) throw std::runtime_error("login");
    return encoded.substr(4, size - 4);
  }
  return {};
}

}  // namespace

Table client_capabilities() {
  return {{"publisher_confirms", true}, {"exchange_exchange_bindings", true},
          {"basic.nack", true},         {"consumer_cancel_notify", true},
          {"connection.blocked", true}, {"authentication_failure_close", true}};
}

Client::Client(const std::string& host, uint16_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) {
    throw std::runtime_error("no such host: " + host);
  }
  socket_ = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = connect(socket_, found->ai_addr, found->ai_addrlen) == 0;
  freeaddrinfo(found);
  if (!connected) {
    drop();
    throw std::runtime_error("cannot connect to " + host + " port " + std::to_string(port));
  }
  const int on = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

Client::~Client() { drop(); }

void Client::drop() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

void Client::send_bytes(std::string_view bytes) {
  const auto deadline = SteadyClock::now() + send_deadline_;
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!wait_for(socket_, POLLOUT, deadline)) throw std::runtime_error("cannot send in time");
    } else if (errno != EINTR) {
      throw std::runtime_error("the server has closed the connection while we send");
    }
  }
}

void Client::send_frame(uint8_t type, uint16_t channel, std::string_view payload, uint8_t end) {
  std::string frame;
  frame.reserve(payload.size() + kFrameOverhead);
  append_number(frame, type, 1);
  append_number(frame, channel, 2);
  append_number(frame, payload.size(), 4);
  frame += payload;
  append_number(frame, end, 1);
  send_bytes(frame);
}

void Client::send(uint16_t channel, const Method& method) {
  send_frame(AMQP_FRAME_METHOD, channel, payload_of(method));
}

void Client::send_header(uint16_t channel, uint64_t body_size, const Properties& properties,
                         uint16_t class_id) {
  std::string payload;
  append_number(payload, class_id, 2);
  append_number(payload, 0, 2);
  append_number(payload, body_size, 8);
  send_frame(AMQP_FRAME_HEADER, channel, payload + properties.encode());
}

void Client::send_content(uint16_t channel, const Properties& properties, std::string_view body) {
  send_header(channel, body.size(), properties);
  while (!body.empty()) {
    const std::string_view part = body.substr(0, frame_max_ - kFrameOverhead);
    send_frame(AMQP_FRAME_BODY, channel, part);
    body.remove_prefix(part.size());
  }
}

bool Client::receive(SteadyClock::time_point deadline) {
  if (used_ > 0 && used_ == received_.size()) {
    received_.clear();
    used_ = 0;
  }
  if (!wait_for(socket_, POLLIN, deadline)) throw std::runtime_error("nothing came in time");
  const size_t before = received_.size();
  received_.resize(before + 65536);
  const ssize_t count = recv(socket_, received_.data() + before, 65536, 0);
  received_.resize(before + static_cast<size_t>(std::max<ssize_t>(count, 0)));
  return count > 0;
}

std::string Client::read_bytes(size_t count) {
  const auto deadline = SteadyClock::now() + kDeadline;
  while (received_.size() - used_ < count) {
    if (!receive(deadline)) throw std::runtime_error("the server has closed the connection");
  }
  used_ += count;
  return received_.substr(used_ - count, count);
}

std::optional<Frame> Client::poll_frame(SteadyClock::time_point deadline) {
  const auto needs = [&](size_t count) {
    while (received_.size() - used_ < count) {
      if (!receive(deadline)) return false;
    }
    return true;
  };
  if (!needs(7)) return std::nullopt;
  const std::string_view head = std::string_view(received_).substr(used_, 7);
  Frame frame;
  frame.type = static_cast<uint8_t>(head[0]);
  frame.channel = static_cast<uint16_t>(number_at(head, 1, 2));
  const size_t size = number_at(head, 3, 4);
  if (!needs(size + kFrameOverhead)) return std::nullopt;
  frame.payload = received_.substr(used_ + 7, size);
  used_ += size + kFrameOverhead;
  if (received_[used_ - 1] != static_cast<char>(206)) throw std::runtime_error("a bad frame-end");
  return frame;
}

Frame Client::read_frame() {
  std::optional<Frame> frame = poll_frame(SteadyClock::now() + kDeadline);
  if (!frame) throw std::runtime_error("the server has closed the connection");
  return *frame;
}

void Client::add(const Frame& frame) {
  if (frame.type == AMQP_FRAME_HEARTBEAT) return;
  Content& content = contents_[frame.channel];
  if (frame.type == AMQP_FRAME_METHOD) {
    content = {};
    Event& event = content.event;
    event.channel = frame.channel;
    event.id = static_cast<amqp_method_number_t>(number_at(frame.payload, 0, 4));
    event.pool = make_pool();
    // Decoded values point into the bytes.
    const amqp_bytes_t encoded{frame.payload.size() - 4,
                               amqp_pool_alloc(event.pool.get(), frame.payload.size())};
    std::copy(frame.payload.begin() + 4, frame.payload.end(), static_cast<char*>(encoded.bytes));
    if (amqp_decode_method(event.id, event.pool.get(), encoded, &event.decoded) < 0) {
      throw std::runtime_error(name_of(event.id) + " cannot be decoded");
    }
    if (amqp_method_has_content(event.id) != 0) return;
  } else if (frame.type == AMQP_FRAME_HEADER) {
    content.missing = number_at(frame.payload, 4, 8);
    content.has_header = true;
    content.event.properties = Properties::decode(std::string_view(frame.payload).substr(12));
    if (content.missing > 0) return;
  } else {
    if (frame.payload.empty()) throw std::runtime_error("an empty body frame");
    if (!content.has_header || frame.payload.size() > content.missing) {
      throw std::runtime_error("a body frame too many");
    }
    content.event.body += frame.payload;
    content.missing -= frame.payload.size();
    if (content.missing > 0) return;
  }
  events_.push_back(std::move(content.event));
  content = {};
}

void Client::read_event(const std::string& waiting_for) {
  const size_t before = events_.size();
  while (events_.size() == before) {
    std::optional<Frame> frame;
    try {
      frame = poll_frame(SteadyClock::now() + kDeadline);
    } catch (const std::exception& error) {
      throw std::runtime_error("waiting for " + waiting_for + ": " + error.what());
    }
    if (!frame) throw std::runtime_error("waiting for " + waiting_for + ": EOF");
    add(*frame);
  }
}

Event Client::next(uint16_t channel) { return take(channel, 0); }

Event Client::take(uint16_t channel, amqp_method_number_t id, amqp_method_number_t or_id) {
  const std::string what = id == 0 ? "any method" : name_of(id);
  for (size_t i = 0;; ++i) {
    if (i == events_.size()) read_event(what);
    const Event& event = events_[i];
    if (event.channel == channel && (id == 0 || event.id == id || event.id == or_id)) {
      Event taken = event;
      events_.erase(events_.begin() + static_cast<std::ptrdiff_t>(i));
      return taken;
    }
    if (event.id == AMQP_CONNECTION_CLOSE_METHOD ||
        (event.id == AMQP_CHANNEL_CLOSE_METHOD && event.channel == channel)) {
      throw std::runtime_error("waiting for " + what + ": " + close_text(event));
    }
  }
}

bool Client::has_event(uint16_t channel, amqp_method_number_t id) const {
  return std::any_of(events_.begin(), events_.end(), [&](const Event& event) {
    return event.channel == channel && (id == 0 || event.id == id);
  });
}

void Client::forget_events(uint16_t channel) {
  std::erase_if(events_, [channel](const Event& event) { return event.channel == channel; });
}

void Client::expect_connection_close(uint16_t code, amqp_method_number_t because_of) {
  const Event event = take(0, AMQP_CONNECTION_CLOSE_METHOD);
  const auto& close = event.as<amqp_connection_close_t>();
  const std::string text = to_string(close.reply_text);
  EXPECT_EQ(close.reply_code, code) << text;
  const auto blamed = static_cast<amqp_method_number_t>(close.class_id) << 16U | close.method_id;
  EXPECT_EQ(name_of(blamed), name_of(because_of)) << text;
  try {
    send(0, connection_close_ok());
  } catch (const std::exception&) {  // A broker that stops does not wait for it.
    return;
  }
  expect_eof();
}

void Client::expect_either_close(uint16_t channel, uint16_t connection_code, uint16_t channel_code,
                                 amqp_method_number_t because_of) {
  read_event("a close");
  if (has_event(channel)) {
    Channel(*this, channel).expect_close(channel_code, because_of);
  } else {
    expect_connection_close(connection_code, because_of);
  }
}

void Client::expect_end(const std::vector<uint16_t>& codes) {
  const auto deadline = SteadyClock::now() + kDeadline;
  while (const std::optional<Frame> frame = poll_frame(deadline)) {
    add(*frame);
    if (frame->type == AMQP_FRAME_HEARTBEAT) continue;
    const Event event = take(0, AMQP_CONNECTION_CLOSE_METHOD);
    const uint16_t code = event.as<amqp_connection_close_t>().reply_code;
    EXPECT_NE(std::find(codes.begin(), codes.end(), code), codes.end()) << close_text(event);
    send(0, connection_close_ok());
  }
}

bool Client::has_ended() {
  while (wait_for(socket_, POLLIN, SteadyClock::now())) {
    if (!receive(SteadyClock::now())) return true;
  }
  return false;
}

void Client::expect_eof() {
  const auto deadline = SteadyClock::now() + kDeadline;
  while (const std::optional<Frame> frame = poll_frame(deadline)) {
    if (frame->type == AMQP_FRAME_HEARTBEAT) continue;
    add(*frame);
    throw std::runtime_error("waiting for EOF: " +
                             (events_.empty() ? "content" : close_text(events_.back())));
  }
}

void Client::send_protocol_header() { send_bytes(std::string_view("AMQP\0\0\x09\x01", 8)); }

Event Client::start() {
  send_protocol_header();
  return take(0, AMQP_CONNECTION_START_METHOD);
}

void Client::send_login(const OpenOptions& options) {
  start();
  send(0, start_ok({{"product", "conformance"}, {"capabilities", options.capabilities}},
                   options.mechanism, sasl_response(options)));
}

Event Client::log_in(const OpenOptions& options) {
  send_login(options);
  return take(0, AMQP_CONNECTION_TUNE_METHOD);
}

void Client::tune(const OpenOptions& options, const Event& offer) {
  const auto& offered = offer.as<amqp_connection_tune_t>();
  frame_max_ = options.frame_max.value_or(offered.frame_max);
  send(0,
       tune_ok(options.channel_max.value_or(offered.channel_max), frame_max_, options.heartbeat_s));
}

void Client::open(const OpenOptions& options) {
  tune(options, log_in(options));
  send(0, connection_open(options.vhost));
  take(0, AMQP_CONNECTION_OPEN_OK_METHOD);
}

Channel Client::channel(uint16_t number) {
  Channel channel(*this, number);
  channel.open();
  return channel;
}

void Client::close() {
  send(0, connection_close());
  take(0, AMQP_CONNECTION_CLOSE_OK_METHOD);
  drop();
}

}  // namespace postoffice::amqp_test
