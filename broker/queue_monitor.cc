#include "broker/queue_monitor.h"

#include <array>
#include <mutex>
#include <string_view>

#include "broker/amqp_connection.h"
#include "broker/connection_keeper.h"
#include "broker/topology.h"

namespace postoffice {
namespace {

constexpr amqp_channel_t kChannel = 1;
constexpr Millis kBetweenReadings{1000};
constexpr Millis kMostReadingAge{5000};

}  // namespace

class QueueMonitor::Core {
 public:
  Core(std::vector<AmqpUrl> urls, Metrics& metrics)
      : watched_{{{topology::kCallbacks, gauge(metrics, topology::kCallbacks)},
                  {topology::kCallbacksDead, gauge(metrics, topology::kCallbacksDead)}}},
        // Not logged: what serves on the same broker says that it is lost.
        keeper_(
            {.urls = std::move(urls), .name = "queue monitor", .logged = false},
            [this](AmqpConnection& connection) { watch(connection); },
            [this] { publish(std::nullopt); }, metrics) {}

  void start() { keeper_.start(); }
  void stop() { keeper_.stop(SteadyClock::now()); }

  std::optional<QueueReading> callbacks() const {
    const std::lock_guard lock(mutex_);
    if (!newest_ || SteadyClock::now() - newest_->asked_at > kMostReadingAge) return std::nullopt;
    return newest_;
  }

 private:
  struct Watched {
    std::string_view queue;
    prometheus::Gauge& messages;
  };

  static prometheus::Gauge& gauge(Metrics& metrics, std::string_view queue) {
    return metrics.gauge("postoffice_queue_messages", "Messages ready in a queue of the broker.",
                         {{"queue", std::string(queue)}});
  }

  void watch(AmqpConnection& connection) {
    connection.open_channel(kChannel);
    keeper_.ready(connection);
    while (!keeper_.stopping()) {
      const auto asked_at = SteadyClock::now();
      for (const auto& watched : watched_) {
        auto reading = read(connection, watched.queue);
        if (reading) watched.messages.Set(reading->messages);
        if (watched.queue == topology::kCallbacks) publish(reading);
      }
      idle(connection, asked_at + kBetweenReadings);
    }
  }

  // Nothing when there is no such queue.
  std::optional<QueueReading> read(AmqpConnection& connection, std::string_view queue) {
    amqp_queue_declare_t declare{};
    declare.queue = amqp_bytes(queue);
    declare.passive = 1;
    QueueReading reading;
    reading.asked_at = SteadyClock::now();
    const auto reply = connection.rpc(kChannel, AMQP_QUEUE_DECLARE_METHOD, &declare,
                                      AMQP_QUEUE_DECLARE_OK_METHOD, "queue.declare");
    if (reply.code != 0) {
      connection.open_channel(kChannel);
      connection.release_buffers();
      return std::nullopt;
    }
    const auto& answer = *static_cast<const amqp_queue_declare_ok_t*>(reply.fields);
    reading.messages = answer.message_count;
    reading.consumers = answer.consumer_count;
    connection.release_buffers();
    return reading;
  }

  void idle(AmqpConnection& connection, SteadyClock::time_point until) {
    while (!keeper_.stopping() && SteadyClock::now() < until) {
      connection.wait(&keeper_.wakeup(), until);
      keeper_.wakeup().clear();
      while (connection.received_frame()) connection.release_buffers();
    }
  }

  void publish(std::optional<QueueReading> reading) {
    const std::lock_guard lock(mutex_);
    if (reading) reading->number = ++readings_;
    newest_ = reading;
  }

  const std::array<Watched, 2> watched_;

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::optional<QueueReading> newest_;
  uint64_t readings_ = 0;

  ConnectionKeeper keeper_;  // Last: its thread uses all of the above.
};

QueueMonitor::QueueMonitor(std::vector<AmqpUrl> urls, Metrics& metrics)
    : core_(std::make_unique<Core>(std::move(urls), metrics)) {}
QueueMonitor::~QueueMonitor() = default;
void QueueMonitor::start() { core_->start(); }
void QueueMonitor::stop() { core_->stop(); }
std::optional<QueueReading> QueueMonitor::callbacks() const { return core_->callbacks(); }

}  // namespace postoffice
