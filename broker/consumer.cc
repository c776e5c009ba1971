#include "broker/consumer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>

#include "base/error.h"
#include "broker/amqp_connection.h"
#include "broker/connection_keeper.h"
#include "broker/topology.h"
#include "broker/unsettled.h"

namespace postoffice {
namespace {

// In turn: what is still on its way on the one before is not taken for this one's.
constexpr std::array<amqp_channel_t, 2> kChannels = {1, 3};
constexpr std::string_view kConsumerTag = "postoffice";
// Between the last settlement and the end of the channel. There is no answer to an ack, and when
// more than 32 are not yet in the log of a quorum queue, RabbitMQ's channel holds further ones
// back, and drops them when it is closed (measured with 3.10: of 2,000 acks sent just before, 33
// were kept).
constexpr Millis kLinger{200};
// After so long without a delivery the channel is opened anew. When a quorum queue is deleted and
// declared again before RabbitMQ (3.10) has told its consumers, it moves them to the new queue
// without a word, and forgets the queue's state: as many messages as the prefetch allows are
// counted as delivered, and none is sent until the channel ends.
constexpr Millis kMostIdle{5000};
// Read at once where reading is off, which is when the broker was not heard of for long: all that
// the socket holds, so that the broker can go on sending, and not all that it then sends.
constexpr size_t kMostNotReadBytes = 1 << 20;
constexpr size_t kMostReservedBytes = 16 << 20;  // A larger body grows as it comes.

// RabbitMQ sends counts as 64-bit integers; other brokers may save bytes.
uint64_t to_count(const amqp_field_value_t& value) {
  switch (value.kind) {
    case AMQP_FIELD_KIND_I32:
    case AMQP_FIELD_KIND_U32:
      return static_cast<uint32_t>(std::max(value.value.i32, 0));
    case AMQP_FIELD_KIND_I64:
    case AMQP_FIELD_KIND_U64:
      return static_cast<uint64_t>(std::max<int64_t>(value.value.i64, 0));
    default:
      return 0;
  }
}

size_t frame_bytes(const amqp_frame_t& frame) {
  constexpr size_t kOtherBytes = 100;
  return kOtherBytes +
         (frame.frame_type == AMQP_FRAME_BODY ? frame.payload.body_fragment.len : size_t{0});
}

uint64_t delivery_count(const amqp_basic_properties_t& properties) {
  if ((properties._flags & AMQP_BASIC_HEADERS_FLAG) == 0) return 0;
  for (int i = 0; i < properties.headers.num_entries; ++i) {
    const auto& entry = properties.headers.entries[i];
    if (amqp_text(entry.key) == "x-delivery-count") return to_count(entry.value);
  }
  return 0;
}

}  // namespace

class Consumer::Core {
 public:
  Core(Options options, Handler handler, Metrics& metrics)
      : name_(options.name),
        queue_(std::move(options.queue)),
        prefetch_(options.prefetch),
        handler_(std::move(handler)),
        keeper_(
            {.urls = std::move(options.urls), .name = options.name, .hint = options.hint},
            [this](AmqpConnection& connection) {
              begin(connection);
              serve(connection);
            },
            [this] { end(); }, metrics) {}

  void start() { keeper_.start(); }
  void stop(SteadyClock::time_point deadline) { keeper_.stop(deadline); }

  void cancel() {
    cancelled_ = true;
    keeper_.wakeup().ring();
  }

  void settle(DeliveryTag tag, bool requeue) {
    const std::lock_guard lock(mutex_);
    if (tag.connection != connection_number_) return;
    if (settlements_.empty()) keeper_.wakeup().ring();
    settlements_.push_back({tag.tag, requeue});
  }

  void set_reading(bool reading) {
    reading_ = reading;
    if (reading) keeper_.wakeup().ring();
  }

  bool connected() const { return connected_; }
  std::string status() const { return keeper_.status(); }

 private:
  struct Settlement {
    uint64_t tag;
    bool requeue;
  };

  void begin(AmqpConnection& connection);
  void serve(AmqpConnection& connection);
  void end();
  void open_channel(AmqpConnection& connection);
  void renew_channel(AmqpConnection& connection);
  void forget_deliveries();
  bool may_be_stalled() const;
  void consume(AmqpConnection& connection);
  void send_cancel(AmqpConnection& connection);
  void send_settlements(AmqpConnection& connection);
  void send_requeue(AmqpConnection& connection, uint64_t tag);
  void close_channel(AmqpConnection& connection);
  void receive(AmqpConnection& connection);
  void on_method(const amqp_frame_t& frame);
  void on_header(AmqpConnection& connection, const amqp_frame_t& frame);
  void on_body(AmqpConnection& connection, const amqp_frame_t& frame);
  void on_complete(AmqpConnection& connection);

  const std::string name_;
  const std::string queue_;
  const uint16_t prefetch_;
  const Handler handler_;

  std::atomic<bool> connected_ = false;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> reading_ = true;

  // The consumer's thread only.
  Unsettled unsettled_;
  Delivery arriving_;
  uint64_t missing_bytes_ = 0;  // Of arriving_.body.
  bool cancel_sent_ = false;
  bool consume_again_ = false;
  bool stopping_ = false;
  amqp_channel_t channel_ = kChannels.front();
  SteadyClock::time_point settled_at_;  // When a settlement was sent last.
  SteadyClock::time_point active_at_;   // The same, or when a delivery came or the channel began.
  std::vector<Settlement> settling_;

  std::mutex mutex_;
  // Guarded by mutex_.
  uint64_t connection_number_ = 0;  // Written by the consumer's thread only.
  std::vector<Settlement> settlements_;

  ConnectionKeeper keeper_;  // Last: its thread uses all of the above.
};

void Consumer::Core::begin(AmqpConnection& connection) {
  forget_deliveries();
  cancel_sent_ = consume_again_ = false;
  declare_topology(connection);
  open_channel(connection);
  keeper_.ready(connection);
  connected_ = true;
}

void Consumer::Core::open_channel(AmqpConnection& connection) {
  connection.open_channel(channel_);
  amqp_basic_qos_t qos{};
  qos.prefetch_count = prefetch_;
  const auto reply =
      connection.rpc(channel_, AMQP_BASIC_QOS_METHOD, &qos, AMQP_BASIC_QOS_OK_METHOD, "basic.qos");
  if (reply.code != 0) throw Transient("basic.qos refused: " + reply.text);
  consume(connection);
  active_at_ = SteadyClock::now();
}

void Consumer::Core::forget_deliveries() {
  unsettled_.clear();
  missing_bytes_ = 0;
  const std::lock_guard lock(mutex_);
  ++connection_number_;
  settlements_.clear();
}

// Nothing is unsettled. To those who settle twice it is another connection: delivery tags begin
// anew.
void Consumer::Core::renew_channel(AmqpConnection& connection) {
  close_channel(connection);
  channel_ = channel_ == kChannels[0] ? kChannels[1] : kChannels[0];
  forget_deliveries();
  open_channel(connection);
}

bool Consumer::Core::may_be_stalled() const {
  return !cancelled_ && reading_ && unsettled_.held() == 0;
}

void Consumer::Core::serve(AmqpConnection& connection) {
  while (true) {
    stopping_ = keeper_.stopping();  // Before: what was settled until stop() is sent.
    send_settlements(connection);
    if ((cancelled_ || stopping_) && !cancel_sent_) send_cancel(connection);
    auto deadline = SteadyClock::time_point::max();
    if (stopping_) {
      deadline = settled_at_ + kLinger;
      if (SteadyClock::now() >= deadline) return close_channel(connection);
    } else if (consume_again_) {
      consume_again_ = false;
      declare_topology(connection);
      consume(connection);
    } else if (may_be_stalled()) {
      if (SteadyClock::now() >= active_at_ + kMostIdle) renew_channel(connection);
      deadline = active_at_ + kMostIdle;
    }
    const bool reading = reading_ || stopping_ || connection.must_read();
    connection.wait(&keeper_.wakeup(), deadline, reading);
    keeper_.wakeup().clear();
    if (reading) receive(connection);
  }
}

void Consumer::Core::end() {
  connected_ = false;
  if (!keeper_.stopping() && handler_.on_lost) handler_.on_lost(connection_number_);
}

void Consumer::Core::consume(AmqpConnection& connection) {
  if (cancelled_) return;
  amqp_basic_consume_t consume{};
  consume.queue = amqp_bytes(queue_);
  consume.consumer_tag = amqp_bytes(kConsumerTag);
  const auto reply = connection.rpc(channel_, AMQP_BASIC_CONSUME_METHOD, &consume,
                                    AMQP_BASIC_CONSUME_OK_METHOD, "basic.consume");
  if (reply.code != 0) throw Transient("basic.consume refused: " + reply.text);
}

void Consumer::Core::send_cancel(AmqpConnection& connection) {
  cancel_sent_ = true;
  amqp_basic_cancel_t cancel{};
  cancel.consumer_tag = amqp_bytes(kConsumerTag);
  connection.send_method(channel_, AMQP_BASIC_CANCEL_METHOD, &cancel);
}

void Consumer::Core::send_requeue(AmqpConnection& connection, uint64_t tag) {
  amqp_basic_nack_t nack{};
  nack.delivery_tag = tag;
  nack.requeue = 1;
  connection.send_method(channel_, AMQP_BASIC_NACK_METHOD, &nack);
}

void Consumer::Core::send_settlements(AmqpConnection& connection) {
  settling_.clear();
  {
    const std::lock_guard lock(mutex_);
    settling_.swap(settlements_);
  }
  if (!settling_.empty()) settled_at_ = active_at_ = SteadyClock::now();
  for (const auto& [tag, requeue] : settling_) {
    if (!requeue) {
      unsettled_.ack(tag);
    } else if (unsettled_.requeue(tag)) {
      send_requeue(connection, tag);
    }
  }
  for (const auto& [tag, multiple] : unsettled_.take_acks()) {
    amqp_basic_ack_t ack{};
    ack.delivery_tag = tag;
    ack.multiple = multiple ? 1 : 0;
    connection.send_method(channel_, AMQP_BASIC_ACK_METHOD, &ack);
  }
}

void Consumer::Core::close_channel(AmqpConnection& connection) {
  amqp_channel_close_t close{};
  close.reply_code = AMQP_REPLY_SUCCESS;
  connection.rpc(channel_, AMQP_CHANNEL_CLOSE_METHOD, &close, AMQP_CHANNEL_CLOSE_OK_METHOD,
                 "channel.close");
}

// --- Receiving

void Consumer::Core::receive(AmqpConnection& connection) {
  size_t bytes = 0;
  while (const auto frame = connection.received_frame()) {
    if (frame->channel == channel_) {
      switch (frame->frame_type) {
        case AMQP_FRAME_METHOD:
          on_method(*frame);
          break;
        case AMQP_FRAME_HEADER:
          on_header(connection, *frame);
          break;
        case AMQP_FRAME_BODY:
          on_body(connection, *frame);
          break;
        default:
          break;
      }
    }
    connection.release_buffers();
    if (!reading_ && !stopping_ && (bytes += frame_bytes(*frame)) >= kMostNotReadBytes) return;
  }
}

void Consumer::Core::on_method(const amqp_frame_t& frame) {
  const void* fields = frame.payload.method.decoded;
  switch (frame.payload.method.id) {
    case AMQP_BASIC_DELIVER_METHOD: {
      const auto& deliver = *static_cast<const amqp_basic_deliver_t*>(fields);
      arriving_ = {};
      arriving_.tag = {connection_number_, deliver.delivery_tag};
      arriving_.redelivered = deliver.redelivered != 0;
      break;
    }
    case AMQP_BASIC_CANCEL_METHOD:
      spdlog::warn("{}: the broker cancelled the consumer of {}; declaring it again", name_,
                   queue_);
      consume_again_ = true;
      break;
    case AMQP_CHANNEL_CLOSE_METHOD:
      throw Transient("channel closed by the broker: " +
                      close_text(*static_cast<const amqp_channel_close_t*>(fields)));
    default:
      break;
  }
}

void Consumer::Core::on_header(AmqpConnection& connection, const amqp_frame_t& frame) {
  const auto& header = frame.payload.properties;
  arriving_.delivery_count =
      delivery_count(*static_cast<const amqp_basic_properties_t*>(header.decoded));
  missing_bytes_ = header.body_size;
  active_at_ = SteadyClock::now();
  arriving_.body.reserve(std::min<uint64_t>(missing_bytes_, kMostReservedBytes));
  if (missing_bytes_ == 0) on_complete(connection);
}

void Consumer::Core::on_body(AmqpConnection& connection, const amqp_frame_t& frame) {
  const std::string_view part = amqp_text(frame.payload.body_fragment);
  if (part.size() > missing_bytes_) throw Transient("a body is longer than its header says");
  arriving_.body += part;
  active_at_ = SteadyClock::now();
  missing_bytes_ -= part.size();
  if (missing_bytes_ == 0) on_complete(connection);
}

void Consumer::Core::on_complete(AmqpConnection& connection) {
  if (stopping_) return;  // The end of the channel requeues it.
  const uint64_t tag = arriving_.tag.tag;
  unsettled_.add(tag);
  if (!cancelled_) {
    handler_.on_delivery(std::move(arriving_));
  } else if (unsettled_.requeue(tag)) {
    // It was on its way when the consumer was cancelled.
    send_requeue(connection, tag);
  }
}

// --- The public face

Consumer::Consumer(Options options, Handler handler, Metrics& metrics)
    : core_(std::make_unique<Core>(std::move(options), std::move(handler), metrics)) {}
Consumer::~Consumer() { stop(SteadyClock::now()); }

void Consumer::start() { core_->start(); }
void Consumer::cancel() { core_->cancel(); }
void Consumer::stop(SteadyClock::time_point deadline) { core_->stop(deadline); }
void Consumer::ack(DeliveryTag tag) { core_->settle(tag, false); }
void Consumer::requeue(DeliveryTag tag) { core_->settle(tag, true); }
void Consumer::set_reading(bool reading) { core_->set_reading(reading); }
bool Consumer::connected() const { return core_->connected(); }
std::string Consumer::status() const { return core_->status(); }

}  // namespace postoffice
