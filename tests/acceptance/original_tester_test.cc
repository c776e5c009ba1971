// The Go program that Postoffice was first asked for with, unchanged, beside serve and worker 200
// on PostgreSQL. Its source is not part of this repository: ORIGINAL_TESTER says where it is.

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <set>
#include <thread>

#include "base/error.h"
#include "base/listening_socket.h"
#include "broker/callback_message.h"
#include "broker/topology.h"
#include "tests/e2e/pipeline.h"

namespace postoffice::e2e {
namespace {

// Built into it.
constexpr uint16_t kServerPort = 9090;
constexpr uint16_t kObjectsPort = 9010;
constexpr int64_t kIds = 100;

constexpr std::chrono::seconds kSending{90};
constexpr Millis kTtl{30'000};
constexpr Millis kGoneAfter{32'000};
// One fetch under way and one after it take 8.6 s at most; one that its panic cost, 5 more.
constexpr Millis kStoredAfter{20'000};
// From a callback's arrival to its message in the broker; it is sent over loopback just before.
constexpr Millis kReceived{1000};
constexpr Millis kBetweenLooks{100};

bool is_free(uint16_t port) {
  try {
    listen_on({.host = "0.0.0.0", .port = port, .host_setting = "", .port_setting = ""});
    return true;
  } catch (const BadConfig&) {
    return false;
  }
}

class OriginalTester : public testing::Test {
 protected:
  void SetUp() override {
    const char* source = std::getenv("ORIGINAL_TESTER");
    if (source == nullptr) {
      GTEST_SKIP() << "ORIGINAL_TESTER is not set: give the path of the original tester_server.go";
    }
    ASSERT_TRUE(source[0] == '/' && access(source, R_OK) == 0)
        << "ORIGINAL_TESTER must be the absolute path of tester_server.go, not \"" << source
        << "\"";
    if (std::system("go version >/dev/null 2>&1") != 0) {
      GTEST_SKIP() << "go is not there: apt-get install golang-go";
    }
    for (const uint16_t port : {kServerPort, kObjectsPort}) {
      ASSERT_TRUE(is_free(port)) << "port " << port
                                 << " is in use, and the original tester_server knows no other";
    }
    pipeline_ = std::make_unique<Pipeline>();
    program_ = pipeline_->folder() + "/original";
    run({"/usr/bin/env", "GOCACHE=" + pipeline_->folder() + "/go", "GO111MODULE=off", "go", "build",
         "-o", program_, source});
    pipeline_->settings["OBJECTS_URL"] =
        "http://localhost:" + std::to_string(kObjectsPort) + "/objects";
    pipeline_->settings["OBJECT_TTL"] = format_duration(kTtl);
    pipeline_->migrate();
    pipeline_->start_server(0, kServerPort);
    pipeline_->start_worker(200);
    broker_ = std::make_unique<RawBroker>(pipeline_->broker());
    tap_ = broker_->tap(std::string(topology::kExchange), std::string(topology::kCallbacks));
    start();
  }

  void start() {
    original_ = std::make_unique<Process>(std::vector<std::string>{program_},
                                          Process::Environment(), pipeline_->folder(), "original");
    started_at_ = unix_now();
  }

  // Its source of random numbers has no lock: it may panic.
  void keep_it_running() {
    if (original_->running()) return;
    ++panics_;
    ASSERT_NE(original_->output().find("panic"), std::string::npos) << original_->output();
    start();
  }

  // Reads the callbacks that came since, as they are on their way to the worker.
  void read_callbacks() {
    for (const auto& message : broker_->take_all(tap_)) {
      const auto seen_at = unix_now();
      const auto result = decoder_.decode(message.body);
      ASSERT_TRUE(result.bad.empty()) << result.bad.front().reason;
      for (const auto& callback : result.lines) {
        if (callback.attempt > 0) continue;  // A retry, by the worker.
        ++callbacks_;
        ASSERT_LE(callback.received_at, seen_at);
        ASSERT_GE(callback.received_at, looked_at_ - kReceived) << "received late or stamped early";
        for (const int64_t id : callback.object_ids) {
          ASSERT_TRUE(id >= 0 && id < kIds) << id;
          named_[id].insert(callback.received_at);
        }
      }
    }
    looked_at_ = unix_now();
  }

  // Holds at every moment.
  void check_table() {
    const auto now = unix_now();
    const auto rows = pipeline_->table();
    ASSERT_NO_FATAL_FAILURE(read_callbacks());
    for (const auto& [id, row] : rows) {
      const auto named = named_.find(id);
      ASSERT_NE(named, named_.end()) << id << " was never named";
      ASSERT_EQ(row.online, id % 2 == 0) << id;
      ASSERT_TRUE(named->second.contains(row.last_seen))
          << id << ": no callback was received at " << format_rfc3339(row.last_seen);
      const Millis since = now - *named->second.rbegin();
      ASSERT_LE(since, kGoneAfter) << id << " is still there";
      longest_kept_ = std::max(longest_kept_, since);
    }
    if (panics_ == 0 || now - started_at_ > kStoredAfter) {
      ASSERT_NO_FATAL_FAILURE(check_stored(rows, now));
    }
    for (const auto& [id, row] : before_) gone_ += rows.contains(id) ? 0 : 1;
    before_ = rows;
  }

  // What was named long enough ago is there, unless that is longer ago than rows are kept.
  void check_stored(const std::map<int64_t, ObjectRow>& rows, UnixTime now) const {
    for (const auto& [id, times] : named_) {
      const auto newer = times.upper_bound(now - kStoredAfter);
      if (newer == times.begin()) continue;
      const auto named_at = *std::prev(newer);
      const auto row = rows.find(id);
      if (row == rows.end()) {
        ASSERT_GE(now - named_at, kTtl) << id << " has no row";
      } else {
        ASSERT_GE(row->second.last_seen, named_at) << id;
      }
    }
  }

  std::unique_ptr<Pipeline> pipeline_;
  std::string program_;
  std::unique_ptr<Process> original_;
  UnixTime started_at_;
  size_t panics_ = 0;

  std::unique_ptr<RawBroker> broker_;
  std::string tap_;
  CallbackDecoder decoder_;
  UnixTime looked_at_ = unix_now();
  size_t callbacks_ = 0;
  std::map<int64_t, std::set<UnixTime>> named_;

  std::map<int64_t, ObjectRow> before_;
  size_t gone_ = 0;
  Millis longest_kept_{0};
};

TEST_F(OriginalTester, FillsTheTableAndItsRowsGoInTime) {
  const auto until = SteadyClock::now() + kSending;
  size_t most_rows = 0;
  while (SteadyClock::now() < until) {
    ASSERT_NO_FATAL_FAILURE(keep_it_running());
    ASSERT_NO_FATAL_FAILURE(check_table());
    most_rows = std::max(most_rows, before_.size());
    std::this_thread::sleep_for(kBetweenLooks);
  }
  ASSERT_GE(callbacks_, 10u);
  const size_t gone_while_sent = gone_;

  // It cannot be told to stop sending. With the server on another port its callbacks are refused,
  // and it goes on to answer for objects.
  ASSERT_EQ(pipeline_->server(0).process->stop(), 0);
  pipeline_->start_server(1);
  do {
    ASSERT_NO_FATAL_FAILURE(keep_it_running());
    ASSERT_NO_FATAL_FAILURE(check_table());
    std::this_thread::sleep_for(kBetweenLooks);
  } while (!before_.empty());

  std::cout << "  callbacks " << callbacks_ << ", ids named " << named_.size() << ", rows at most "
            << most_rows << ", gone while callbacks were sent " << gone_while_sent
            << ", rows there at most " << longest_kept_.count()
            << " ms after a callback named them; the program panicked " << panics_ << " times\n";
}

}  // namespace
}  // namespace postoffice::e2e
