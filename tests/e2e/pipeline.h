#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"
#include "store/store.h"
#include "tests/e2e/broker_control.h"
#include "tests/e2e/database_control.h"
#include "tests/e2e/process.h"
#include "tests/e2e/raw_broker.h"

namespace postoffice::e2e {

// One line of tester_server's --sent-log.
struct SentCallback {
  UnixTime sent_at;
  int status = 0;  // 0: no answer.
  std::chrono::microseconds latency{};
  std::vector<int64_t> ids;
};

// The real binaries, wired to each other on ports of their own, with a fresh database, an empty
// broker and a folder that goes when the test has passed. Which engines: E2E_ENGINES=services
// (RabbitMQ and PostgreSQL that scripts/services runs; the default) or embedded (serve's own broker
// and SQLite).
class Pipeline {
 public:
  // Where an embedded broker runs: in server 0, or in a process of its own that broker_control()
  // can do something to. RabbitMQ always does.
  enum class Broker { kInServer, kApart };

  explicit Pipeline(Broker broker = Broker::kInServer);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  // Environment of every postoffice process from now on.
  Process::Environment settings;

  struct Server {
    uint16_t port = 0;
    std::string data_dir;
    std::unique_ptr<Process> process;
  };

  // Runs `postoffice migrate`.
  void migrate();
  // Starts `serve` number `index` (0, 1, ...; the same index keeps port and DATA_DIR) and waits
  // until it answers. `port` 0: any that is free.
  Server& start_server(size_t index = 0, uint16_t port = 0);
  Server& server(size_t index = 0) { return *servers_.at(index); }
  // Starts `worker threads` and waits until it is alive.
  Process& start_worker(size_t threads, const Process::Environment& more = {});
  uint16_t worker_port(size_t index) const { return worker_ports_.at(index); }
  Process& worker(size_t index = 0) { return *workers_.at(index); }

  // The object service, with further flags of tester_server; sends nothing.
  void start_objects(std::vector<std::string> flags = {});
  void stop_objects();
  // PUT /control?<query> of the object service.
  void control_objects(const std::string& query);

  // Starts tester_server as sender of callbacks to a server; reads what it sent once it ended or
  // now. It waits long for an answer, so that a busy machine leaves none without one.
  Process& start_sender(std::vector<std::string> flags, size_t server_index = 0);
  // Waits until the sender has ended by itself.
  void finish_sender(size_t sender_index = 0, Seconds timeout = Seconds(120));
  // Of all senders, up to now.
  std::vector<SentCallback> sent() const;

  // POSTs one callback; its status.
  int post(const std::string& body, size_t server_index = 0);
  int post_ids(const std::vector<int64_t>& ids, size_t server_index = 0);
  // Value of a metric line that starts with `name_and_labels`; 0 when there is none.
  double server_metric(const std::string& name_and_labels, size_t index = 0) const;
  double worker_metric(const std::string& name_and_labels, size_t index = 0) const;
  // The broker as its operator sees it.
  RawBroker broker() const;

  // All rows by id.
  std::map<int64_t, ObjectRow> table();
  // Waits until every id of every callback answered 202 has its row: online exactly for even ids,
  // seen when its newest acknowledged callback was sent or later; and that no row is there that was
  // never sent. Adds test failures with the first ids that are wrong.
  void expect_all_stored(Seconds timeout = Seconds(60), const std::set<int64_t>& except = {});

  BrokerControl& broker_control() { return *broker_control_; }
  DatabaseControl& database_control() { return *database_control_; }

  const std::string& folder() const { return folder_; }

 private:
  std::string data_dir(size_t server_index) const;
  void empty_queues() const;
  std::string wrong_rows(const std::set<int64_t>& except);

  std::string folder_;
  std::string amqp_url_;
  std::unique_ptr<BrokerControl> broker_control_;  // None of a broker in server 0.
  std::unique_ptr<DatabaseControl> database_control_;
  uint16_t objects_port_ = 0;
  std::unique_ptr<Process> objects_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::vector<std::unique_ptr<Process>> workers_;
  std::vector<uint16_t> worker_ports_;
  std::vector<std::unique_ptr<Process>> senders_;
  std::vector<std::string> sent_logs_;
};

}  // namespace postoffice::e2e
