#include "tests/e2e/pipeline.h"

#include <gtest/gtest.h>
#include <httplib.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "broker/topology.h"
#include "tests/e2e/services.h"

namespace postoffice::e2e {
namespace {

const std::string kBinaries = POSTOFFICE_BIN_DIR;
const std::string kSource = POSTOFFICE_SOURCE_DIR;
constexpr size_t kShownIds = 5;

std::string unique_name() {
  static int count = 0;
  return "e2e_" + std::to_string(getpid()) + "_" + std::to_string(++count);
}

bool answers(uint16_t port, const std::string& path) {
  httplib::Client client("127.0.0.1", port);
  client.set_connection_timeout(1);
  client.set_read_timeout(1);
  const auto result = client.Get(path);
  return result && result->status == 200;
}

double metric(uint16_t port, const std::string& name_and_labels) {
  httplib::Client client("127.0.0.1", port);
  client.set_read_timeout(5);
  const auto result = client.Get("/metrics");
  if (!result || result->status != 200) return 0;
  std::istringstream lines(result->body);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name_and_labels + " "))
      return std::stod(line.substr(name_and_labels.size()));
  }
  return 0;
}

std::vector<SentCallback> read_sent_log(const std::string& path) {
  std::vector<SentCallback> sent;
  std::ifstream file(path);
  for (std::string line;
       std::getline(file, line) && !file.eof();) {  // A line without its end is not whole yet.
    std::istringstream fields(line);
    int64_t sent_at = 0;
    int64_t latency_us = 0;
    std::string ids;
    SentCallback callback;
    if (!(fields >> sent_at >> callback.status >> latency_us)) continue;
    fields >> ids;
    callback.sent_at = from_unix_millis(sent_at);
    callback.latency = std::chrono::microseconds(latency_us);
    std::istringstream list(ids);
    for (std::string id; std::getline(list, id, ',');) callback.ids.push_back(std::stoll(id));
    sent.push_back(std::move(callback));
  }
  return sent;
}

}  // namespace

Pipeline::Pipeline(Broker broker)
    : folder_(std::filesystem::temp_directory_path() / ("postoffice-" + unique_name())),
      objects_port_(free_port()) {
  std::filesystem::create_directories(folder_);
  settings = {{"OBJECTS_URL", "http://127.0.0.1:" + std::to_string(objects_port_) + "/objects"},
              {"DATA_DIR", data_dir(0)},
              {"OBJECT_TTL", "1h"}};
  if (!engines_are_embedded()) {
    broker_control_ = make_rabbitmq_control();
    database_control_ = make_postgres_control(unique_name());
  } else {
    if (broker == Broker::kApart) broker_control_ = make_embedded_broker_control(folder_);
    database_control_ = make_sqlite_control(data_dir(0));
  }
  settings["DATABASE_URL"] = database_control_->url();
  if (broker_control_) {
    settings["AMQP_URL"] = amqp_url_ = broker_control_->url();
    empty_queues();
  } else {
    const std::string port = settings["BROKER_PORT"] = std::to_string(free_port());
    amqp_url_ = "amqp://guest:guest@127.0.0.1:" + port;
  }
}

Pipeline::~Pipeline() {
  for (auto& sender : senders_) sender->kill();
  for (auto& worker : workers_) worker->stop();
  for (auto& server : servers_) {
    if (server && server->process) server->process->stop();
  }
  if (testing::Test::HasFailure()) {
    std::cerr << "logs are in " << folder_ << "\n";
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      if (entry.path().extension() != ".log") continue;
      std::ifstream file(entry.path());
      std::cerr << "--- " << entry.path().filename().string() << "\n";
      size_t lines = 0;
      for (std::string line; std::getline(file, line) && lines < 60; ++lines)
        std::cerr << line << "\n";
    }
  } else {
    std::filesystem::remove_all(folder_);
  }
}

std::string Pipeline::data_dir(size_t server_index) const {
  return folder_ + "/data" + std::to_string(server_index);
}

void Pipeline::empty_queues() const {
  RawBroker broker(amqp_url_);
  broker.delete_queue(std::string(topology::kCallbacks));
  broker.delete_queue(std::string(topology::kCallbacksDead));
  for (const auto& retry : topology::kCallbacksRetry) broker.delete_queue(std::string(retry.name));
}

void Pipeline::migrate() {
  Process process({kBinaries + "/postoffice", "migrate"}, settings, folder_, "migrate");
  const auto status = process.wait(Seconds(30));
  if (status != 0) throw std::runtime_error("migrate failed: " + process.output());
}

Pipeline::Server& Pipeline::start_server(size_t index, uint16_t port) {
  if (servers_.size() <= index) servers_.resize(index + 1);
  auto& server = servers_[index];
  if (!server) {
    server = std::make_unique<Server>();
    server->port = port != 0 ? port : free_port();
    server->data_dir = data_dir(index);
  }
  auto environment = settings;
  environment["SERVER_PORT"] = std::to_string(server->port);
  environment["DATA_DIR"] = server->data_dir;
  if (index > 0) environment["AMQP_URL"] = amqp_url_;
  server->process =
      std::make_unique<Process>(std::vector<std::string>{kBinaries + "/postoffice", "serve"},
                                environment, folder_, "serve" + std::to_string(index));
  const bool up = eventually(Seconds(20), [&] {
    return !server->process->running() || answers(server->port, "/healthz");
  });
  if (!up || !server->process->running()) {
    throw std::runtime_error("serve did not start: " + server->process->output());
  }
  return *server;
}

Process& Pipeline::start_worker(size_t threads, const Process::Environment& more) {
  const uint16_t port = free_port();
  auto environment = settings;
  environment["WORKER_PORT"] = std::to_string(port);
  for (const auto& [name, value] : more) environment[name] = value;
  auto process = std::make_unique<Process>(
      std::vector<std::string>{kBinaries + "/postoffice", "worker", std::to_string(threads)},
      environment, folder_, "worker" + std::to_string(workers_.size()));
  const bool up =
      eventually(Seconds(30), [&] { return !process->running() || answers(port, "/healthz"); });
  if (!up || !process->running())
    throw std::runtime_error("worker did not start: " + process->output());
  workers_.push_back(std::move(process));
  worker_ports_.push_back(port);
  return *workers_.back();
}

void Pipeline::start_objects(std::vector<std::string> flags) {
  std::vector<std::string> arguments = {
      kBinaries + "/tester_server", "--objects-port=" + std::to_string(objects_port_), "--count=0"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  objects_ = std::make_unique<Process>(arguments, Process::Environment(), folder_, "objects");
  const bool up = eventually(
      Seconds(20), [&] { return !objects_->running() || answers(objects_port_, "/stats"); });
  if (!up || !objects_->running()) {
    throw std::runtime_error("tester_server did not start: " + objects_->output());
  }
}

void Pipeline::stop_objects() { objects_.reset(); }

void Pipeline::control_objects(const std::string& query) {
  httplib::Client client("127.0.0.1", objects_port_);
  const auto result = client.Put("/control?" + query, "", "text/plain");
  if (!result || result->status != 200) {
    throw std::runtime_error("PUT /control?" + query + ": " +
                             (result ? result->body : "no answer"));
  }
}

Process& Pipeline::start_sender(std::vector<std::string> flags, size_t server_index) {
  const std::string log = folder_ + "/sent" + std::to_string(senders_.size()) + ".txt";
  std::vector<std::string> arguments = {
      kBinaries + "/tester_server",
      "--objects-port=" + std::to_string(free_port()),
      "--callback-url=http://127.0.0.1:" + std::to_string(servers_.at(server_index)->port) +
          "/callback",
      "--sent-log=" + log,
      "--exit-when-done=true",
      "--timeout=30s"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  sent_logs_.push_back(log);
  senders_.push_back(std::make_unique<Process>(arguments, Process::Environment(), folder_,
                                               "sender" + std::to_string(senders_.size())));
  return *senders_.back();
}

void Pipeline::finish_sender(size_t sender_index, Seconds timeout) {
  auto& sender = *senders_.at(sender_index);
  const auto status = sender.wait(timeout);
  ASSERT_EQ(status, 0) << sender.output();
}

std::vector<SentCallback> Pipeline::sent() const {
  std::vector<SentCallback> all;
  for (const auto& log : sent_logs_) {
    auto sent = read_sent_log(log);
    std::ranges::move(sent, std::back_inserter(all));
  }
  return all;
}

int Pipeline::post(const std::string& body, size_t server_index) {
  httplib::Client client("127.0.0.1", servers_.at(server_index)->port);
  client.set_read_timeout(10);
  const auto result = client.Post("/callback", body, "application/json");
  return result ? result->status : 0;
}

int Pipeline::post_ids(const std::vector<int64_t>& ids, size_t server_index) {
  std::string list;
  for (const int64_t id : ids) list += (list.empty() ? "" : ",") + std::to_string(id);
  return post("{\"object_ids\":[" + list + "]}", server_index);
}

double Pipeline::server_metric(const std::string& name_and_labels, size_t index) const {
  return metric(servers_.at(index)->port, name_and_labels);
}

double Pipeline::worker_metric(const std::string& name_and_labels, size_t index) const {
  return metric(worker_ports_.at(index), name_and_labels);
}

RawBroker Pipeline::broker() const { return RawBroker(amqp_url_); }

std::map<int64_t, ObjectRow> Pipeline::table() {
  const auto store = make_store_factory(database_control_->url(), data_dir(0), "test")();
  std::map<int64_t, ObjectRow> rows;
  std::optional<int64_t> after;
  while (true) {
    const auto page = store->list(std::nullopt, after, 1000);
    if (page.empty()) return rows;
    for (const auto& row : page) rows[row.id] = row;
    after = page.back().id;
  }
}

std::string Pipeline::wrong_rows(const std::set<int64_t>& except) {
  std::map<int64_t, UnixTime> acknowledged;  // The newest callback that was.
  std::set<int64_t> named;
  for (const auto& callback : sent()) {
    for (const int64_t id : callback.ids) {
      named.insert(id);
      if (callback.status != 202) continue;
      auto& newest = acknowledged[id];
      newest = std::max(newest, callback.sent_at);
    }
  }
  if (acknowledged.empty()) return "no callback was acknowledged";
  const auto rows = table();
  std::ostringstream wrong;
  size_t count = 0;
  const auto note = [&](int64_t id, const std::string& what) {
    if (++count <= kShownIds) wrong << "object " << id << ": " << what << "; ";
  };
  for (const auto& [id, sent_at] : acknowledged) {
    if (except.contains(id)) continue;
    const auto row = rows.find(id);
    if (row == rows.end()) {
      note(id, "no row");
    } else if (row->second.online != (id % 2 == 0)) {
      note(id, "wrong online status");
    } else if (row->second.last_seen < sent_at) {
      note(id, "last seen " + format_rfc3339(row->second.last_seen) + ", named again at " +
                   format_rfc3339(sent_at));
    }
  }
  for (const auto& [id, row] : rows) {
    if (!named.contains(id)) note(id, "was never named");
  }
  if (count == 0) return "";
  return std::to_string(count) + " of " + std::to_string(acknowledged.size()) +
         " objects: " + wrong.str();
}

void Pipeline::expect_all_stored(Seconds timeout, const std::set<int64_t>& except) {
  std::string wrong;
  const bool stored = eventually(timeout, [&] {
    try {
      wrong = wrong_rows(except);
    } catch (const std::exception& error) {
      wrong = error.what();
    }
    return wrong.empty();
  });
  EXPECT_TRUE(stored) << wrong;
}

}  // namespace postoffice::e2e
