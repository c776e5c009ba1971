#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "broker/embedded/exchange.h"
#include "broker/embedded/message_store.h"
#include "broker/embedded/properties.h"
#include "broker/embedded/queue.h"
#include "broker/embedded/topic_trie.h"
#include "broker/embedded/traffic.h"

namespace postoffice::embedded {

// What virtual hosts need of the event loop.
class Turn {
 public:
  virtual ~Turn() = default;
  // pump() is called on it at the end of this turn.
  virtual void wake(Queue& queue) = 0;
  virtual void call_at(Queue& queue, SteadyClock::time_point when) = 0;
};

struct Publication {
  std::string_view exchange;
  std::string_view routing_key;
  std::string_view properties;  // Property flags and list.
  std::string_view body;
};

struct PublishResult {
  bool routed = false;   // A queue, or a waiting reply-to consumer, took it.
  bool refused = false;  // A queue that it was routed to is full and refuses.
  bool stored = false;   // It must be on disk before it is confirmed.
};

// Exchanges, queues and bindings under their names. Methods throw ChannelError as the protocol has
// it. Used on the broker's thread only.
class VirtualHost final : public QueueHost {
 public:
  VirtualHost(std::string name, MessageStore& store, Turn& turn, uint64_t& next_queue_id);
  ~VirtualHost() override;

  const std::string& name() const { return name_; }

  // --- Exchanges
  struct ExchangeDeclaration {
    std::string_view name;
    std::string_view type;
    bool passive = false;
    bool durable = false;
    bool auto_delete = false;
    bool internal = false;
    FieldTable arguments;
  };
  // True when it waits for the disk, here and below: also what is as it should be already may have
  // come to be so just now.
  bool declare(const ExchangeDeclaration& declaration);
  bool delete_exchange(std::string_view name, bool if_unused);
  // 404 when there is none.
  Exchange& exchange(std::string_view name);

  // --- Queues
  struct QueueDeclaration {
    std::string_view name;  // Empty: the broker names it.
    bool passive = false;
    bool durable = false;
    bool exclusive = false;
    bool auto_delete = false;
    FieldTable arguments;
    uint64_t connection = 0;
  };
  struct Declared {
    std::shared_ptr<Queue> queue;
    bool logged = false;
  };
  Declared declare(const QueueDeclaration& declaration);
  // 404 when there is none, 405 when it is another connection's.
  std::shared_ptr<Queue> queue(std::string_view name, uint64_t connection);
  // nullopt: there is none. Otherwise its messages, which are gone.
  struct Deleted {
    uint64_t messages = 0;
    bool logged = false;
  };
  Deleted delete_queue(std::string_view name, bool if_unused, bool if_empty, uint64_t connection);
  void delete_exclusive_queues(uint64_t connection);
  size_t queue_count() const { return queues_.size(); }
  uint64_t ready() const;  // Messages in all queues.

  Traffic traffic;

  // --- Bindings
  struct BindingRequest {
    std::string_view source;
    bool to_exchange = false;
    std::string_view destination;
    std::string_view routing_key;
    FieldTable arguments;
    uint64_t connection = 0;
  };
  bool bind(const BindingRequest& request);
  bool unbind(const BindingRequest& request);

  // --- Messages
  // 404 when there is no such exchange, 403 when it is internal.
  PublishResult publish(const Publication& publication);
  // Consumers of amq.rabbitmq.reply-to, by the name that replies are sent to.
  void add_reply_to(const std::string& name, std::shared_ptr<Consumer> consumer);
  void remove_reply_to(const std::string& name);
  bool has_reply_to(std::string_view name) const { return reply_to_.contains(name); }

  // --- After a restart, in this order.
  void restore(const ExchangeRecord& record, const Recovered::Place& place);
  void restore(Recovered::OfQueue& queue);
  void restore(const BindingRecord& record, const Recovered::Place& place);

  // --- QueueHost
  void wake(Queue& queue) override { turn_.wake(queue); }
  void call_at(Queue& queue, SteadyClock::time_point when) override { turn_.call_at(queue, when); }
  void settled(Queue& queue, const Entry& entry) override;
  void returned(Queue& queue, const Entry& entry, uint32_t count) override;
  bool is_behind() const override;
  bool dead_letter(Queue& queue, const Entry& entry, DeathReason reason) override;
  void unused(Queue& queue) override;

 private:
  void append(Logged& logged);
  void append_record(const std::string& record);
  bool waits_for_disk() const { return !store_.is_durable(topology_at_); }
  struct Destinations {
    std::vector<Queue*> queues;
    std::shared_ptr<Consumer> reply_to;
  };

  Exchange* find_exchange(std::string_view name);
  Exchange& add_exchange(ExchangeRecord record, Exchange::Type type, bool durable);
  void remove_exchange(Exchange& exchange);
  std::shared_ptr<Queue> add_queue(QueueRecord record, bool durable);
  bool remove_queue(Queue& queue);
  void remove_binding(Binding& binding);
  void remove_unused_exchanges();
  Binding& add_binding(Exchange& source, Queue* queue, Exchange* exchange, std::string_view key,
                       FieldTable arguments);
  static BindingList& leading_to(const Binding& binding);
  static bool is_stored(const Binding& binding);

  Destinations route(Exchange& exchange, const RoutingInput& input);
  void route_by_name(std::string_view key, Destinations& destinations);
  PublishResult put(const Publication& publication, const Properties& properties,
                    const Destinations& destinations, UnixTime now);

  const std::string name_;
  MessageStore& store_;
  Turn& turn_;
  uint64_t& next_queue_id_;
  StringMap<std::unique_ptr<Exchange>> exchanges_;  // The default exchange is null.
  StringMap<std::shared_ptr<Queue>> queues_;
  std::vector<std::string> unused_exchanges_;  // Auto-delete, that have lost their last binding.
  uint64_t topology_at_ = 0;  // When the log is durable so far, all declared and deleted is.
  bool removing_unused_ = false;
  StringMap<std::shared_ptr<Consumer>> reply_to_;
  std::unordered_map<uint64_t, std::unordered_set<std::string>>
      exclusive_;  // Names, by connection.
  uint64_t routing_ = 0;
  std::vector<Binding*> matching_;
  std::vector<Exchange*> to_visit_;
};

constexpr std::string_view kReplyTo = "amq.rabbitmq.reply-to";

}  // namespace postoffice::embedded
