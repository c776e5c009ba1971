#include "broker/publisher.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <deque>
#include <mutex>
#include <stdexcept>

#include "base/error.h"
#include "broker/amqp_connection.h"
#include "broker/connection_keeper.h"
#include "broker/topology.h"
#include "broker/unconfirmed.h"

namespace postoffice {
namespace {

constexpr amqp_channel_t kChannel = 1;
// Unsent beyond this, messages wait where they can still be settled as never sent.
constexpr size_t kMostUnsentBytes = 256 * 1024;
constexpr size_t kMostHeaderValueBytes = 4096;
constexpr size_t kMostHeaders = 16;  // So that they always fit a frame.
constexpr size_t kMostHeaderNameBytes = 127;
constexpr size_t kMostRoutingKeyBytes = 255;
constexpr int kFramesBetweenReleases = 64;
constexpr Millis kBetweenReturnWarnings{5000};
// RabbitMQ (seen with 3.10) may never settle what was on its way to a quorum queue when that was
// deleted. A message is taken for lost when one sent so much later is settled, so long after the
// queues were declared again, or after so long in any case; a reconnect settles it. Not sooner: a
// broker that is slow would be sent everything again and again.
constexpr Millis kMostOvertaken{5000};
constexpr Millis kMostUnconfirmed{30'000};
constexpr Millis kBetweenChecks{1000};

struct OutcomeName {
  PublishOutcome outcome;
  const char* name;
};
constexpr std::array<OutcomeName, 5> kOutcomes = {{
    {PublishOutcome::kConfirmed, "confirmed"},
    {PublishOutcome::kReturned, "returned"},
    {PublishOutcome::kNacked, "nacked"},
    {PublishOutcome::kUnavailable, "unavailable"},
    {PublishOutcome::kUnknown, "unknown"},
}};

void check_names(const Message& message) {
  if (message.routing_key.size() > kMostRoutingKeyBytes)
    throw std::invalid_argument("routing key longer than 255 bytes");
  if (message.headers.size() > kMostHeaders) throw std::invalid_argument("more than 16 headers");
  for (const auto& [name, value] : message.headers) {
    if (name.size() > kMostHeaderNameBytes)
      throw std::invalid_argument("header name longer than 127 bytes");
  }
}

size_t size_of(const Message& message) {
  size_t bytes = sizeof message + message.body.size();
  for (const auto& [name, value] : message.headers) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

class AmqpPublisher::Core {
 public:
  Core(Options options, Metrics& metrics)
      : window_(options.window),
        max_waiting_bytes_(options.max_waiting_bytes),
        name_(options.name),
        seconds_(metrics.histogram(
            "postoffice_publish_seconds", "From sending a message to the broker's confirm.",
            {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
            {{"publisher", options.name}})),
        keeper_(
            {.urls = std::move(options.urls), .name = options.name, .hint = options.hint},
            [this](AmqpConnection& connection) {
              begin(connection);
              serve(connection);
            },
            [this] { end(); }, metrics) {
    for (const auto& [outcome, name] : kOutcomes) {
      counters_.at(static_cast<size_t>(outcome)) = &metrics.counter(
          "postoffice_publishes_total", "Messages published, by what became of them.",
          {{"outcome", name}, {"publisher", name_}});
    }
  }

  void start() { keeper_.start(); }
  void stop(SteadyClock::time_point deadline) { keeper_.stop(deadline); }

  void publish(Message message, Settled settled) {
    check_names(message);
    const size_t bytes = size_of(message);
    {
      const std::lock_guard lock(mutex_);
      if (available_ && (waiting_.empty() || waiting_bytes_ + bytes <= max_waiting_bytes_)) {
        if (waiting_.empty()) keeper_.wakeup().ring();
        waiting_bytes_ += bytes;
        waiting_.push_back({std::move(message), std::move(settled), bytes});
        return;
      }
    }
    settle(PublishOutcome::kUnavailable, settled);
  }

  bool available() const {
    const std::lock_guard lock(mutex_);
    return available_;
  }

  void on_availability(AvailabilityChanged changed) { availability_changed_ = std::move(changed); }

  std::string status() const {
    std::string status = keeper_.status();
    const std::lock_guard lock(mutex_);
    if (!blocked_why_.empty()) status += ", which blocks publishing: " + blocked_why_;
    return status;
  }

 private:
  struct Waiting {
    Message message;
    Settled settled;
    size_t bytes;
  };

  void begin(AmqpConnection& connection);
  void serve(AmqpConnection& connection);
  void end();
  void receive(AmqpConnection& connection);
  void on_method(AmqpConnection& connection, const amqp_frame_t& frame);
  void on_returned(const amqp_basic_properties_t& properties);
  void on_blocked(const AmqpConnection& connection, const amqp_connection_blocked_t& blocked);
  void on_unblocked(const AmqpConnection& connection);
  void check_for_lost_confirms() const;
  void send_waiting(AmqpConnection& connection);
  void send(AmqpConnection& connection, Message& message, Settled settled);
  // Makes publish() settle with kUnavailable, also what waits to be sent.
  void refuse();
  void set_available(bool available);
  void settle_unconfirmed(uint64_t tag, bool multiple, PublishOutcome outcome);
  void settle(PublishOutcome outcome, Settled& settled) {
    counters_.at(static_cast<size_t>(outcome))->Increment();
    if (settled) settled(outcome);
  }

  const size_t window_;
  const size_t max_waiting_bytes_;
  const std::string name_;
  std::array<prometheus::Counter*, kOutcomes.size()> counters_{};
  prometheus::Histogram& seconds_;
  AvailabilityChanged availability_changed_;

  // The publisher's thread only.
  Unconfirmed unconfirmed_;
  std::deque<Waiting> sending_;
  std::vector<amqp_table_entry_t> headers_;
  bool declare_again_ = false;  // A message was returned: exchange, queue or binding is missing.
  bool blocked_ = false;
  SteadyClock::time_point next_return_warning_;
  SteadyClock::time_point declared_again_at_;
  SteadyClock::time_point unblocked_at_;
  SteadyClock::time_point newest_settled_sent_at_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  bool available_ = false;
  std::string blocked_why_;
  std::deque<Waiting> waiting_;
  size_t waiting_bytes_ = 0;

  ConnectionKeeper keeper_;  // Last: its thread uses all of the above.
};

void AmqpPublisher::Core::begin(AmqpConnection& connection) {
  declare_topology(connection);
  connection.open_channel(kChannel);
  const amqp_confirm_select_t select{};
  const auto reply = connection.rpc(kChannel, AMQP_CONFIRM_SELECT_METHOD, &select,
                                    AMQP_CONFIRM_SELECT_OK_METHOD, "confirm.select");
  if (reply.code != 0) throw Transient("confirm.select refused: " + reply.text);
  keeper_.ready(connection);
  set_available(true);
}

void AmqpPublisher::Core::serve(AmqpConnection& connection) {
  while (true) {
    if (keeper_.stopping()) {
      refuse();
      if (unconfirmed_.size() == 0) return;
    }
    if (declare_again_ && !blocked_) {
      declare_topology(connection);
      declare_again_ = false;
      declared_again_at_ = SteadyClock::now();
    }
    if (!declare_again_ && !blocked_) send_waiting(connection);
    connection.wait(&keeper_.wakeup(), unconfirmed_.size() > 0 ? SteadyClock::now() + kBetweenChecks
                                                               : SteadyClock::time_point::max());
    keeper_.wakeup().clear();
    receive(connection);
    check_for_lost_confirms();
  }
}

void AmqpPublisher::Core::end() {
  declare_again_ = blocked_ = false;
  refuse();
  for (auto& waiting : sending_) settle(PublishOutcome::kUnavailable, waiting.settled);
  sending_.clear();
  unconfirmed_.lose_all(
      [this](Unconfirmed::Settlement lost) { settle(PublishOutcome::kUnknown, lost.settled); });
  const std::lock_guard lock(mutex_);
  blocked_why_.clear();
}

void AmqpPublisher::Core::refuse() {
  set_available(false);
  std::deque<Waiting> refused;
  {
    const std::lock_guard lock(mutex_);
    refused.swap(waiting_);
    waiting_bytes_ = 0;
  }
  for (auto& waiting : refused) settle(PublishOutcome::kUnavailable, waiting.settled);
}

void AmqpPublisher::Core::set_available(bool available) {
  {
    const std::lock_guard lock(mutex_);
    if (available_ == available) return;
    available_ = available;
  }
  if (availability_changed_) availability_changed_(available);
}

void AmqpPublisher::Core::check_for_lost_confirms() const {
  const auto oldest = unconfirmed_.oldest_sent_at();
  if (!oldest || blocked_) return;
  const auto now = SteadyClock::now();
  const bool overtaken =
      newest_settled_sent_at_ - *oldest >= kMostOvertaken ||
      (*oldest < declared_again_at_ && now - declared_again_at_ >= kMostOvertaken);
  const auto waited = now - std::max(*oldest, unblocked_at_);
  if (overtaken || waited >= kMostUnconfirmed) {
    throw Transient(std::to_string(unconfirmed_.size()) + " messages not confirmed, one for " +
                    format_duration(std::chrono::duration_cast<Millis>(waited)));
  }
}

// --- Receiving

void AmqpPublisher::Core::receive(AmqpConnection& connection) {
  int frames = 0;
  while (const auto frame = connection.received_frame()) {
    if (frame->frame_type == AMQP_FRAME_METHOD) {
      on_method(connection, *frame);
    } else if (frame->frame_type == AMQP_FRAME_HEADER && frame->channel == kChannel) {
      // Content on this channel is that of basic.return.
      on_returned(*static_cast<const amqp_basic_properties_t*>(frame->payload.properties.decoded));
    }
    if (++frames % kFramesBetweenReleases == 0) connection.release_buffers();
  }
  connection.release_buffers();
}

void AmqpPublisher::Core::on_method(AmqpConnection& connection, const amqp_frame_t& frame) {
  const void* fields = frame.payload.method.decoded;
  switch (frame.payload.method.id) {
    case AMQP_BASIC_ACK_METHOD: {
      const auto& ack = *static_cast<const amqp_basic_ack_t*>(fields);
      settle_unconfirmed(ack.delivery_tag, ack.multiple != 0, PublishOutcome::kConfirmed);
      break;
    }
    case AMQP_BASIC_NACK_METHOD: {
      const auto& nack = *static_cast<const amqp_basic_nack_t*>(fields);
      settle_unconfirmed(nack.delivery_tag, nack.multiple != 0, PublishOutcome::kNacked);
      break;
    }
    case AMQP_CHANNEL_CLOSE_METHOD:
      if (frame.channel != kChannel) break;
      throw Transient("channel closed by the broker: " +
                      close_text(*static_cast<const amqp_channel_close_t*>(fields)));
    case AMQP_CONNECTION_BLOCKED_METHOD:
      on_blocked(connection, *static_cast<const amqp_connection_blocked_t*>(fields));
      break;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
      on_unblocked(connection);
      break;
    default:
      break;  // basic.return is known by its content.
  }
}

void AmqpPublisher::Core::settle_unconfirmed(uint64_t tag, bool multiple, PublishOutcome outcome) {
  const auto now = SteadyClock::now();
  unconfirmed_.settle(tag, multiple, outcome, [&](Unconfirmed::Settlement settlement) {
    newest_settled_sent_at_ = std::max(newest_settled_sent_at_, settlement.sent_at);
    if (settlement.outcome == PublishOutcome::kConfirmed)
      seconds_.Observe(std::chrono::duration<double>(now - settlement.sent_at).count());
    settle(settlement.outcome, settlement.settled);
  });
}

void AmqpPublisher::Core::on_returned(const amqp_basic_properties_t& properties) {
  if ((properties._flags & AMQP_BASIC_MESSAGE_ID_FLAG) == 0) return;
  const std::string_view id = amqp_text(properties.message_id);
  uint64_t tag = 0;
  std::from_chars(id.data(), id.data() + id.size(), tag);
  unconfirmed_.mark_returned(tag);
  declare_again_ = true;
  const auto now = SteadyClock::now();
  if (now < next_return_warning_) return;
  next_return_warning_ = now + kBetweenReturnWarnings;
  spdlog::warn("{}: a message was returned, no queue took it; declaring exchange and queues again",
               name_);
}

// What is in flight stays so: the broker has read it, or reads it when its alarm is over.
void AmqpPublisher::Core::on_blocked(const AmqpConnection& connection,
                                     const amqp_connection_blocked_t& blocked) {
  blocked_ = true;
  {
    const std::lock_guard lock(mutex_);
    blocked_why_ = amqp_text(blocked.reason);
  }
  spdlog::warn("{} ({}): blocks publishing: {}", connection.product(), name_,
               amqp_text(blocked.reason));
  refuse();
}

void AmqpPublisher::Core::on_unblocked(const AmqpConnection& connection) {
  blocked_ = false;
  unblocked_at_ = SteadyClock::now();
  {
    const std::lock_guard lock(mutex_);
    blocked_why_.clear();
  }
  spdlog::info("{} ({}): takes messages again", connection.product(), name_);
  if (!keeper_.stopping()) set_available(true);
}

// --- Sending

void AmqpPublisher::Core::send_waiting(AmqpConnection& connection) {
  while (unconfirmed_.size() < window_ && connection.unsent_bytes() < kMostUnsentBytes) {
    {
      const std::lock_guard lock(mutex_);
      size_t bytes = connection.unsent_bytes();
      while (!waiting_.empty() && unconfirmed_.size() + sending_.size() < window_ &&
             bytes < kMostUnsentBytes) {
        bytes += waiting_.front().bytes;
        waiting_bytes_ -= waiting_.front().bytes;
        sending_.push_back(std::move(waiting_.front()));
        waiting_.pop_front();
      }
    }
    if (sending_.empty()) return;
    while (!sending_.empty()) {
      Waiting waiting = std::move(sending_.front());
      sending_.pop_front();
      send(connection, waiting.message, std::move(waiting.settled));
    }
    connection.flush();
  }
}

void AmqpPublisher::Core::send(AmqpConnection& connection, Message& message, Settled settled) {
  const uint64_t tag = unconfirmed_.add(std::move(settled), SteadyClock::now());
  // basic.return has no delivery tag.
  std::array<char, 24> id{};
  const auto* id_end = std::to_chars(id.data(), id.data() + id.size(), tag).ptr;

  headers_.clear();
  for (const auto& [name, value] : message.headers) {
    auto& entry = headers_.emplace_back();
    entry.key = amqp_bytes(name);
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqp_bytes(std::string_view(value).substr(0, kMostHeaderValueBytes));
  }
  amqp_basic_properties_t properties{};
  properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG;
  properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
  properties.message_id = amqp_bytes({id.data(), static_cast<size_t>(id_end - id.data())});
  if (!headers_.empty()) {
    properties._flags |= AMQP_BASIC_HEADERS_FLAG;
    properties.headers = {static_cast<int>(headers_.size()), headers_.data()};
  }
  amqp_basic_publish_t publish{};
  publish.exchange = amqp_bytes(topology::kExchange);
  publish.routing_key = amqp_bytes(message.routing_key);
  publish.mandatory = 1;
  connection.send_message(kChannel, publish, properties, message.body);
}

// --- The public face

AmqpPublisher::AmqpPublisher(Options options, Metrics& metrics)
    : core_(std::make_unique<Core>(std::move(options), metrics)) {}
AmqpPublisher::~AmqpPublisher() { stop(SteadyClock::now()); }

void AmqpPublisher::start() { core_->start(); }
void AmqpPublisher::stop(SteadyClock::time_point deadline) { core_->stop(deadline); }
void AmqpPublisher::publish(Message message, Settled settled) {
  core_->publish(std::move(message), std::move(settled));
}
bool AmqpPublisher::available() const { return core_->available(); }
void AmqpPublisher::on_availability(AvailabilityChanged changed) {
  core_->on_availability(std::move(changed));
}
std::string AmqpPublisher::status() const { return core_->status(); }

}  // namespace postoffice
