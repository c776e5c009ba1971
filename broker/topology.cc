#include "broker/topology.h"

#include <spdlog/spdlog.h>

#include <mutex>
#include <set>
#include <vector>

#include "base/error.h"
#include "broker/amqp_connection.h"

namespace postoffice {
namespace {

// Not the channel that publishes or consumes: a 406 closes the channel it happens on.
constexpr amqp_channel_t kChannel = 2;

class Arguments {
 public:
  // `key` and `value` must outlive the table.
  void add(std::string_view key, std::string_view value) {
    auto& entry = add(key);
    entry.value.kind = AMQP_FIELD_KIND_UTF8;
    entry.value.value.bytes = amqp_bytes(value);
  }
  void add(std::string_view key, int64_t value) {
    auto& entry = add(key);
    entry.value.kind = AMQP_FIELD_KIND_I64;
    entry.value.value.i64 = value;
  }
  amqp_table_t table() { return {static_cast<int>(entries_.size()), entries_.data()}; }

 private:
  amqp_table_entry_t& add(std::string_view key) {
    auto& entry = entries_.emplace_back();
    entry.key = amqp_bytes(key);
    return entry;
  }
  std::vector<amqp_table_entry_t> entries_;
};

void warn_once(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> warned;
  const std::lock_guard lock(mutex);
  if (warned.insert(text).second) spdlog::warn("{}", text);
}

class Declarer {
 public:
  explicit Declarer(AmqpConnection& connection) : connection_(connection) {
    connection_.open_channel(kChannel);
  }

  void exchange(std::string_view name) {
    amqp_exchange_declare_t declare{};
    declare.exchange = amqp_bytes(name);
    declare.type = amqp_cstring_bytes("direct");
    declare.durable = 1;
    const auto refusal = request(AMQP_EXCHANGE_DECLARE_METHOD, declare,
                                 AMQP_EXCHANGE_DECLARE_OK_METHOD, "exchange.declare");
    if (refusal.empty()) return;
    warn_once("using exchange " + std::string(name) + " as it is: " + refusal);
    declare.passive = 1;
    require(request(AMQP_EXCHANGE_DECLARE_METHOD, declare, AMQP_EXCHANGE_DECLARE_OK_METHOD,
                    "exchange.declare"));
  }

  // Binds the queue to the exchange by its own name, too.
  void queue(std::string_view name, Arguments arguments) {
    amqp_queue_declare_t declare{};
    declare.queue = amqp_bytes(name);
    declare.durable = 1;
    declare.arguments = arguments.table();
    const auto refusal =
        request(AMQP_QUEUE_DECLARE_METHOD, declare, AMQP_QUEUE_DECLARE_OK_METHOD, "queue.declare");
    if (!refusal.empty()) {
      warn_once("using queue " + std::string(name) + " as it is: " + refusal);
      declare.passive = 1;
      require(request(AMQP_QUEUE_DECLARE_METHOD, declare, AMQP_QUEUE_DECLARE_OK_METHOD,
                      "queue.declare"));
    }
    amqp_queue_bind_t bind{};
    bind.queue = amqp_bytes(name);
    bind.exchange = amqp_bytes(topology::kExchange);
    bind.routing_key = amqp_bytes(name);
    require(request(AMQP_QUEUE_BIND_METHOD, bind, AMQP_QUEUE_BIND_OK_METHOD, "queue.bind"));
  }

  void close() {
    amqp_channel_close_t close{};
    close.reply_code = AMQP_REPLY_SUCCESS;
    connection_.rpc(kChannel, AMQP_CHANNEL_CLOSE_METHOD, &close, AMQP_CHANNEL_CLOSE_OK_METHOD,
                    "channel.close");
  }

 private:
  // Returns "", or why the broker refuses because what exists is different. Throws Transient on any
  // other refusal.
  template <typename Method>
  std::string request(amqp_method_number_t id, const Method& method, amqp_method_number_t reply_id,
                      const char* doing) {
    const auto reply = connection_.rpc(kChannel, id, &method, reply_id, doing);
    if (reply.code == 0) return "";
    if (reply.code != AMQP_PRECONDITION_FAILED)
      throw Transient(std::string(doing) + " refused: " + reply.text);
    connection_.open_channel(kChannel);
    return reply.text;
  }

  static void require(const std::string& refusal) {
    if (!refusal.empty()) throw Transient(refusal);
  }

  AmqpConnection& connection_;
};

// Quorum queues: replicated, fsynced before the confirm. reject-publish, which a length limit set
// by a policy needs: the default, drop-head, would lose what was confirmed.
Arguments quorum_queue(const AmqpConnection& connection) {
  Arguments arguments;
  arguments.add("x-queue-type", "quorum");
  arguments.add("x-overflow", "reject-publish");
  // RabbitMQ 4 drops or dead-letters at the 21st delivery by default; to older ones -1 is 0.
  if (connection.product().starts_with("RabbitMQ") && connection.major_version() >= 4)
    arguments.add("x-delivery-limit", -1);
  return arguments;
}

// At least once: a dead-lettered message, an expired retry too, leaves its queue when the other has
// confirmed it. With the default, at-most-once, a retry that expires while postoffice.callbacks is
// missing or without a leader would be lost. Needs reject-publish and the feature flag
// stream_queue, which a fresh RabbitMQ 3.10 enables (tried with 3.10.8); without the flag, RabbitMQ
// falls back to at-most-once and logs it. What found no queue is tried again after 180 s.
Arguments dead_lettering_to(std::string_view queue, const AmqpConnection& connection) {
  Arguments arguments = quorum_queue(connection);
  arguments.add("x-dead-letter-exchange", topology::kExchange);
  arguments.add("x-dead-letter-routing-key", queue);
  arguments.add("x-dead-letter-strategy", "at-least-once");
  return arguments;
}

}  // namespace

void declare_topology(AmqpConnection& connection) {
  Declarer declarer(connection);
  declarer.exchange(topology::kExchange);
  declarer.queue(topology::kCallbacksDead, quorum_queue(connection));
  declarer.queue(topology::kCallbacks, dead_lettering_to(topology::kCallbacksDead, connection));
  for (const auto& retry : topology::kCallbacksRetry) {
    auto arguments = dead_lettering_to(topology::kCallbacks, connection);
    arguments.add("x-message-ttl", retry.delay.count());
    declarer.queue(retry.name, std::move(arguments));
  }
  declarer.close();
}

}  // namespace postoffice
