#include "worker/object_answer.h"

#include <gtest/gtest.h>
#include <malloc.h>

namespace postoffice {
namespace {

// Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110.
constexpr UnixTime kExample{std::chrono::seconds(784111777)};

// Under a sanitizer, which has a heap of its own, always the same.
size_t allocated_bytes() {
  const auto heap = mallinfo2();
  return heap.uordblks + heap.hblkhd;
}

TEST(RetryAfter, IsSecondsOrOneOfThreeFormsOfADate) {
  const auto now = kExample - Millis(2500);
  EXPECT_EQ(parse_retry_after("0", now), Millis(0));
  EXPECT_EQ(parse_retry_after("120", now), Millis(120'000));
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Millis(2500));
  EXPECT_EQ(parse_retry_after("Sunday, 06-Nov-94 08:49:37 GMT", now), Millis(2500));
  EXPECT_EQ(parse_retry_after("Sun Nov  6 08:49:37 1994", now), Millis(2500));
}

TEST(RetryAfter, IsNeverInThePastNorBeyondADay) {
  const Millis day = std::chrono::hours(24);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kExample + Millis(1)), Millis(0));
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", UnixTime(Millis(0))), day);
  EXPECT_EQ(parse_retry_after("9000000000000000000", kExample), day);
}

TEST(RetryAfter, IsNothingElse) {
  for (const char* value : {"", "-1", "1.5", "5s", "soon", "99999999999999999999",
                            "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 06 Nov 1994"}) {
    EXPECT_EQ(parse_retry_after(value, kExample), std::nullopt) << value;
  }
}

TEST(ObjectAnswer, IsReadAgainAndAgainWithTheSameBuffers) {
  ObjectAnswer answer;
  for (const size_t padding : {0, 10'000, 10}) {
    std::string body = "{\"id\":-5,\"more\":\"" + std::string(padding, 'x') + "\",\"online\":true}";
    std::string why;
    EXPECT_EQ(answer.read_online(body, -5, why), true) << why;
    EXPECT_EQ(answer.read_online(body, 5, why), std::nullopt);
    EXPECT_EQ(why, "the answer is for object -5");
  }
}

// Ten thousand threads have one each.
TEST(ObjectAnswer, AnUnusuallyLargeAnswerLeavesNoLargeBuffers) {
  ObjectAnswer answer;
  std::string why;
  const auto read = [&](size_t padding) {
    std::string body = "{\"id\":1,\"online\":true,\"more\":\"" + std::string(padding, 'x') + "\"}";
    EXPECT_EQ(answer.read_online(body, 1, why), true) << why;
    EXPECT_EQ(answer.read_online(body, 2, why), std::nullopt);
  };
  read(0);
  const size_t before = allocated_bytes();
  read(20'000);
  EXPECT_LT(allocated_bytes(), before + 16 * 1024);
}

}  // namespace
}  // namespace postoffice
