// The promises with figures, at their full length: minutes, not seconds. Run by scripts/acceptance,
// which prints the figures; they hold on a machine that does nothing else.

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <thread>

#include "tests/e2e/pipeline.h"

namespace postoffice::e2e {
namespace {

using std::chrono::milliseconds;

struct Latencies {
  milliseconds p50;
  milliseconds p99;
  milliseconds slowest;
};

Latencies latencies_of(const std::vector<SentCallback>& sent) {
  std::vector<std::chrono::microseconds> all;
  for (const auto& callback : sent) all.push_back(callback.latency);
  std::ranges::sort(all);
  const auto at = [&](double share) {
    const auto index =
        std::min(all.size() - 1, static_cast<size_t>(share * static_cast<double>(all.size())));
    return std::chrono::ceil<milliseconds>(all.at(index));
  };
  return {at(0.5), at(0.99), at(1)};
}

uint64_t resident_kib(const Process& process) {
  std::ifstream file("/proc/" + std::to_string(process.pid()) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("VmHWM:")) return std::stoull(line.substr(6));
  }
  return 0;
}

class Acceptance : public testing::Test {
 protected:
  // 200 callbacks a second for 80 s, of which `fault` takes 60.
  Latencies send_through(const std::function<void()>& fault, const std::function<void()>& mend) {
    pipeline_.migrate();
    pipeline_.start_objects({"--latency-min=300ms", "--latency-max=4300ms"});
    pipeline_.start_server();
    pipeline_.start_worker(1000);
    pipeline_.start_sender({"--rate=200", "--count=16000", "--ids-per-callback=20",
                            "--id-space=5000", "--timeout=5s"});
    const auto sent_at_least = [&](size_t count) {
      return eventually(Seconds(120), [&] { return pipeline_.sent().size() >= count; });
    };
    EXPECT_TRUE(sent_at_least(2000));
    fault();
    const auto until = SteadyClock::now() + std::chrono::seconds(60);
    std::this_thread::sleep_until(until);
    mend();
    pipeline_.finish_sender();
    const auto sent = pipeline_.sent();
    EXPECT_EQ(sent.size(), 16000u);
    for (const auto& callback : sent) EXPECT_EQ(callback.status, 202);
    pipeline_.expect_all_stored(Seconds(180));
    const auto latencies = latencies_of(sent);
    std::cout << "  callbacks " << sent.size() << ", p50 " << latencies.p50.count() << " ms, p99 "
              << latencies.p99.count() << " ms, slowest " << latencies.slowest.count() << " ms\n";
    return latencies;
  }

  Pipeline pipeline_{Pipeline::Broker::kApart};
};

TEST_F(Acceptance, RabbitMqStoppedForAMinuteUnderLoad) {
  const auto latencies = send_through([&] { pipeline_.broker_control().stop(); },
                                      [&] { pipeline_.broker_control().up(); });
  EXPECT_LT(latencies.p99, milliseconds(100));
}

TEST_F(Acceptance, RabbitMqHangingForAMinuteUnderLoad) {
  const auto latencies = send_through([&] { pipeline_.broker_control().pause(); },
                                      [&] { pipeline_.broker_control().resume(); });
  EXPECT_LT(latencies.p99, milliseconds(100));
  EXPECT_LE(latencies.slowest, milliseconds(500));
}

TEST_F(Acceptance, ABurstIsStoredTenSecondsAfterItsLastAnswer) {
  pipeline_.migrate();
  pipeline_.start_objects({"--latency-min=300ms", "--latency-max=4300ms"});
  pipeline_.start_server();
  pipeline_.start_worker(200);
  pipeline_.start_sender({"--burst=true", "--count=1000", "--ids-per-callback=200-200",
                          "--id-space=100", "--connections=16", "--timeout=10s"});
  pipeline_.finish_sender();
  const auto ended = SteadyClock::now();
  pipeline_.expect_all_stored(Seconds(30));
  const auto took = std::chrono::duration_cast<milliseconds>(SteadyClock::now() - ended);
  std::cout << "  stored " << took.count() << " ms after the last answer\n";
  EXPECT_LT(took, milliseconds(10'000));
}

TEST_F(Acceptance, TenThousandFetchesAtOnce) {
  constexpr double kFetches = 10'000;
  constexpr double kMeanLatencySeconds = 2.3;
  pipeline_.migrate();
  pipeline_.start_objects({"--latency-min=300ms", "--latency-max=4300ms"});
  pipeline_.start_server();
  auto& worker = pipeline_.start_worker(static_cast<size_t>(kFetches));
  // 250,000 distinct ids: about a minute's work.
  pipeline_.start_sender({"--burst=true", "--count=1250", "--ids-per-callback=200-200",
                          "--id-mode=sequential", "--id-space=1000000", "--connections=4",
                          "--timeout=10s"});
  ASSERT_TRUE(eventually(Seconds(60), [&] {
    return pipeline_.worker_metric("postoffice_fetches_in_flight") >= 0.99 * kFetches;
  })) << pipeline_.worker_metric("postoffice_fetches_in_flight");
  // Ramped up: one mean latency later the answers come at their steady rate.
  std::this_thread::sleep_for(std::chrono::seconds(5));
  const double before = pipeline_.worker_metric("postoffice_objects_stored_total");
  const auto began = SteadyClock::now();
  std::this_thread::sleep_for(std::chrono::seconds(20));
  const double after = pipeline_.worker_metric("postoffice_objects_stored_total");
  const double seconds = std::chrono::duration<double>(SteadyClock::now() - began).count();
  const double rate = (after - before) / seconds;
  const double ideal = kFetches / kMeanLatencySeconds;
  const double megabytes = static_cast<double>(resident_kib(worker)) / 1024;
  std::cout << "  stored " << rate << " objects/s, " << rate / ideal
            << " of 10,000 / mean latency; at most " << megabytes << " MiB resident\n";
  EXPECT_GE(rate, 0.95 * ideal);
  EXPECT_LT(megabytes, 600);
  pipeline_.finish_sender();
}

}  // namespace
}  // namespace postoffice::e2e
