#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"
#include "store/store.h"
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

// Polls until `holds` or the time is over; the last answer.
bool eventually(Seconds timeout, const std::function<bool()>& holds);

// A port on loopback that nobody listens on, below the ephemeral range.
uint16_t free_port();

// The real binaries, wired to each other on ports of their own, with a fresh database, an empty
// broker and a folder that goes when the test has passed. Which engines: E2E_ENGINES=services
// (RabbitMQ and PostgreSQL that scripts/services runs; the default).
class Pipeline {
 public:
  Pipeline();
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
  // until it answers.
  Server& start_server(size_t index = 0);
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
  // now.
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

  // SIGKILLs RabbitMQ, after it was told to write down which queues it has: RabbitMQ (3.10) does so
  // every 500 ms only, and never finds a quorum queue again that was deleted and declared anew just
  // before.
  void kill_broker();
  // `scripts/services <verb> DIR <more>`.
  void services(const std::string& verb, const std::vector<std::string>& more);

  const std::string& folder() const { return folder_; }
  const std::string& database_url() const { return database_url_; }

 private:
  std::string wrong_rows(const std::set<int64_t>& except);

  std::string folder_;
  std::string database_url_;
  std::string database_name_;
  std::string amqp_url_;
  uint16_t objects_port_ = 0;
  std::unique_ptr<Process> objects_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::vector<std::unique_ptr<Process>> workers_;
  std::vector<uint16_t> worker_ports_;
  std::vector<std::unique_ptr<Process>> senders_;
  std::vector<std::string> sent_logs_;
};

}  // namespace postoffice::e2e
