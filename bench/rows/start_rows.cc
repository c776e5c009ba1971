#include "bench/rows/start_rows.h"

#include <httplib.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "bench/load/callbacks.h"
#include "bench/processes/deployment.h"
#include "bench/processes/engine.h"
#include "bench/table.h"
#include "broker/callback_message.h"

namespace postoffice::bench {
namespace {

struct Backlog {
  size_t bytes = 1'000'000'000;
  const char* text = "1 GB";
  size_t messages = 1'000'000;
};
constexpr Backlog kQuick = {20'000'000, "20 MB", 20'000};

// As many as a callback may name by default.
constexpr size_t kMostIds = 10'000;
// 18 digits: callbacks as long as they get.
constexpr int64_t kLongId = 100'000'000'000'000'000;

bool takes_callbacks(uint16_t port) {
  const auto answer =
      httplib::Client("127.0.0.1", port).Post("/callback", callback_body(1, 1), "application/json");
  return answer && answer->status == 202;
}

// In seconds.
double start(Deployment& deployment) {
  deployment.kill_serve();
  const auto began = std::chrono::steady_clock::now();
  const auto& serve = deployment.launch_serve();
  while (!takes_callbacks(serve.port())) {
    std::this_thread::sleep_for(std::chrono::microseconds(500));
    const auto waited = std::chrono::steady_clock::now() - began;
    if (waited > std::chrono::minutes(5)) throw std::runtime_error("serve does not start");
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

Row row(std::string name, std::string unit, Goal goal) {
  Row row;
  row.name = "start, exec to first 202, " + std::move(name);
  row.unit = std::move(unit);
  row.goal = goal;
  row.durability = "synced to disk";
  return row;
}

// So many as lines of NDJSON.
DistinctIds callbacks_of(size_t bytes) {
  constexpr size_t kBytesOfAnId = 19;  // And its comma.
  return {.first_id = kLongId,
          .callbacks = bytes / (kMostIds * kBytesOfAnId) + 1,
          .ids_each = kMostIds};
}

void empty_row(const Bench& bench, Report& report) {
  Row empty = row("embedded, nothing there yet", "ms", Goal::at_most(100));
  for (int round = 0; round < bench.rounds; ++round) {
    Deployment deployment(bench, "start");
    empty.ours.push_back(start(deployment) * 1000);
  }
  report.add(std::move(empty));
}

// Throws when it holds less than was put there.
void check_held(const Service& serve, const std::string& metric, size_t bytes) {
  wait_until(metric, [&] { return serve.metric(metric) >= 0.99 * static_cast<double>(bytes); });
}

void queue_row(const Bench& bench, const Backlog& backlog, Report& report) {
  Row queue =
      row(std::string("embedded, ") + backlog.text + " in the queue", "s", Goal::at_most(1));
  Deployment deployment(bench, "start");
  deployment.start_serve();
  // Callbacks of 200 ids: messages of 64 KiB.
  auto ids = callbacks_of(backlog.bytes);
  ids.callbacks *= ids.ids_each / 200;
  ids.ids_each = 200;
  publish_callbacks(deployment.amqp_url(), ids, kMessageBytes);
  for (int round = 0; round < bench.rounds; ++round) {
    queue.ours.push_back(start(deployment));
    check_held(deployment.serve(), "postoffice_broker_log_bytes", backlog.bytes);
  }
  report.add(std::move(queue));
}

// A start costs more by messages than by bytes.
void messages_row(const Bench& bench, const Backlog& backlog, Report& report) {
  const auto messages = static_cast<double>(backlog.messages);
  Row queue = row("embedded, " + number(messages) + " messages of 20 ids in the queue", "s", {});
  Deployment deployment(bench, "start");
  deployment.start_serve();
  publish_callbacks(deployment.amqp_url(), {.callbacks = backlog.messages, .ids_each = 20}, 1);
  for (int round = 0; round < bench.rounds; ++round) queue.ours.push_back(start(deployment));
  report.add(std::move(queue));
}

// Nobody answers at AMQP_URL.
void outbox_row(const Bench& bench, const Backlog& backlog, Report& report) {
  Row outbox =
      row(std::string("RabbitMQ away, ") + backlog.text + " in the outbox", "s", Goal::at_most(1));
  Deployment deployment(bench, "start");
  deployment.settings["AMQP_URL"] = "amqp://127.0.0.1:" + std::to_string(free_port());
  post_callbacks(deployment.start_serve().port(), callbacks_of(backlog.bytes));
  for (int round = 0; round < bench.rounds; ++round) {
    outbox.ours.push_back(start(deployment));
    check_held(deployment.serve(), "postoffice_outbox_bytes", backlog.bytes);
  }
  report.add(std::move(outbox));
}

}  // namespace

void start_rows(const Bench& bench, Report& report) {
  const Backlog backlog = bench.quick ? kQuick : Backlog();
  empty_row(bench, report);
  queue_row(bench, backlog, report);
  messages_row(bench, backlog, report);
  outbox_row(bench, backlog, report);
}

}  // namespace postoffice::bench
