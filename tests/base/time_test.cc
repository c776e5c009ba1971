#include "base/time.h"

#include <gtest/gtest.h>

#include "base/backoff.h"

namespace postoffice {
namespace {

TEST(Rfc3339, WritesUtcWithMilliseconds) {
  EXPECT_EQ(format_rfc3339(from_unix_millis(0)), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_rfc3339(from_unix_millis(1795253400123)), "2026-11-21T09:30:00.123Z");
  EXPECT_EQ(format_rfc3339(from_unix_millis(-1)), "1969-12-31T23:59:59.999Z");
}

TEST(Rfc3339, ExtremesAreClampedToFourDigitYears) {
  EXPECT_EQ(format_rfc3339(UnixTime::max()), "9999-12-31T23:59:59.999Z");
  EXPECT_EQ(format_rfc3339(UnixTime::min()), "0000-01-01T00:00:00.000Z");
}

TEST(Duration, ReadsANumberAndAUnit) {
  EXPECT_EQ(parse_duration("250ms"), Millis(250));
  EXPECT_EQ(parse_duration("30s"), Millis(30'000));
  EXPECT_EQ(parse_duration("5m"), Millis(300'000));
  EXPECT_EQ(parse_duration("1h"), Millis(3'600'000));
  EXPECT_EQ(parse_duration("0s"), Millis(0));
}

TEST(Duration, NothingElseIsOne) {
  for (const char* text :
       {"", "30", "s", "-1s", "1.5s", "1 s", "1S", "1d", "99999999999999999999ms", "1hs"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(Duration, IsWrittenInItsShortestExactForm) {
  for (const char* text : {"0ms", "250ms", "30s", "90s", "5m", "1h", "24h"}) {
    EXPECT_EQ(format_duration(*parse_duration(text)), text);
  }
}

TEST(Earlier, IsTheOneThatIsThereOrTheLesser) {
  const UnixTime one{Millis(1)};
  const UnixTime two{Millis(2)};
  EXPECT_EQ(earlier({}, {}), std::nullopt);
  EXPECT_EQ(earlier(one, {}), one);
  EXPECT_EQ(earlier({}, two), two);
  EXPECT_EQ(earlier(one, two), one);
  EXPECT_EQ(earlier(two, one), one);
}

TEST(Backoff, GrowsToItsMostAndStartsAgainAfterReset) {
  Backoff backoff(Millis(100), Millis(1000));
  for (const int64_t ceiling : {100, 200, 400, 800, 1000, 1000}) {
    const auto delay = backoff.next();
    EXPECT_GE(delay.count(), 0);
    EXPECT_LE(delay.count(), ceiling);
  }
  backoff.reset();
  EXPECT_LE(backoff.next().count(), 100);
}

TEST(Backoff, IsJittered) {
  Backoff backoff(Millis(1'000'000), Millis(1'000'000));
  const auto first = backoff.next();
  bool differs = false;
  for (int i = 0; i < 20; ++i) differs = differs || backoff.next() != first;
  EXPECT_TRUE(differs);
}

}  // namespace
}  // namespace postoffice
