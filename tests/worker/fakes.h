#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/thread.h"
#include "base/time.h"
#include "broker/consumer.h"
#include "broker/publisher.h"
#include "store/store.h"

namespace postoffice::testing {

// Waits for a condition, up to a deadline that no working test reaches.
bool eventually(const std::function<bool()>& condition, Millis deadline = Millis(20'000));

// A Settler that remembers.
class FakeSettler final : public Settler {
 public:
  void ack(DeliveryTag tag) override;
  void requeue(DeliveryTag tag) override;
  void set_reading(bool reading) override;

  bool acked(uint64_t tag, uint64_t connection = 1) const;
  bool requeued(uint64_t tag, uint64_t connection = 1) const;
  size_t acks() const;
  size_t requeues() const;
  bool reading() const;
  // A delivery was settled more than once.
  bool settled_twice() const;

 private:
  using Key = std::pair<uint64_t, uint64_t>;
  mutable std::mutex mutex_;
  std::set<Key> acked_;
  std::set<Key> requeued_;
  bool reading_ = true;
  bool settled_twice_ = false;
};

// A Publisher that settles on a thread of its own, as the test says.
class FakePublisher final : public Publisher {
 public:
  using Judge = std::function<PublishOutcome(const Message&)>;

  FakePublisher();
  ~FakePublisher() override;

  void publish(Message message, Settled settled) override;
  bool available() const override;
  void on_availability(AvailabilityChanged changed) override;

  // By default everything is confirmed.
  void set_judge(Judge judge);
  void set_available(bool available);
  // While held, nothing is settled.
  void hold(bool held);

  // Confirmed messages whose routing key starts with `prefix`.
  std::vector<Message> confirmed(const std::string& prefix) const;
  // All that were published, confirmed or not.
  size_t published() const;

 private:
  void run();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<Message, Settled>> sent_;
  std::vector<Message> confirmed_;
  size_t published_ = 0;
  Judge judge_;
  bool available_ = true;
  bool held_ = false;
  bool stopped_ = false;
  Thread thread_;
};

// What all FakeStores share.
class FakeDatabase {
 public:
  using Fault = std::function<void(const std::vector<ObjectUpdate>&)>;

  StoreFactory factory();

  // Called for each apply() first; may throw or block.
  void set_fault(Fault fault);
  // Thrown by each report(), if set.
  void set_report_fault(std::optional<std::string> transient);

  void apply(const std::vector<ObjectUpdate>& updates);
  void report(const WatermarkReport& report);

  std::optional<ObjectRow> row(int64_t id) const;
  void put(const ObjectRow& row);
  size_t rows() const;
  // Updates committed, in order.
  std::vector<ObjectUpdate> updates() const;
  size_t batches() const;
  size_t largest_batch() const;
  size_t attempts() const;
  std::optional<WatermarkReport> last_report() const;
  size_t reports() const;

 private:
  mutable std::mutex mutex_;
  Fault fault_;
  std::optional<std::string> report_fault_;
  std::map<int64_t, ObjectRow> rows_;
  std::vector<ObjectUpdate> updates_;
  std::vector<size_t> batches_;
  std::vector<WatermarkReport> reports_;
  size_t attempts_ = 0;
};

// A gate that threads wait at until the test opens it.
class Gate {
 public:
  void open();
  // False when it stays closed for too long.
  bool wait();

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool is_open_ = false;
};

// What a gauge or counter says now: "postoffice_fetches_total{result=\"gone\"}".
double metric(const Metrics& metrics, const std::string& name);

}  // namespace postoffice::testing
