#include "broker/embedded/broker.h"

#include <malloc.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/thread.h"
#include "broker/embedded/connection.h"
#include "broker/embedded/deadlines.h"
#include "broker/embedded/listener.h"
#include "broker/embedded/virtual_host_metrics.h"

namespace postoffice::embedded {
namespace {

// Not yet on disk: publishers wait above the first, until it is below the second. Above the third
// everybody waits: acknowledgements and declarations are written too.
constexpr size_t kOverloadBytes = 32 << 20;
constexpr size_t kRelievedBytes = 16 << 20;
constexpr size_t kMostUnwrittenBytes = 128 << 20;
constexpr int64_t kMostReceivingBytes = 1LL << 30;
// Not yet sent to clients, on all connections.
constexpr int64_t kCrowdedBytes = 256 << 20;
constexpr Millis kSecond{1000};
// For clients to answer connection.close.
constexpr Millis kGoodbye{500};

}  // namespace

class Broker::Core final : public ConnectionHost, public Turn {
 public:
  Core(const Options& options, Metrics& metrics);

  void start();
  void stop();
  uint16_t port() const { return listener_.port(); }

  // --- ConnectionHost
  bool knows(std::string_view user, std::string_view password,
             const boost::asio::ip::address& from) const override;
  VirtualHost* find_virtual_host(std::string_view name) override;
  MessageStore& store() override { return store_; }
  uint64_t durable() const override { return store_.durable(); }
  void send_later(Connection& connection) override;
  void tell_durable(Connection& connection) override { waiting_.insert(&connection); }
  const std::optional<std::string>& blocked() const override { return blocked_; }
  bool has_failed() const override { return state_ == Log::State::kFailed; }
  Load load() const override { return load_; }
  bool receiving(int64_t more_bytes) override;
  void unsent(int64_t more_bytes) override { unsent_ += more_bytes; }
  bool is_crowded() const override { return unsent_ > kCrowdedBytes; }
  void ended(Connection& connection) override;

  // --- Turn
  void wake(Queue& queue) override;
  void call_at(Queue& queue, SteadyClock::time_point when) override {
    deadlines_.add(queue, when);
    plan_deadlines();
  }

 private:
  Log::Events log_events();
  void recover();
  void accepted(boost::asio::ip::tcp::socket socket);
  void end_turn_later();
  void end_turn();
  void log_is_durable(uint64_t sequence);
  void update_load();
  void log_changed(Log::State state, const std::string& why);
  uint64_t free_bytes() const;
  void check_disk();
  void update_metrics();
  void each_second();
  void update_blocked();
  void plan_deadlines();

  const Options options_;
  boost::asio::io_context io_{1};
  MessageStore store_;
  StringMap<std::unique_ptr<VirtualHost>> vhosts_;
  std::vector<VirtualHostMetrics> vhost_metrics_;
  uint64_t next_queue_id_ = 1;
  uint64_t next_connection_id_ = 1;
  std::unordered_map<Connection*, std::shared_ptr<Connection>> connections_;

  // Of this turn.
  bool turn_is_planned_ = false;
  std::vector<std::shared_ptr<Queue>> woken_;
  std::unordered_set<Connection*> to_send_;

  std::unordered_set<Connection*> waiting_;  // For more to be durable.
  Log::State state_ = Log::State::kWritable;
  std::string state_why_;
  bool disk_is_low_ = false;
  std::optional<std::string> blocked_;
  Load load_ = Load::kNormal;
  int64_t receiving_ = 0;
  int64_t unsent_ = 0;

  Deadlines deadlines_;
  boost::asio::steady_timer deadline_timer_{io_};
  boost::asio::steady_timer second_timer_{io_};
  Listener listener_;

  prometheus::Gauge& connections_gauge_;
  prometheus::Gauge& memory_gauge_;
  prometheus::Gauge& log_gauge_;
  prometheus::Gauge& blocked_gauge_;
  bool stopping_ = false;  // On the broker's thread.
  bool stopped_ = false;   // On the caller's, as started_.
  bool started_ = false;
  Thread thread_;
};

Broker::Core::Core(const Options& options, Metrics& metrics)
    : options_(options),
      store_({{options.folder, options.segment_bytes, options.disk}, options.memory_bytes},
             log_events()),
      listener_(io_, options.addresses, options.port,
                [this](boost::asio::ip::tcp::socket socket) { accepted(std::move(socket)); }),
      connections_gauge_(metrics.gauge("postoffice_broker_connections",
                                       "AMQP connections of the embedded broker.")),
      memory_gauge_(metrics.gauge("postoffice_broker_message_bytes",
                                  "Messages of the embedded broker that are held in memory.")),
      log_gauge_(
          metrics.gauge("postoffice_broker_log_bytes", "The embedded broker's log on disk.")),
      blocked_gauge_(metrics.gauge("postoffice_broker_blocked",
                                   "1 while the embedded broker holds publishers back.")) {
  for (const auto& name : options.vhosts) {
    auto vhost = std::make_unique<VirtualHost>(name, store_, *this, next_queue_id_);
    vhost_metrics_.emplace_back(*vhost, metrics);
    vhosts_.emplace(name, std::move(vhost));
  }
  recover();
  malloc_trim(0);  // Most of what recovery took: one that ends with little is to be little.
}

Log::Events Broker::Core::log_events() {
  // Of many reports, the newest is what counts: one at a time is under way.
  return {[this](uint64_t durable) {
            boost::asio::post(io_, [this, durable] { log_is_durable(durable); });
          },
          [this](Log::State state, std::string why) {
            boost::asio::post(io_,
                              [this, state, why = std::move(why)] { log_changed(state, why); });
          }};
}

void Broker::Core::recover() {
  auto recovered = store_.recover();
  const auto host = [this](const std::string& name) {
    auto* const found = find_virtual_host(name);
    if (found == nullptr) {
      throw Permanent("the broker's log holds vhost \"" + name +
                      "\", which BROKER_VHOSTS does not name: add it");
    }
    return found;
  };
  for (const auto& [key, exchange] : recovered.exchanges) {
    host(exchange.first.vhost)->restore(exchange.first, exchange.second);
  }
  next_queue_id_ = recovered.last_queue_id + 1;
  uint64_t messages = 0;
  for (auto& [id, queue] : recovered.queues) {
    messages += queue.messages.size();
    host(queue.properties->vhost)->restore(queue);
  }
  for (const auto& [key, binding] : recovered.bindings) {
    host(binding.first.vhost)->restore(binding.first, binding.second);
  }
  if (!recovered.queues.empty()) {
    spdlog::info("broker: {} queues with {} messages from {}", recovered.queues.size(), messages,
                 options_.folder.string());
  }
}

void Broker::Core::start() {
  if (started_) return;
  started_ = true;
  store_.start();
  listener_.start();
  boost::asio::post(io_, [this] { each_second(); });
  thread_ = Thread("broker", [this] { io_.run(); });
}

void Broker::Core::stop() {
  if (stopped_) return;
  stopped_ = true;
  if (started_) {
    boost::asio::post(io_, [this] {
      stopping_ = true;
      listener_.stop();
      second_timer_.cancel();
      deadline_timer_.cancel();
      for (const auto& [connection, hold] : std::unordered_map(connections_)) {
        connection->close(ReplyCode::kConnectionForced,
                          "CONNECTION_FORCED - broker forced connection closure with reason "
                          "'shutdown'");
      }
      end_turn();
      auto timer = std::make_shared<boost::asio::steady_timer>(io_, kGoodbye);
      timer->async_wait([this, timer](boost::system::error_code /*error*/) {
        for (const auto& [connection, hold] : std::unordered_map(connections_)) {
          connection->drop("");
        }
        end_turn();
        io_.stop();
      });
      if (connections_.empty()) timer->cancel();
    });
    thread_.join();
    store_.stop();
    // What the writer reported meanwhile.
    io_.restart();
    io_.poll();
  }
  vhosts_.clear();
}

bool Broker::Core::knows(std::string_view user, std::string_view password,
                         const boost::asio::ip::address& from) const {
  if (user == "guest" && password == "guest" && from.is_loopback()) return true;
  return !options_.user.empty() && user == options_.user && password == options_.password;
}

VirtualHost* Broker::Core::find_virtual_host(std::string_view name) {
  const auto found = vhosts_.find(name);
  return found == vhosts_.end() ? nullptr : found->second.get();
}

void Broker::Core::accepted(boost::asio::ip::tcp::socket socket) {
  const auto connection =
      std::make_shared<Connection>(next_connection_id_++, std::move(socket), *this);
  connections_.emplace(connection.get(), connection);
  connection->start();
}

void Broker::Core::ended(Connection& connection) {
  waiting_.erase(&connection);
  to_send_.erase(&connection);
  connections_.erase(&connection);
  end_turn_later();  // For what went back to the queues.
  if (stopping_ && connections_.empty()) {
    end_turn();
    io_.stop();
  }
}

bool Broker::Core::receiving(int64_t more_bytes) {
  receiving_ += more_bytes;
  return more_bytes <= 0 || receiving_ <= kMostReceivingBytes;
}

// --- Turns

void Broker::Core::wake(Queue& queue) {
  if (queue.woken) return;
  queue.woken = true;
  woken_.push_back(queue.shared_from_this());
  end_turn_later();
}

void Broker::Core::send_later(Connection& connection) {
  to_send_.insert(&connection);
  end_turn_later();
}

void Broker::Core::end_turn_later() {
  if (turn_is_planned_) return;
  turn_is_planned_ = true;
  boost::asio::post(io_, [this] {
    turn_is_planned_ = false;
    end_turn();
  });
}

void Broker::Core::end_turn() {
  // What is delivered, expired or dead-lettered may wake others.
  for (const auto& queue : std::exchange(woken_, {})) {
    queue->woken = false;
    queue->pump();
  }
  store_.flush();
  update_load();
  for (auto* const connection : std::exchange(to_send_, {})) {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) continue;
    const auto hold = found->second;
    hold->send();
  }
}

void Broker::Core::log_is_durable(uint64_t sequence) {
  store_.durable(sequence);
  for (auto* const connection : std::exchange(waiting_, {})) {
    const auto found = connections_.find(connection);
    if (found == connections_.end()) continue;
    const auto hold = found->second;
    hold->durable(store_.durable());
  }
  end_turn_later();  // The log forgets what is on disk, and who waited for that goes on.
}

void Broker::Core::update_load() {
  const size_t bytes = store_.unwritten_bytes();
  const Load before = load_;
  load_ = Load::kNormal;
  // After a failure the log takes nothing any more, and would never hold less.
  if (state_ != Log::State::kFailed) {
    const size_t most = before == Load::kNormal ? kOverloadBytes : kRelievedBytes;
    if (bytes > most) load_ = Load::kHoldsPublishers;
    if (bytes > kMostUnwrittenBytes) load_ = Load::kHoldsAll;
  }
  if (load_ >= before) return;
  for (const auto& [connection, hold] : std::unordered_map(connections_)) connection->resume();
}

void Broker::Core::log_changed(Log::State state, const std::string& why) {
  state_ = state;
  state_why_ = why;
  if (state == Log::State::kFailed) {
    spdlog::error("broker: the log cannot be written any more, publishers are refused: {}", why);
    if (options_.failed) options_.failed();
    store_.fail();
    update_load();
    for (const auto& [connection, hold] : std::unordered_map(connections_)) {
      connection->refuse_unconfirmed();
      connection->resume();
    }
  }
  update_blocked();
}

uint64_t Broker::Core::free_bytes() const {
  if (options_.free_bytes) return options_.free_bytes();
  std::error_code error;
  const auto space = std::filesystem::space(options_.folder, error);
  return error ? std::numeric_limits<uint64_t>::max() : space.available;
}

void Broker::Core::check_disk() {
  const bool low = free_bytes() < options_.least_free_bytes;
  if (low != disk_is_low_) {
    disk_is_low_ = low;
    update_blocked();
  }
}

void Broker::Core::update_metrics() {
  for (auto& metrics : vhost_metrics_) metrics.update();
  connections_gauge_.Set(static_cast<double>(connections_.size()));
  memory_gauge_.Set(static_cast<double>(store_.memory()));
  log_gauge_.Set(static_cast<double>(store_.log_bytes()));
}

void Broker::Core::each_second() {
  check_disk();
  update_metrics();
  for (const auto& [connection, hold] : connections_) connection->shrink();
  second_timer_.expires_after(kSecond);
  second_timer_.async_wait([this](boost::system::error_code cancelled) {
    if (!cancelled && !stopping_) each_second();
  });
}

void Broker::Core::update_blocked() {
  std::optional<std::string> blocked;
  if (state_ == Log::State::kFull) blocked = "low on disk: " + state_why_;
  if (disk_is_low_) blocked = "low on disk";
  if (blocked.has_value() != blocked_.has_value()) {
    blocked_ = std::move(blocked);
    blocked_gauge_.Set(blocked_ ? 1 : 0);
    if (blocked_) {
      spdlog::warn("broker: publishers are held back: {}", *blocked_);
    } else {
      spdlog::info("broker: publishers are let in again");
    }
    for (const auto& [connection, hold] : std::unordered_map(connections_)) {
      if (blocked_) {
        connection->blocked(*blocked_);
      } else {
        connection->unblocked();
      }
    }
  }
}

// --- Deadlines

void Broker::Core::plan_deadlines() {
  const auto next = deadlines_.next();
  if (!next || deadline_timer_.expiry() == *next) return;
  deadline_timer_.expires_at(*next);
  deadline_timer_.async_wait([this](boost::system::error_code error) {
    if (error || stopping_) return;
    for (const auto& queue : deadlines_.take_due(SteadyClock::now())) queue->on_time();
    deadline_timer_.expires_at(SteadyClock::time_point::max());
    plan_deadlines();
    end_turn_later();
  });
}

// --- Broker

Broker::Broker(const Options& options, Metrics& metrics)
    : core_(std::make_unique<Core>(options, metrics)) {}
Broker::~Broker() {
  try {
    core_->stop();
  } catch (const std::exception& error) {
    spdlog::error("broker: stopping: {}", error.what());
  }
}
void Broker::start() { core_->start(); }
void Broker::stop() { core_->stop(); }
uint16_t Broker::port() const { return core_->port(); }

}  // namespace postoffice::embedded
