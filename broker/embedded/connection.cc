#include "broker/embedded/connection.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <cstring>
#include <utility>

#include "broker/embedded/handshake.h"

namespace postoffice::embedded {
namespace {

// RabbitMQ's extension, which librabbitmq does not name.
constexpr uint32_t kUpdateSecretMethod = 0x000A'0046;
constexpr uint32_t kUpdateSecretOkMethod = 0x000A'0047;
constexpr uint32_t kFrameMax = 131'072;
constexpr uint32_t kLeastFrameMax = 4096;
constexpr uint16_t kChannelMax = 2047;
constexpr uint16_t kHeartbeatSeconds = 60;
constexpr Millis kHandshakeTimeout{10'000};
constexpr Millis kCloseTimeout{5'000};
constexpr size_t kFirstInputBytes = 4096;
constexpr size_t kMostInputBytes = 256 << 10;
// Deliveries wait while so much is unsent.
constexpr size_t kFullBytes = 512 << 10;
// Requests too: their answers are larger than they are. More than above, because a client may write
// a lot before it reads.
constexpr size_t kOverfullBytes = 16 << 20;
// Of both of them where all connections together have too much unsent.
constexpr size_t kCrowdedPart = 16;
constexpr size_t kIdleBufferBytes = 64 << 10;
constexpr size_t kMostWriteBytes = 64 << 10;  // At once.
// Of messages that are not complete or not committed, so that no client takes all there is for all.
constexpr int64_t kMostReceivingHere = 512LL << 20;

}  // namespace

Connection::Connection(uint64_t id, boost::asio::ip::tcp::socket socket, ConnectionHost& host)
    : id_(id),
      socket_(std::move(socket)),
      host_(host),
      frame_max_(kFrameMax),
      channel_max_(kChannelMax),
      timer_(socket_.get_executor()) {
  boost::system::error_code error;
  const auto peer = socket_.remote_endpoint(error);
  if (!error) address_ = peer.address().to_string() + ":" + std::to_string(peer.port());
  socket_.set_option(boost::asio::ip::tcp::no_delay(true), error);
  // One that lost power, and asked for no heartbeats, would keep its exclusive queues for ever.
  socket_.set_option(boost::asio::socket_base::keep_alive(true), error);
}

Connection::~Connection() = default;

MessageStore& Connection::store() { return host_.store(); }

void Connection::start() {
  timer_.expires_after(kHandshakeTimeout);
  timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error && self->state_ != State::kRunning) self->drop("no handshake in time");
  });
  read();
}

// --- Reading

void Connection::read() {
  if (reading_ || state_ == State::kEnded || !may_process()) return;
  if (input_begin_ > 0) {
    std::memmove(input_.data(), input_.data() + input_begin_, input_end_ - input_begin_);
    input_end_ -= input_begin_;
    input_begin_ = 0;
  }
  // It grows when a read fills it, up to what a frame takes.
  if (input_end_ == input_.size()) {
    const size_t most = std::max<size_t>(kMostInputBytes, frame_max_);
    input_.resize(std::clamp(2 * input_.size(), kFirstInputBytes, most));
  }
  reading_ = true;
  socket_.async_read_some(
      boost::asio::buffer(input_.data() + input_end_, input_.size() - input_end_),
      [self = shared_from_this()](boost::system::error_code error, size_t bytes) {
        self->reading_ = false;
        if (self->state_ == State::kEnded) return;
        if (error == boost::asio::error::operation_aborted) {  // By shrink().
          self->input_.clear();
          self->input_.shrink_to_fit();
          self->read();
          return;
        }
        if (error) {
          self->drop(error == boost::asio::error::eof ? "the client closed the socket"
                                                      : error.message());
          return;
        }
        self->is_heard_ = true;
        self->was_active_ = true;
        self->input_end_ += bytes;
        self->process();
      });
}

bool Connection::may_process() const {
  if (is_held() || ends_when_written_) return false;
  if (state_ != State::kRunning) return true;
  if (is_overfull()) {
    was_full_ = true;
    return false;
  }
  using enum ConnectionHost::Load;
  // After a failure, what is published is refused and takes no room.
  if (publishes_ && !host_.has_failed()) return !host_.blocked() && host_.load() == kNormal;
  return host_.load() != kHoldsAll;
}

void Connection::resume() {
  if (!reading_ && state_ != State::kEnded) process();
}

void Connection::process() {
  const auto hold = shared_from_this();
  if (is_unreadable_) skip_to_close_ok();
  while (!process_frames()) {
    if (is_unreadable_) skip_to_close_ok();
  }
  read();
}

// False: one was wrong, and the connection closes. What follows it may be close-ok already.
bool Connection::process_frames() {
  try {
    while (state_ != State::kEnded && !is_unreadable_ && may_process()) {
      const std::string_view bytes(input_.data() + input_begin_, input_end_ - input_begin_);
      if (state_ == State::kHeader) {
        if (bytes.size() < kProtocolHeader.size()) break;
        protocol_header();
        continue;
      }
      method_ = 0;
      const auto next = parse_frame(bytes, frame_max_);
      if (next.bytes == 0) break;
      input_begin_ += next.bytes;
      frame(next);
    }
    return true;
  } catch (const ConnectionError& error) {
    close(error.code, error.what());
    return false;
  }
}

// After a broken frame nobody knows where the next one begins; close-ok looks like nothing else.
void Connection::skip_to_close_ok() {
  constexpr std::string_view kCloseOk("\x01\0\0\0\0\0\x04\0\x0A\0\x33\xCE", 12);
  const std::string_view bytes(input_.data() + input_begin_, input_end_ - input_begin_);
  const size_t found = bytes.find(kCloseOk);
  if (found != std::string_view::npos) {
    is_unreadable_ = false;
    input_begin_ += found;
  } else {
    input_begin_ = input_end_ - std::min(bytes.size(), kCloseOk.size() - 1);
  }
}

void Connection::protocol_header() {
  const std::string_view header(input_.data() + input_begin_, kProtocolHeader.size());
  if (header != kProtocolHeader) {
    output_ = kProtocolHeader;
    ends_when_written_ = true;
    host_.send_later(*this);
    return;
  }
  input_begin_ += kProtocolHeader.size();
  write_start(output());
  state_ = State::kStartOk;
}

void Connection::frame(const Frame& frame) {
  if (frame.type == kHeartbeatFrame) {
    if (frame.channel != 0) {
      throw ConnectionError(ReplyCode::kUnexpectedFrame, "a heartbeat on a channel other than 0");
    }
    return;
  }
  if (frame.type == kMethodFrame) method_ = WireReader(frame.payload).u32();
  if (frame.channel == 0) {
    if (frame.type != kMethodFrame) {
      throw ConnectionError(ReplyCode::kUnexpectedFrame, "content on channel 0");
    }
    WireReader arguments(frame.payload);
    arguments.u32();
    connection_method(method_, arguments);
    return;
  }
  if (state_ == State::kClosing) return;
  if (state_ != State::kRunning) {
    throw ConnectionError(ReplyCode::kChannelError, "a channel before connection.open");
  }
  channel_frame(frame);
}

void Connection::connection_method(uint32_t method, WireReader arguments) {
  if (method == AMQP_CONNECTION_CLOSE_METHOD) {
    client_closes();
    return;
  }
  if (method == AMQP_CONNECTION_CLOSE_OK_METHOD) {
    if (state_ == State::kClosing) drop("");
    return;
  }
  if (state_ == State::kClosing) return;
  if (state_ == State::kStartOk && method == AMQP_CONNECTION_START_OK_METHOD) {
    start_ok(arguments);
  } else if (state_ == State::kTuneOk && method == AMQP_CONNECTION_TUNE_OK_METHOD) {
    tune_ok(arguments);
  } else if (state_ == State::kOpen && method == AMQP_CONNECTION_OPEN_METHOD) {
    open(arguments);
  } else if (state_ == State::kRunning && method == kUpdateSecretMethod) {
    // Passwords do not expire here: there is nothing to renew.
    arguments.long_string();
    arguments.short_string();
    const MethodWriter written(output(), 0, kUpdateSecretOkMethod);
  } else if (method >> 16 == AMQP_CONNECTION_CLASS) {
    throw ConnectionError(ReplyCode::kCommandInvalid, "this method is not expected now");
  } else {
    throw ConnectionError(ReplyCode::kCommandInvalid, "this method is not for channel 0");
  }
}

// --- Handshake

void Connection::start_ok(WireReader& arguments) {
  const auto properties = FieldTable::read(arguments);
  const auto mechanism = arguments.short_string();
  const auto response = arguments.long_string();
  if (const auto* const value = properties.find("capabilities"); value != nullptr) {
    if (const auto* const table = std::get_if<FieldTable>(&value->value)) {
      const auto has = [table](std::string_view name) {
        const auto* const capability = table->find(name);
        return capability != nullptr && capability->type == 't' &&
               std::get<int64_t>(capability->value) != 0;
      };
      takes_cancels_ = has("consumer_cancel_notify");
      takes_blocked_ = has("connection.blocked");
      takes_login_failure_ = has("authentication_failure_close");
    }
  }
  if (const auto name = properties.text("connection_name")) {
    address_ += " (" + std::string(name->substr(0, 100)) + ")";
  }
  const auto login = read_login(mechanism, response);
  boost::system::error_code error;
  const auto from = socket_.remote_endpoint(error).address();
  if (error || !login) {
    drop("its login cannot be read");
    return;
  }
  if (!host_.knows(login->user, login->password, from)) {
    refuse_login(login->user);
    return;
  }
  user_ = login->user;
  MethodWriter writer(output(), 0, AMQP_CONNECTION_TUNE_METHOD);
  writer->u16(kChannelMax).u32(kFrameMax).u16(kHeartbeatSeconds);
  state_ = State::kTuneOk;
}

void Connection::refuse_login(const std::string& user) {
  spdlog::warn("broker: {} was refused: wrong user or password for user \"{}\"", address_, user);
  if (!takes_login_failure_) {
    drop("");
    return;
  }
  method_ = 0;
  close(ReplyCode::kAccessRefused,
        "ACCESS_REFUSED - Login was refused: wrong user or password, or guest from another host");
}

void Connection::tune_ok(WireReader& arguments) {
  const uint16_t channel_max = arguments.u16();
  const uint32_t frame_max = arguments.u32();
  const uint16_t heartbeat = arguments.u16();
  if (channel_max == 0 || channel_max > kChannelMax || frame_max < kLeastFrameMax ||
      frame_max > kFrameMax) {
    drop("its tune-ok asks for more than was offered");
    return;
  }
  channel_max_ = channel_max;
  frame_max_ = frame_max;
  heartbeat_ = std::chrono::seconds(heartbeat);
  state_ = State::kOpen;
}

void Connection::open(WireReader& arguments) {
  const auto name = arguments.short_string();
  vhost_ = host_.find_virtual_host(name);
  if (vhost_ == nullptr) {
    throw ConnectionError(ReplyCode::kNotAllowed, "vhost '" + std::string(name) + "' not found");
  }
  MethodWriter(output(), 0, AMQP_CONNECTION_OPEN_OK_METHOD)->short_string("");
  state_ = State::kRunning;
  spdlog::info("broker: {} connected to vhost {} as {}", address_, name, user_);
  timer_.cancel();
  if (heartbeat_ > Millis(0)) beat();
}

// Twice an interval one is sent, for some clients give up after one interval of silence, and four
// without anything received end it; where nothing is read because too much is unsent, without
// anything sent. It goes before what waits for the disk.
void Connection::beat() {
  timer_.expires_after(heartbeat_ / 2);
  timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (error || self->state_ != State::kRunning) return;
    const bool listens = self->reading_ || (self->is_writing_ && self->is_overfull());
    self->silent_beats_ = self->is_heard_ || !listens ? 0 : self->silent_beats_ + 1;
    self->is_heard_ = false;
    if (self->silent_beats_ >= 4) {
      self->drop("missed heartbeats from the client");
      return;
    }
    if (!self->is_writing_) {
      write_heartbeat(self->writing_);
      self->write();
    }
    self->beat();
  });
}

// --- Channels

void Connection::channel_frame(const Frame& frame) {
  const auto found = channels_.find(frame.channel);
  if (frame.type == kMethodFrame && method_ == AMQP_CHANNEL_OPEN_METHOD) {
    open_channel(frame.channel);
    return;
  }
  if (found == channels_.end()) {
    // The client's close-ok may cross ours.
    if (method_ == AMQP_CHANNEL_CLOSE_OK_METHOD) return;
    throw ConnectionError(ReplyCode::kChannelError,
                          "expected 'channel.open' on channel " + std::to_string(frame.channel));
  }
  auto& channel = *found->second;
  if (channel.is_closing) {
    if (method_ == AMQP_CHANNEL_CLOSE_OK_METHOD) end_channel(frame.channel);
    if (method_ == AMQP_CHANNEL_CLOSE_METHOD) {
      { const MethodWriter writer(output(), frame.channel, AMQP_CHANNEL_CLOSE_OK_METHOD); }
    }
    return;
  }
  try {
    if (frame.type == kMethodFrame) {
      WireReader arguments(frame.payload);
      arguments.u32();
      channel_method(channel, method_, arguments);
    } else {
      if (channel.expects_content()) method_ = AMQP_BASIC_PUBLISH_METHOD;
      if (frame.type == kHeaderFrame) channel.header(frame.payload);
      if (frame.type == kBodyFrame) channel.body(frame.payload);
    }
  } catch (const ChannelError& error) {
    close_channel(channel, error);
  }
}

void Connection::channel_method(Channel& channel, uint32_t method, WireReader arguments) {
  if (channel.expects_content()) {
    method_ = AMQP_BASIC_PUBLISH_METHOD;
    throw ConnectionError(ReplyCode::kUnexpectedFrame, "expected content, got a method");
  }
  switch (method) {
    case AMQP_CHANNEL_CLOSE_METHOD: {
      const uint16_t number = channel.number;
      end_channel(number);
      const MethodWriter writer(output(), number, AMQP_CHANNEL_CLOSE_OK_METHOD);
      return;
    }
    case AMQP_CHANNEL_FLOW_METHOD:
      if ((arguments.octet() & 1) == 0) {
        throw ConnectionError(ReplyCode::kNotImplemented, "channel.flow with active=false");
      }
      MethodWriter(output(), channel.number, AMQP_CHANNEL_FLOW_OK_METHOD)->octet(1);
      return;
    case AMQP_CHANNEL_FLOW_OK_METHOD:
    case AMQP_CHANNEL_CLOSE_OK_METHOD:
      return;
    default:
      break;
  }
  if (method >> 16 == AMQP_CONNECTION_CLASS) {
    throw ConnectionError(ReplyCode::kCommandInvalid,
                          "a method of class connection on a channel other than 0");
  }
  channel.method(method, arguments);
}

void Connection::open_channel(uint16_t number) {
  if (channels_.contains(number)) {
    throw ConnectionError(ReplyCode::kChannelError, "second 'channel.open' seen");
  }
  if (channels_.size() >= channel_max_) {
    method_ = 0;  // As RabbitMQ has it.
    throw ConnectionError(ReplyCode::kNotAllowed,
                          "number of channels opened has reached the "
                          "negotiated channel_max of " +
                              std::to_string(channel_max_));
  }
  channels_.emplace(number, std::make_unique<Channel>(number, *this));
  MethodWriter(output(), number, AMQP_CHANNEL_OPEN_OK_METHOD)->long_string("");
}

void Connection::end_channel(uint16_t number) {
  const auto channel = channels_.extract(number);
  channel.mapped()->close();
}

void Connection::close_channel(Channel& channel, const ChannelError& error) {
  spdlog::debug("broker: {}: channel {} closed: {}", address_, channel.number, error.what());
  channel.write_confirms(host_.durable(), output_);
  {
    MethodWriter writer(output(), channel.number, AMQP_CHANNEL_CLOSE_METHOD);
    writer->u16(static_cast<uint16_t>(error.code)).short_string(error.what());
    writer->u32(method_);
  }
  channel.is_closing = true;
  channel.close();
}

// --- Writing

std::string& Connection::output() {
  host_.send_later(*this);
  return output_;
}

size_t Connection::allowed(size_t bytes) const {
  return host_.is_crowded() ? bytes / kCrowdedPart : bytes;
}

// Whoever is full has something to send, and goes on when that was.
bool Connection::is_full() const {
  if (unsent() < allowed(kFullBytes)) return false;
  was_full_ = true;
  return true;
}

bool Connection::drops_replies() const { return unsent() >= kOverfullBytes; }

bool Connection::is_overfull() const { return unsent() >= allowed(kOverfullBytes); }

void Connection::count_unsent() {
  host_.unsent(static_cast<int64_t>(unsent()) - static_cast<int64_t>(counted_unsent_));
  counted_unsent_ = unsent();
}

void Connection::send_when_durable() {
  if (host_.has_failed()) {
    throw ConnectionError(ReplyCode::kInternalError, "the message store has failed");
  }
  host_.store().append_settled();
  if (host_.store().appended() <= host_.durable()) return;
  held_until_ = host_.store().appended();
  host_.tell_durable(*this);
}

void Connection::confirm_later() {
  host_.tell_durable(*this);
  host_.send_later(*this);
}

void Connection::durable(uint64_t sequence) {
  if (state_ == State::kEnded) return;
  for (const auto& [number, channel] : channels_) {
    if (channel->waits_for_confirms() && !channel->is_closing)
      channel->write_confirms(sequence, output_);
  }
  if (held_until_ && sequence >= *held_until_) {
    held_until_.reset();
    resume();
  }
  // At once: more may be durable before this turn ends. send() looks at what that is for confirms.
  if (held_until_) host_.tell_durable(*this);
  host_.send_later(*this);
}

void Connection::send() {
  if (state_ == State::kEnded) return;
  const uint64_t durable = host_.durable();
  bool waits = held_until_.has_value();
  for (const auto& [number, channel] : channels_) {
    if (!channel->waits_for_confirms() || channel->is_closing) continue;
    channel->write_confirms(durable, output_);
    waits = waits || channel->waits_for_confirms();
  }
  if (waits) host_.tell_durable(*this);
  count_unsent();
  write_now();
}

void Connection::write_now() {
  if (is_writing_ || output_.empty() || is_held() || state_ == State::kEnded) return;
  std::swap(writing_, output_);
  write();
}

void Connection::write() {
  is_writing_ = true;
  boost::asio::async_write(
      socket_, boost::asio::buffer(writing_),
      [this](boost::system::error_code error, size_t bytes) {
        if (bytes > 0 && is_overfull()) is_heard_ = true;
        return error ? 0 : kMostWriteBytes;
      },
      [self = shared_from_this()](boost::system::error_code error, size_t /*bytes*/) {
        self->is_writing_ = false;
        self->writing_.clear();
        if (self->state_ == State::kEnded) return;
        if (error) {
          self->drop(error.message());
          return;
        }
        self->written();
      });
}

void Connection::written() {
  was_active_ = true;
  if (writing_.capacity() > 2 * kFullBytes) writing_.shrink_to_fit();
  count_unsent();
  if (ends_when_written_ && output_.empty()) {
    drop("");
    return;
  }
  write_now();
  if (!std::exchange(was_full_, false) || is_full()) return;
  for (const auto& [number, channel] : channels_) channel->drained();
  host_.send_later(*this);
  resume();
}

void Connection::shrink() {
  if (std::exchange(was_active_, false) || is_writing_ || unsent() > 0) return;
  for (auto* const buffer : {&output_, &writing_}) {
    if (buffer->capacity() > kIdleBufferBytes) buffer->shrink_to_fit();
  }
  if (!reading_ || input_.size() <= kIdleBufferBytes || input_begin_ < input_end_) return;
  input_begin_ = input_end_ = 0;
  boost::system::error_code ignored;
  socket_.cancel(ignored);  // The buffer that is read into cannot be given back.
}

// --- Backpressure

bool Connection::publishes() {
  if (!publishes_) {
    publishes_ = true;
    if (const auto& why = host_.blocked()) blocked(*why);
  }
  return !host_.has_failed();
}

void Connection::blocked(const std::string& why) {
  if (!publishes_ || told_blocked_ || state_ != State::kRunning) return;
  told_blocked_ = true;
  if (takes_blocked_) MethodWriter(output(), 0, AMQP_CONNECTION_BLOCKED_METHOD)->short_string(why);
}

void Connection::unblocked() {
  if (told_blocked_ && takes_blocked_ && state_ == State::kRunning) {
    { const MethodWriter writer(output(), 0, AMQP_CONNECTION_UNBLOCKED_METHOD); }
  }
  told_blocked_ = false;
  resume();
}

void Connection::receiving(int64_t more_bytes) {
  receiving_ += more_bytes;
  if (!host_.receiving(more_bytes)) {
    throw ConnectionError(ReplyCode::kResourceError,
                          "too many bytes of unfinished messages on all connections");
  }
  if (more_bytes > 0 && receiving_ > kMostReceivingHere) {
    throw ConnectionError(ReplyCode::kResourceError,
                          "too many bytes of unfinished messages on this connection");
  }
}

void Connection::refuse_unconfirmed() {
  for (const auto& [number, channel] : channels_) channel->refuse_unconfirmed();
  host_.send_later(*this);
  if (is_held()) drop("the message store has failed");
}

// --- End

void Connection::client_closes() {
  if (state_ == State::kRunning) spdlog::info("broker: {} has closed its connection", address_);
  channels_.clear();
  held_until_.reset();
  if (vhost_ != nullptr) vhost_->delete_exclusive_queues(id_);
  { const MethodWriter writer(output(), 0, AMQP_CONNECTION_CLOSE_OK_METHOD); }
  ends_when_written_ = true;
  end_soon();
}

void Connection::close(ReplyCode code, const std::string& text) {
  if (state_ == State::kEnded) return;
  if (code == ReplyCode::kFrameError) is_unreadable_ = true;
  if (state_ == State::kClosing) return;
  spdlog::warn("broker: {} is closed: {}", address_, text);
  const auto hold = shared_from_this();
  channels_.clear();
  if (held_until_) output_.clear();  // It answers what is not on disk.
  held_until_.reset();
  if (vhost_ != nullptr) vhost_->delete_exclusive_queues(id_);
  {
    MethodWriter writer(output(), 0, AMQP_CONNECTION_CLOSE_METHOD);
    writer->u16(static_cast<uint16_t>(code)).short_string(text).u32(method_);
  }
  end_soon();
}

// Also when the client neither answers nor reads.
void Connection::end_soon() {
  state_ = State::kClosing;
  timer_.expires_after(kCloseTimeout);
  timer_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error) self->drop("");
  });
}

void Connection::drop(const std::string& why) {
  if (state_ == State::kEnded) return;
  const auto hold = shared_from_this();
  if (!why.empty() && state_ == State::kRunning) {
    spdlog::info("broker: {} is lost: {}", address_, why);
  } else if (!why.empty() && state_ != State::kClosing && input_end_ > 0) {
    spdlog::warn("broker: {} is refused: {}", address_, why);
  }
  state_ = State::kEnded;
  timer_.cancel();
  channels_.clear();
  host_.unsent(-static_cast<int64_t>(std::exchange(counted_unsent_, 0)));
  if (vhost_ != nullptr) vhost_->delete_exclusive_queues(id_);
  boost::system::error_code error;
  socket_.close(error);
  host_.ended(*this);
}

}  // namespace postoffice::embedded
