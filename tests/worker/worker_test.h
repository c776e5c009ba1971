#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "broker/callback_message.h"
#include "broker/topology.h"
#include "tests/worker/fakes.h"
#include "tests/worker/object_service.h"
#include "worker/worker.h"

namespace postoffice::testing {

using Exchange = ObjectService::Exchange;
using std::chrono::seconds;

// A worker between a broker and a database that are fakes and an object service over real sockets,
// with all times scaled down.
class WorkerTest : public ::testing::Test {
 protected:
  WorkerTest() {
    options_.fetch_threads = 8;
    options_.process_id = "worker-1";
    options_.fetch.connect_timeout = seconds(5);
    options_.fetch.attempt_timeout = seconds(10);
    options_.retry.least = Millis(5);
    options_.retry.most = Millis(20);
    options_.outage.window = seconds(30);
    options_.outage.probe_least = Millis(5);
    options_.outage.probe_most = Millis(20);
    options_.store.backoff_least = Millis(1);
    options_.store.backoff_most = Millis(10);
    options_.publish.backoff_least = Millis(1);
    options_.publish.backoff_most = Millis(10);
    options_.report_interval = Millis(10);
    options_.tick = Millis(5);
  }
  ~WorkerTest() override {
    if (worker_) worker_->stop(SteadyClock::now());
    EXPECT_FALSE(settler_.settled_twice());
  }

  void start() {
    if (options_.objects_url.empty()) options_.objects_url = service_.url();
    worker_ = std::make_unique<Worker>(options_, publisher_, database_.factory(), metrics_);
    handler_ = worker_->handler();
    worker_->start(settler_, [this] { return connected_.load(); });
  }
  bool stop(Millis within = seconds(8)) { return worker_->stop(SteadyClock::now() + within); }

  // Delivers a message and returns its delivery tag.
  uint64_t deliver(std::string body, uint64_t delivery_count = 0) {
    const DeliveryTag tag{connection_, ++last_tag_};
    handler_.on_delivery({tag, std::move(body), delivery_count, delivery_count > 0});
    return tag.tag;
  }
  uint64_t deliver_ids(const std::vector<int64_t>& ids, UnixTime received_at = unix_now()) {
    return deliver(encode_callback_line(received_at, ids));
  }
  void lose_connection() {
    handler_.on_lost(connection_);
    ++connection_;
    last_tag_ = 0;
  }
  // What the retry queues do, without their delay: what was published there since is delivered.
  void relay_retries() {
    const auto retries = publisher_.confirmed("postoffice.callbacks.retry");
    for (; relayed_ < retries.size(); ++relayed_) deliver(retries[relayed_].body);
  }
  // Relays retries until there is a dead letter; returns the first.
  std::optional<Message> first_dead_letter() {
    const bool found = eventually([&] {
      relay_retries();
      return !dead_letters().empty();
    });
    return found ? std::optional(dead_letters().front()) : std::nullopt;
  }

  bool acked(uint64_t tag) {
    return eventually([&] { return settler_.acked(tag, connection_); });
  }
  bool requeued(uint64_t tag) {
    return eventually([&] { return settler_.requeued(tag, connection_); });
  }
  std::vector<Message> retries() const {
    return publisher_.confirmed("postoffice.callbacks.retry");
  }
  std::vector<Message> dead_letters() const {
    return publisher_.confirmed(std::string(topology::kCallbacksDead));
  }
  static std::string reason_of(const Message& message) {
    for (const auto& [name, value] : message.headers) {
      if (name == "reason") return value;
    }
    return "";
  }
  static CallbackLine line_of(const Message& message) {
    return CallbackDecoder().decode(message.body).lines.at(0);
  }
  std::optional<UnixTime> reported_oldest() const {
    const auto report = database_.last_report();
    return report ? report->oldest : std::nullopt;
  }
  // The next report that was begun after this call says `oldest`.
  bool reports(std::optional<UnixTime> oldest) {
    return eventually([&] { return database_.reports() > 0 && reported_oldest() == oldest; });
  }

  Worker::Options options_;
  Metrics metrics_;
  ObjectService service_;
  FakeSettler settler_;
  FakePublisher publisher_;
  FakeDatabase database_;
  std::atomic<bool> connected_ = true;
  std::unique_ptr<Worker> worker_;
  Consumer::Handler handler_;
  uint64_t connection_ = 1;
  uint64_t last_tag_ = 0;
  size_t relayed_ = 0;
};

}  // namespace postoffice::testing
