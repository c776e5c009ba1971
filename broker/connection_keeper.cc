#include "broker/connection_keeper.h"

#include <spdlog/spdlog.h>

#include <array>
#include <optional>
#include <utility>

#include "base/error.h"
#include "broker/poll.h"

namespace postoffice {
namespace {

constexpr Millis kLeastPause{100};
constexpr Millis kMostPause{5000};
// A connection that lived shorter is no success: without this, a broker that takes connections and
// drops them would be connected to ten times a second.
constexpr Millis kStable{5000};

}  // namespace

ConnectionKeeper::ConnectionKeeper(Options options, Session session, Ended ended, Metrics& metrics)
    : options_(std::move(options)),
      session_(std::move(session)),
      ended_(std::move(ended)),
      connected_gauge_(metrics.gauge("postoffice_broker_connected",
                                     "1 while the connection to the broker is up.",
                                     {{"connection", options_.name}})),
      backoff_(kLeastPause, kMostPause),
      log_(std::make_unique<ConnectionLog>(product_ + " (" + options_.name + ")")) {}

ConnectionKeeper::~ConnectionKeeper() { stop(SteadyClock::now()); }

void ConnectionKeeper::start() {
  const std::lock_guard lock(thread_mutex_);
  if (stopping() || thread_started_) return;
  thread_started_ = true;
  thread_ = Thread("amqp " + options_.name, [this] { run(); });
}

void ConnectionKeeper::stop(SteadyClock::time_point deadline) {
  {
    std::unique_lock lock(mutex_);
    stopping_ = true;
    wakeup_.ring();
    session_over_.wait_until(lock, deadline, [this] { return !in_session_; });
  }
  interrupt_.fire();
  const std::lock_guard lock(thread_mutex_);
  thread_.join();
}

bool ConnectionKeeper::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

std::string ConnectionKeeper::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void ConnectionKeeper::set_status(std::string status) {
  const std::lock_guard lock(mutex_);
  status_ = std::move(status);
}

void ConnectionKeeper::run() {
  while (!stopping()) {
    auto connection = connect();
    if (connection) {
      const auto since = SteadyClock::now();
      run_session(*connection);
      if (SteadyClock::now() - since >= kStable) backoff_.reset();
      connection.reset();
      const std::lock_guard lock(mutex_);
      in_session_ = false;
      session_over_.notify_all();
    }
    pause(backoff_.next());
  }
  set_status("stopped");
}

std::unique_ptr<AmqpConnection> ConnectionKeeper::connect() {
  std::string reasons;
  bool refused = false;
  for (size_t i = 0; i < options_.urls.size(); ++i) {
    const size_t index = (preferred_url_ + i) % options_.urls.size();
    std::string why;
    try {
      auto connection = std::make_unique<AmqpConnection>(AmqpConnection::Options{
          .url = options_.urls[index], .name = options_.name, .interrupt = &interrupt_});
      preferred_url_ = index;
      const std::lock_guard lock(mutex_);
      if (stopping_) return nullptr;
      in_session_ = true;
      return connection;
    } catch (const LoginRefused& error) {
      why = error.what();
      refused = true;
    } catch (const Transient& error) {
      why = error.what();
    }
    if (stopping()) return nullptr;
    reasons += (reasons.empty() ? "" : "; ") + why;
  }
  if (!refused) reasons += options_.hint;
  lost(reasons, refused);
  return nullptr;
}

void ConnectionKeeper::run_session(AmqpConnection& connection) {
  std::optional<std::string> why;
  try {
    session_(connection);
  } catch (const Transient& error) {
    why = error.what();
  }
  ended_();
  if (!why) {
    set_status("stopped");
  } else if (!stopping()) {
    lost(*why, false);
  }
  connected_gauge_.Set(0);
}

void ConnectionKeeper::ready(const AmqpConnection& connection) {
  const std::string& product = connection.product();
  const std::string name = product.substr(0, product.find(' '));
  if (name != product_) {
    product_ = name;
    log_ = std::make_unique<ConnectionLog>(product_ + " (" + options_.name + ")");
  }
  set_status(product + " at " + connection.address());
  connected_gauge_.Set(1);
  outage_logged_ = refusal_logged_ = false;
  if (options_.logged) log_->connected(connection.address());
}

void ConnectionKeeper::lost(const std::string& why, bool refused) {
  set_status(why);
  if (!options_.logged) return;
  if (!std::exchange(outage_logged_, true)) {
    log_->lost(why);
  } else if (refused && !refusal_logged_) {
    // A broker that came back and refuses the password is another matter than one that is away,
    // and for a person to set right.
    spdlog::warn("{} ({}): {}", product_, options_.name, why);
  }
  refusal_logged_ |= refused;
}

void ConnectionKeeper::pause(Millis time) const {
  std::array<pollfd, 1> fds{{{interrupt_.fd(), POLLIN, 0}}};
  poll_until(fds, SteadyClock::now() + time);
}

}  // namespace postoffice
