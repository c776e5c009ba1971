#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "broker/embedded/consumer.h"
#include "broker/embedded/logged.h"
#include "broker/embedded/message.h"
#include "broker/embedded/queue_arguments.h"
#include "broker/embedded/records.h"

namespace postoffice::embedded {

class Binding;
class Queue;

enum class DeathReason { kRejected, kExpired, kMaxLength, kDeliveryLimit };

// What queues need of the broker around them.
class QueueHost {
 public:
  virtual ~QueueHost() = default;
  // pump() is called once what is being done is done.
  virtual void wake(Queue& queue) = 0;
  // on_time() is called then, unless an earlier time is asked for.
  virtual void call_at(Queue& queue, SteadyClock::time_point when) = 0;
  // The entry was acknowledged, dropped or dead-lettered.
  virtual void settled(Queue& queue, const Entry& entry) = 0;
  virtual void returned(Queue& queue, const Entry& entry, uint32_t count) = 0;
  // Publishes the entry to the queue's dead letter exchange. False: it is tried again later, since
  // its content cannot be read now, the disk has failed, or at least once was asked for and no
  // queue took it.
  virtual bool dead_letter(Queue& queue, const Entry& entry, DeathReason reason) = 0;
  // More waits for the disk than should, or it has failed: dead letters have to wait.
  virtual bool is_behind() const = 0;
  // x-expires is over, or the last consumer of an auto-delete queue has left.
  virtual void unused(Queue& queue) = 0;
};

// Keeps messages in order, for one of its consumers each. Used on the broker's thread only.
class Queue : public Logged, public std::enable_shared_from_this<Queue> {
 public:
  Queue(QueueHost& host, QueueRecord properties, bool durable);
  ~Queue() override;

  uint64_t id() const { return properties_.id; }
  const std::string& name() const { return properties_.name; }
  const std::string& vhost() const { return properties_.vhost; }
  const QueueRecord& properties() const { return properties_; }
  const QueueArguments& arguments() const { return arguments_; }
  bool is_durable() const { return durable_; }
  // It and its persistent messages are in the log.
  bool is_stored() const { return durable_ && !properties_.exclusive; }
  bool is_stream() const { return arguments_.type == QueueArguments::Type::kStream; }
  bool is_quorum() const { return arguments_.type == QueueArguments::Type::kQuorum; }
  virtual uint64_t ready() const { return ready_; }
  uint32_t consumers() const { return static_cast<uint32_t>(consumers_.size()); }

  // False: it is full and refuses.
  virtual bool accepts(uint32_t body_bytes) const;
  // Puts `message` at the end. `expiration` is the message's own.
  virtual void put(const MessagePtr& message, std::optional<Millis> expiration, uint8_t priority,
                   UnixTime now);
  // A message that was there before a restart. In any order.
  virtual void restore(Entry entry, uint32_t returns);
  // All are restored. Those up to `delivered` may have been delivered before; no seq up to
  // `last_seq` is given again.
  virtual void restored(uint64_t delivered, uint64_t last_seq);

  // Delivers what can be delivered, and drops what is expired or too many.
  virtual void pump();
  void on_time();

  // Takes the first one for basic.get; the caller settles it.
  virtual std::optional<Entry> take();
  virtual void settle(const Entry& entry);
  // Back to its place, to be delivered again.
  virtual void requeue(Entry entry);
  // Its content cannot be read now: it goes back to its place, and the queue pauses.
  void pause(Entry entry, const std::string& why);
  // Dead-letters it, at once or soon, or drops it.
  virtual void reject(const Entry& entry, DeathReason reason);
  // Drops what is ready, and returns how many.
  virtual uint64_t purge();
  // Times an entry came back, where the queue counts that.
  uint32_t return_count(uint64_t seq) const;
  // The highest seq that was delivered; of a stream, the next offset.
  virtual uint64_t delivered() const { return delivered_; }

  // Throws ChannelError (403) when one of them wants to be alone.
  virtual void add(const std::shared_ptr<Consumer>& consumer);
  void remove(const std::shared_ptr<Consumer>& consumer);
  // Cancels all consumers. It takes nothing more.
  virtual void close();
  bool is_closed() const { return closed_; }
  // Some could not be dead-lettered yet.
  bool has_undeliverable() const { return !failed_.empty(); }
  // x-expires counts from now on again.
  void touch();

  std::string record() const override { return properties_.write(); }

  std::vector<Binding*> bindings;                // To it.
  uint64_t owner = 0;                            // The connection of an exclusive queue.
  uint64_t routed = 0;                           // The routing that came here last: one copy each.
  bool woken = false;                            // pump() will be called.
  std::optional<SteadyClock::time_point> timer;  // on_time() will be called.

 protected:
  // The consumer whose turn it is and who can take one; none: nullptr.
  std::shared_ptr<Consumer> next_consumer();
  void drop(const Entry& entry) { host_.settled(*this, entry); }
  bool is_paused() const { return is_paused_; }

  QueueHost& host_;
  std::vector<std::shared_ptr<Consumer>> consumers_;  // By priority, within one in turn.

 private:
  struct Level {  // One priority.
    std::deque<Entry> fresh;
    std::map<uint64_t, Entry> returned;

    bool empty() const { return fresh.empty() && returned.empty(); }
    Entry& front();
    Entry pop();
  };

  Level* first_level();
  Level& level_of(uint8_t priority);
  void count_in(const Entry& entry);
  Entry pop_from(Level& level);
  bool is_over_limit(uint64_t more_messages, uint64_t more_bytes) const;
  void drop_surplus();
  // Of those at the head, up to `last_seq`.
  void drop_expired(uint64_t last_seq);
  virtual void put_back(Entry entry);
  void try_dead_letters();
  bool no_letters_wait() const { return untried_.empty() && failed_.empty(); }
  bool dead_letter(const Entry& entry, DeathReason reason);
  // A turn dead-letters only so much: each letter is read, and waits in memory for the disk. False:
  // the rest is postponed.
  void begin_dead_letters();
  bool has_room_for_dead_letter(const Entry& entry);
  bool may_dead_letter(const Entry& entry);
  void plan();

  const QueueRecord properties_;
  const bool durable_;
  const QueueArguments arguments_;
  std::vector<Level> levels_;  // The lowest priority first; none before the first message.
  uint64_t ready_ = 0;
  uint64_t ready_bytes_ = 0;
  uint64_t next_seq_ = 1;
  uint64_t delivered_ = 0;  // The highest seq that was.
  uint64_t offered_ = 0;  // The highest seq that consumers could have: even with a TTL of 0, once.
  std::unordered_map<uint64_t, uint32_t> returns_;
  bool is_paused_ = false;
  SteadyClock::time_point goes_on_at_{};
  // Those that are not dead-lettered yet: as soon as a turn may, and again later.
  using Letters = std::deque<std::pair<Entry, DeathReason>>;
  Letters untried_;
  Letters failed_;
  SteadyClock::time_point retry_dead_letters_at_{};
  int64_t dead_letter_bytes_ = 0;  // Left in this turn.
  bool is_postponed_ = false;
  SteadyClock::time_point used_at_;
  bool closed_ = false;
};

}  // namespace postoffice::embedded
