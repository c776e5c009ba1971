#include "broker/amqp_connection.h"

#include <amqp_tcp_socket.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <new>
#include <system_error>

#include "broker/poll.h"
#include "broker/tcp_connect.h"

namespace postoffice {
namespace {

constexpr int kFrameMaxBytes = 131072;
constexpr Millis kCloseTimeout{1000};
constexpr size_t kFrameOverheadBytes = 8;  // Section 2.3.5: type, channel, size; frame-end.

timeval to_timeval(Millis time) {
  return {time.count() / 1000, static_cast<suseconds_t>(time.count() % 1000) * 1000};
}

void append_u16(std::string& text, uint16_t value) {
  text += static_cast<char>(value >> 8);
  text += static_cast<char>(value & 0xff);
}

void append_u32(std::string& text, uint32_t value) {
  append_u16(text, static_cast<uint16_t>(value >> 16));
  append_u16(text, static_cast<uint16_t>(value & 0xffff));
}

void append_u64(std::string& text, uint64_t value) {
  append_u32(text, static_cast<uint32_t>(value >> 32));
  append_u32(text, static_cast<uint32_t>(value & 0xffffffff));
}

amqp_table_entry_t entry(const char* key, std::string_view text) {
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes(key);
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = amqp_bytes(text);
  return entry;
}

amqp_table_entry_t entry(const char* key, bool value) {
  amqp_table_entry_t entry{};
  entry.key = amqp_cstring_bytes(key);
  entry.value.kind = AMQP_FIELD_KIND_BOOLEAN;
  entry.value.value.boolean = value ? 1 : 0;
  return entry;
}

std::string_view text_property(const amqp_table_t& table, std::string_view key) {
  for (int i = 0; i < table.num_entries; ++i) {
    const auto& entry = table.entries[i];
    if (amqp_text(entry.key) != key) continue;
    if (entry.value.kind == AMQP_FIELD_KIND_UTF8 || entry.value.kind == AMQP_FIELD_KIND_BYTES)
      return amqp_text(entry.value.value.bytes);
  }
  return {};
}

// channel.close and connection.close have the same first fields.
template <typename CloseMethod>
std::string text_of_close(const CloseMethod& close) {
  return std::to_string(close.reply_code) + " " + std::string(amqp_text(close.reply_text));
}

std::string text_of_error(int status) { return amqp_error_string2(status); }

// What a failed RPC of librabbitmq means.
std::string text_of_reply(const amqp_rpc_reply_t& reply) {
  if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
    return text_of_error(reply.library_error);
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
      reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD)
    return text_of_close(*static_cast<const amqp_connection_close_t*>(reply.reply.decoded));
  return "no answer";
}

}  // namespace

amqp_bytes_t amqp_bytes(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};
}

std::string_view amqp_text(amqp_bytes_t bytes) {
  if (bytes.len == 0) return {};
  return {static_cast<const char*>(bytes.bytes), bytes.len};
}

std::string close_text(const amqp_channel_close_t& close) { return text_of_close(close); }

// --- Connecting and closing

AmqpConnection::AmqpConnection(const Options& options)
    : address_(options.url.address()),
      rpc_timeout_(options.rpc_timeout),
      state_(amqp_new_connection()) {
  if (!state_) throw std::bad_alloc();
  try {
    connect(options);
    log_in(options);
  } catch (const LoginRefused& error) {
    throw LoginRefused(address_ + ": " + error.what());
  } catch (const Transient& error) {
    throw Transient(address_ + ": " + error.what());
  }
  read_server_properties();
}

void AmqpConnection::connect(const Options& options) {
  auto* socket = amqp_tcp_socket_new(state_.get());
  if (socket == nullptr) throw std::bad_alloc();
  fd_ = connect_tcp(options.url.host, options.url.port,
                    SteadyClock::now() + options.connect_timeout, options.interrupt);
  amqp_tcp_socket_set_sockfd(socket, fd_);
  if (options.interrupt != nullptr) {
    options.interrupt->attach(fd_);
    attached_.reset(options.interrupt);
  }
}

void AmqpConnection::log_in(const Options& options) {
  const timeval handshake = to_timeval(options.handshake_timeout);
  const timeval rpc = to_timeval(options.rpc_timeout);
  amqp_set_handshake_timeout(state_.get(), &handshake);
  amqp_set_rpc_timeout(state_.get(), &rpc);

  std::array capabilities = {
      entry("publisher_confirms", true),           entry("basic.nack", true),
      entry("consumer_cancel_notify", true),       entry("connection.blocked", true),
      entry("authentication_failure_close", true),
  };
  amqp_table_entry_t capability_table{};
  capability_table.key = amqp_cstring_bytes("capabilities");
  capability_table.value.kind = AMQP_FIELD_KIND_TABLE;
  capability_table.value.value.table = {capabilities.size(), capabilities.data()};
  std::array entries = {entry("product", "Postoffice"), entry("connection_name", options.name),
                        capability_table};
  const amqp_table_t properties = {entries.size(), entries.data()};

  const auto reply = amqp_login_with_properties(
      state_.get(), options.url.vhost.c_str(), 0, kFrameMaxBytes,
      static_cast<int>(options.heartbeat.count()), &properties, AMQP_SASL_METHOD_PLAIN,
      options.url.user.c_str(), options.url.password.c_str());
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION)
    throw LoginRefused("login refused: " + text_of_reply(reply));
  if (reply.reply_type != AMQP_RESPONSE_NORMAL)
    throw Transient("login failed: " + text_of_reply(reply));

  frame_max_ = static_cast<size_t>(amqp_get_frame_max(state_.get()));
  heartbeat_ = std::chrono::seconds(amqp_get_heartbeat(state_.get()));
  // The heartbeats are kept up here: librabbitmq would send its own between the halves of a frame.
  amqp_tune_connection(state_.get(), amqp_get_channel_max(state_.get()),
                       static_cast<int>(frame_max_), 0);
  scratch_.resize(frame_max_);
  last_sent_ = last_received_ = SteadyClock::now();
}

void AmqpConnection::read_server_properties() {
  const auto& properties = *amqp_get_server_properties(state_.get());
  const std::string_view version = text_property(properties, "version");
  product_ = text_property(properties, "product");
  if (product_.empty()) product_ = "AMQP broker";
  if (version.empty()) return;
  product_ += ' ';
  product_ += version;
  std::from_chars(version.data(), version.data() + version.size(), major_version_);
}

AmqpConnection::~AmqpConnection() {
  if (failed_ || fd_ < 0) return;
  try {
    close_politely();
  } catch (const Transient&) {
    // The broker will notice by itself.
  }
}

void AmqpConnection::close_politely() {
  amqp_connection_close_t close{};
  close.reply_code = AMQP_REPLY_SUCCESS;
  close.reply_text = amqp_cstring_bytes("closing");
  send_method(0, AMQP_CONNECTION_CLOSE_METHOD, &close);
  const auto deadline = SteadyClock::now() + kCloseTimeout;
  while (SteadyClock::now() < deadline) {
    early_.clear();
    poll_socket(nullptr, deadline, true);
    while (const auto frame = read_frame()) {
      if (frame->frame_type == AMQP_FRAME_METHOD && frame->channel == 0 &&
          frame->payload.method.id == AMQP_CONNECTION_CLOSE_OK_METHOD)
        return;
      release_buffers();
    }
  }
}

void AmqpConnection::fail(const std::string& why) {
  failed_ = true;
  throw Transient(why);
}

// --- Sending

void AmqpConnection::append_frame(uint8_t type, amqp_channel_t channel, std::string_view payload) {
  if (unsent_offset_ == unsent_.size()) {
    unsent_.clear();
    unsent_offset_ = 0;
  } else if (unsent_offset_ > unsent_.size() / 2) {
    unsent_.erase(0, unsent_offset_);
    unsent_offset_ = 0;
  }
  unsent_ += static_cast<char>(type);
  append_u16(unsent_, channel);
  append_u32(unsent_, static_cast<uint32_t>(payload.size()));
  unsent_ += payload;
  unsent_ += static_cast<char>(AMQP_FRAME_END);
}

void AmqpConnection::send_method(amqp_channel_t channel, amqp_method_number_t id,
                                 const void* fields) {
  constexpr size_t kIdBytes = 4;
  std::string start;
  append_u32(start, id);
  std::copy(start.begin(), start.end(), scratch_.begin());
  const int size = amqp_encode_method(
      id, const_cast<void*>(fields),
      {scratch_.size() - kFrameOverheadBytes - kIdBytes, scratch_.data() + kIdBytes});
  if (size < 0) fail("cannot encode " + std::string(amqp_method_name(id)));
  append_frame(AMQP_FRAME_METHOD, channel, {scratch_.data(), kIdBytes + static_cast<size_t>(size)});
}

void AmqpConnection::send_message(amqp_channel_t channel, const amqp_basic_publish_t& publish,
                                  const amqp_basic_properties_t& properties,
                                  std::string_view body) {
  constexpr size_t kHeaderStartBytes = 12;  // Section 4.2.6.1: class, weight, body size.
  send_method(channel, AMQP_BASIC_PUBLISH_METHOD, &publish);

  std::string start;
  append_u16(start, AMQP_BASIC_CLASS);
  append_u16(start, 0);
  append_u64(start, body.size());
  std::copy(start.begin(), start.end(), scratch_.begin());
  const int size =
      amqp_encode_properties(AMQP_BASIC_CLASS, const_cast<amqp_basic_properties_t*>(&properties),
                             {scratch_.size() - kFrameOverheadBytes - kHeaderStartBytes,
                              scratch_.data() + kHeaderStartBytes});
  if (size < 0) fail("cannot encode the properties of a message");
  append_frame(AMQP_FRAME_HEADER, channel,
               {scratch_.data(), kHeaderStartBytes + static_cast<size_t>(size)});

  const size_t most = frame_max_ - kFrameOverheadBytes;
  for (; !body.empty(); body.remove_prefix(std::min(most, body.size())))
    append_frame(AMQP_FRAME_BODY, channel, body.substr(0, most));
}

void AmqpConnection::flush() {
  while (unsent_bytes() > 0 && write_error_.empty()) {
    const auto written = send(fd_, unsent_.data() + unsent_offset_, unsent_bytes(), MSG_NOSIGNAL);
    if (written > 0) {
      unsent_offset_ += static_cast<size_t>(written);
      last_sent_ = SteadyClock::now();
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (errno != EINTR) {
      // What the broker sent before is read first: confirms, and why it closed.
      write_error_ = "connection lost: " + std::generic_category().message(errno);
      readable_ = true;
      return;
    }
  }
}

// --- Receiving

Millis AmqpConnection::most_silence() const { return 2 * heartbeat_ * 19 / 20; }

bool AmqpConnection::must_read() const {
  return heartbeat_ > Millis(0) && SteadyClock::now() - last_received_ >= heartbeat_;
}

void AmqpConnection::wait(const Wakeup* wakeup, SteadyClock::time_point deadline, bool reading) {
  if (reading && (!early_.empty() || amqp_frames_enqueued(state_.get()) != 0 ||
                  amqp_data_in_buffer(state_.get()) != 0))
    deadline = {};
  poll_socket(wakeup, deadline, reading);
}

void AmqpConnection::poll_socket(const Wakeup* wakeup, SteadyClock::time_point deadline,
                                 bool reading) {
  flush();
  if (heartbeat_ > Millis(0)) {
    // Twice in the interval, as RabbitMQ does: one that is late is not yet a silent peer.
    const auto due = last_sent_ + heartbeat_ / 2;
    if (unsent_bytes() == 0 && SteadyClock::now() >= due) {
      append_frame(AMQP_FRAME_HEARTBEAT, 0, {});
      flush();
    }
    deadline = std::min(deadline, last_received_ + (reading ? most_silence() : heartbeat_));
    // Behind what the socket does not take, a heartbeat that is due would wake it for nothing.
    if (unsent_bytes() == 0) deadline = std::min(deadline, last_sent_ + heartbeat_ / 2);
  }

  // Not reading, the end of the connection would go unseen behind what is left in the socket.
  const bool writing = unsent_bytes() > 0 && write_error_.empty();
  const auto events = static_cast<short>((reading ? POLLIN : POLLRDHUP) | (writing ? POLLOUT : 0));
  std::array<pollfd, 2> fds{{{fd_, events, 0}, {wakeup ? wakeup->fd() : -1, POLLIN, 0}}};
  poll_until(fds, deadline);

  if (!reading && !write_error_.empty()) fail(write_error_);
  if (!reading && (fds[0].revents & (POLLRDHUP | POLLERR | POLLHUP)) != 0)
    fail("connection closed by the broker");
  if ((fds[0].revents & (POLLIN | POLLERR | POLLHUP)) != 0) {
    readable_ = true;
    last_received_ = SteadyClock::now();
  }
  if ((fds[0].revents & POLLOUT) != 0) flush();
  if (reading && !readable_ && heartbeat_ > Millis(0) &&
      SteadyClock::now() - last_received_ >= most_silence())
    fail("connection lost: no heartbeat from the broker");
}

std::optional<amqp_frame_t> AmqpConnection::read_frame() {
  if (!readable_ && write_error_.empty() && amqp_frames_enqueued(state_.get()) == 0 &&
      amqp_data_in_buffer(state_.get()) == 0)
    return std::nullopt;
  amqp_frame_t frame;
  const timeval now{};
  const int status = amqp_simple_wait_frame_noblock(state_.get(), &frame, &now);
  readable_ = false;
  if (status == AMQP_STATUS_TIMEOUT && write_error_.empty()) return std::nullopt;
  if (status == AMQP_STATUS_TIMEOUT) fail(write_error_);
  if (status != AMQP_STATUS_OK) fail("connection lost: " + text_of_error(status));
  if (frame.frame_type == AMQP_FRAME_METHOD && frame.channel == 0 &&
      frame.payload.method.id == AMQP_CONNECTION_CLOSE_METHOD) {
    const auto& close = *static_cast<const amqp_connection_close_t*>(frame.payload.method.decoded);
    const std::string why = "connection closed by the broker: " + text_of_close(close);
    const amqp_connection_close_ok_t ok{};
    if (unsent_bytes() == 0) {
      send_method(0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
      send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    }
    fail(why);
  }
  return frame;
}

std::optional<amqp_frame_t> AmqpConnection::received_frame() {
  if (early_.empty()) return read_frame();
  const amqp_frame_t frame = early_.front();
  early_.pop_front();
  return frame;
}

std::optional<amqp_frame_t> AmqpConnection::next_frame(Millis timeout) {
  const auto deadline = SteadyClock::now() + timeout;
  while (true) {
    if (auto frame = received_frame()) return frame;
    wait(nullptr, deadline);
    if (auto frame = received_frame()) return frame;
    if (SteadyClock::now() >= deadline) return std::nullopt;
  }
}

void AmqpConnection::release_buffers() {
  if (early_.empty()) amqp_maybe_release_buffers(state_.get());
}

// --- Requests

AmqpConnection::Reply AmqpConnection::rpc(amqp_channel_t channel, amqp_method_number_t id,
                                          const void* fields, amqp_method_number_t reply_id,
                                          const char* doing) {
  send_method(channel, id, fields);
  const auto deadline = SteadyClock::now() + rpc_timeout_;
  while (true) {
    while (const auto frame = read_frame()) {
      const auto& method = frame->payload.method;
      const bool answers = frame->frame_type == AMQP_FRAME_METHOD && frame->channel == channel;
      if (answers && method.id == reply_id) return {method.decoded, 0, {}};
      if (answers && method.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const auto& close = *static_cast<const amqp_channel_close_t*>(method.decoded);
        const amqp_channel_close_ok_t ok{};
        send_method(channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
        return {nullptr, close.reply_code, text_of_close(close)};
      }
      early_.push_back(*frame);
    }
    if (SteadyClock::now() >= deadline) fail(std::string(doing) + ": no answer in time");
    poll_socket(nullptr, deadline, true);
  }
}

void AmqpConnection::open_channel(amqp_channel_t channel) {
  amqp_channel_open_t open{};
  const auto reply =
      rpc(channel, AMQP_CHANNEL_OPEN_METHOD, &open, AMQP_CHANNEL_OPEN_OK_METHOD, "channel.open");
  if (reply.code != 0) fail("channel.open: " + reply.text);
}

int AmqpConnection::check_rpc(const amqp_rpc_reply_t& reply, const char* doing) {
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return 0;
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
      reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
    return static_cast<const amqp_channel_close_t*>(reply.reply.decoded)->reply_code;
  fail(std::string(doing) + ": " + text_of_reply(reply));
}

void AmqpConnection::check_status(int status, const char* doing) {
  if (status < 0) throw Transient(std::string(doing) + ": " + text_of_error(status));
}

}  // namespace postoffice
