#include "tester/stats.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tester/latency_histogram.h"

namespace postoffice::tester {
namespace {

using std::chrono::microseconds;

TEST(LatencyHistogram, QuantilesAreWithinTwoPercent) {
  for (const int64_t scale : {1, 37, 1000, 1'000'000}) {
    LatencyHistogram histogram;
    for (int64_t i = 1; i <= 1000; ++i) histogram.record(microseconds(i * scale));
    for (const double share : {0.01, 0.5, 0.9, 0.99, 1.0}) {
      const double exact = share * 1000 * static_cast<double>(scale);
      const auto found = static_cast<double>(histogram.quantile(share).count());
      EXPECT_GE(found, exact) << share << " of " << scale;
      EXPECT_LE(found, exact * 1.02) << share << " of " << scale;
    }
    EXPECT_EQ(histogram.max(), microseconds(1000 * scale));
  }
}

TEST(LatencyHistogram, OfNothingIsZero) {
  EXPECT_EQ(LatencyHistogram().quantile(0.99), microseconds(0));
}

TEST(LatencyHistogram, TakesAnyLatency) {
  LatencyHistogram histogram;
  for (const int64_t latency : {int64_t{-1}, int64_t{0}, int64_t{127}, int64_t{128}, INT64_MAX}) {
    histogram.record(microseconds(latency));
  }
  EXPECT_EQ(histogram.quantile(1), microseconds(INT64_MAX));
  EXPECT_EQ(histogram.quantile(0.6), microseconds(127));
}

const CallbackStats kCallbacks = {.sent = 10,
                                  .by_status = {{0, 2}, {202, 8}},
                                  .ids = 200,
                                  .skipped = 3,
                                  .latency_p50 = microseconds(1500),
                                  .latency_p99 = microseconds(20000),
                                  .latency_max = microseconds(1000000)};
const ObjectStats kObjects = {.by_status = {{200, 5}, {500, 1}},
                              .refused = 1,
                              .abandoned = 2,
                              .in_flight = 3,
                              .most_at_once = 9};

TEST(Stats, SummaryIsReadable) {
  EXPECT_EQ(summary(kCallbacks, kObjects),
            "callbacks sent: 10 (unanswered: 2, 202: 8), 200 ids\n"
            "callback latency: p50 1.5 ms, p99 20.0 ms, max 1000.0 ms\n"
            "callbacks skipped, every connection being busy when they were due: 3\n"
            "object requests answered: 6 (200: 5, 500: 1), refused: 1, abandoned: 2\n"
            "most object requests at once: 9\n");
  EXPECT_EQ(summary({}, {}),
            "callbacks sent: 0 (none), 0 ids\n"
            "object requests answered: 0 (none), refused: 0, abandoned: 0\n"
            "most object requests at once: 0\n");
}

TEST(Stats, JsonHasTheSameNumbers) {
  const auto json = nlohmann::json::parse(stats_json(kCallbacks, kObjects));
  EXPECT_EQ(json["callbacks"]["by_status"], (nlohmann::json{{"unanswered", 2}, {"202", 8}}));
  EXPECT_EQ(json["callbacks"]["latency_p99_us"], 20000);
  EXPECT_EQ(json["objects"]["answered"], 6);
  EXPECT_EQ(json["objects"]["most_at_once"], 9);
}

}  // namespace
}  // namespace postoffice::tester
