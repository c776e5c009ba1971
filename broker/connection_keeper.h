#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/backoff.h"
#include "base/connection_log.h"
#include "base/metrics.h"
#include "base/thread.h"
#include "base/time.h"
#include "base/wakeup.h"
#include "broker/amqp_connection.h"
#include "broker/amqp_url.h"
#include "broker/interrupt.h"

namespace postoffice {

// A thread that keeps one connection to a broker: connects with backoff and jitter over a list of
// URLs, the one that worked last first, runs a session on it, and connects again when it is lost.
// Logs what was lost and regained once each. Thread-safe.
class ConnectionKeeper {
 public:
  struct Options {
    std::vector<AmqpUrl> urls;  // Not empty.
    std::string name;  // connection_name, and label of postoffice_broker_connected{connection}.
    bool logged = true;
    std::string hint = {};  // What to look at when nothing answers; ends the reason.
  };
  // Uses the connection, on the keeper's thread. Returns when stopping(); throws Transient when the
  // connection is of no use any more. Waits on wakeup(), which is rung when stopping() turns true.
  using Session = std::function<void(AmqpConnection&)>;
  // Called after each session, however it ended, on the keeper's thread.
  using Ended = std::function<void()>;

  ConnectionKeeper(Options options, Session session, Ended ended, Metrics& metrics);
  ~ConnectionKeeper();  // Stops at once.

  void start();
  // Lets the session end by itself until `deadline`, then makes all it does fail. Returns after the
  // thread joined. Idempotent.
  void stop(SteadyClock::time_point deadline);

  // Called by the session when the connection serves its purpose: logs it, if it was away.
  void ready(const AmqpConnection& connection);
  bool stopping() const;
  const Wakeup& wakeup() const { return wakeup_; }
  // "RabbitMQ 3.10.8 at 127.0.0.1:5672/", or why there is no connection.
  std::string status() const;

 private:
  void run();
  std::unique_ptr<AmqpConnection> connect();
  void run_session(AmqpConnection& connection);
  void lost(const std::string& why, bool refused);
  void set_status(std::string status);
  void pause(Millis time) const;

  const Options options_;
  const Session session_;
  const Ended ended_;
  prometheus::Gauge& connected_gauge_;
  const Wakeup wakeup_;
  Interrupt interrupt_;

  // The keeper's thread only.
  size_t preferred_url_ = 0;
  Backoff backoff_;
  std::string product_ = "broker";  // Until it has said what it is.
  std::unique_ptr<ConnectionLog> log_;
  bool outage_logged_ = false;
  bool refusal_logged_ = false;

  mutable std::mutex mutex_;
  std::condition_variable session_over_;
  // Guarded by mutex_.
  bool stopping_ = false;
  bool in_session_ = false;
  std::string status_ = "not connected yet";

  std::mutex thread_mutex_;  // Guards what follows.
  bool thread_started_ = false;
  Thread thread_;
};

}  // namespace postoffice
