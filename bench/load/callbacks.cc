#include "bench/load/callbacks.h"

#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "base/metrics.h"
#include "bench/processes/service.h"
#include "broker/callback_message.h"
#include "broker/publisher.h"
#include "broker/topology.h"

namespace postoffice::bench {
namespace {

constexpr size_t kMostUnconfirmed = 500;
constexpr std::chrono::seconds kConfirmTimeout{60};

std::vector<int64_t> consecutive(int64_t first, size_t count) {
  std::vector<int64_t> ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

// Messages on their way to a broker, bounded.
class Feed {
 public:
  explicit Feed(const std::string& amqp_url) : publisher_(options(amqp_url), metrics_) {
    publisher_.start();
    wait_until("a connection to the broker", [this] { return publisher_.available(); });
  }
  ~Feed() { publisher_.stop(SteadyClock::now()); }
  Feed(const Feed&) = delete;
  Feed& operator=(const Feed&) = delete;

  void publish(std::string body) {
    wait_for_fewer_than(kMostUnconfirmed);
    {
      const std::lock_guard lock(mutex_);
      ++unconfirmed_;
    }
    publisher_.publish({std::string(topology::kCallbacks), std::move(body), {}},
                       [this](PublishOutcome outcome) { settled(outcome); });
  }
  void finish() { wait_for_fewer_than(1); }

 private:
  static AmqpPublisher::Options options(const std::string& amqp_url) {
    std::string wanted;
    auto urls = parse_amqp_urls(amqp_url, wanted);
    if (!urls) throw std::runtime_error("AMQP_URL: " + wanted);
    return {.urls = std::move(*urls), .name = "pipeline_bench"};
  }

  void settled(PublishOutcome outcome) {
    const std::lock_guard lock(mutex_);
    --unconfirmed_;
    if (outcome != PublishOutcome::kConfirmed) refused_ = true;
    changed_.notify_one();
  }

  void wait_for_fewer_than(size_t count) {
    std::unique_lock lock(mutex_);
    const bool in_time =
        changed_.wait_for(lock, kConfirmTimeout, [&] { return refused_ || unconfirmed_ < count; });
    if (refused_) throw std::runtime_error("the broker has not confirmed a message");
    if (!in_time) throw std::runtime_error("the broker confirms nothing");
  }

  std::mutex mutex_;  // Guards what follows, up to the publisher.
  std::condition_variable changed_;
  size_t unconfirmed_ = 0;
  bool refused_ = false;
  Metrics metrics_;
  AmqpPublisher publisher_;  // Last: it settles what it has while it goes.
};

}  // namespace

std::string callback_body(int64_t first_id, size_t count, size_t times) {
  std::string body = R"({"object_ids":[)";
  for (size_t time = 0; time < times; ++time) {
    for (const int64_t id : consecutive(first_id, count)) body += std::to_string(id) + ",";
  }
  if (body.back() == ',') body.pop_back();
  return body + "]}";
}

void post_callbacks(uint16_t port, size_t callbacks, size_t connections,
                    const std::function<std::string(size_t index)>& body) {
  std::atomic<size_t> next = 0;
  std::atomic<int> wrong = 0;
  const auto post = [&] {
    httplib::Client client("127.0.0.1", port);
    client.set_keep_alive(true);
    client.set_tcp_nodelay(true);
    client.set_read_timeout(std::chrono::seconds(30));
    for (size_t index = next++; index < callbacks && wrong == 0; index = next++) {
      const auto answer = client.Post("/callback", body(index), "application/json");
      if (!answer || answer->status != 202) wrong = answer ? answer->status : -1;
    }
  };
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < connections; ++i) threads.emplace_back(post);
  }
  if (wrong != 0) {
    throw std::runtime_error("a callback was answered with " + std::to_string(wrong));
  }
}

void post_callbacks(uint16_t port, const DistinctIds& ids, size_t connections) {
  post_callbacks(port, ids.callbacks, connections, [&](size_t index) {
    return callback_body(ids.first_id + static_cast<int64_t>(index * ids.ids_each), ids.ids_each);
  });
}

void publish_callbacks(const std::string& amqp_url, const DistinctIds& ids, size_t message_bytes) {
  Feed feed(amqp_url);
  std::string message;
  for (size_t index = 0; index < ids.callbacks; ++index) {
    const auto first = ids.first_id + static_cast<int64_t>(index * ids.ids_each);
    const auto line = encode_callback_line(unix_now(), consecutive(first, ids.ids_each));
    if (!message.empty() && message.size() + line.size() > message_bytes) {
      feed.publish(std::exchange(message, {}));
    }
    message += line;
  }
  if (!message.empty()) feed.publish(std::move(message));
  feed.finish();
}

}  // namespace postoffice::bench
