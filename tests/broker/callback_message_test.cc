#include "broker/callback_message.h"

#include <gtest/gtest.h>

#include <limits>

namespace postoffice {
namespace {

constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
constexpr int64_t kMost = std::numeric_limits<int64_t>::max();

TEST(CallbackMessage, ALineIsWrittenAsDocumented) {
  const std::vector<int64_t> ids = {1, -2, kLeast, kMost};
  EXPECT_EQ(encode_callback_line(from_unix_millis(1763700000123), ids),
            "{\"received_at\":1763700000123,"
            "\"object_ids\":[1,-2,-9223372036854775808,9223372036854775807]}\n");
  EXPECT_EQ(encode_callback_line(from_unix_millis(0), {}),
            "{\"received_at\":0,\"object_ids\":[]}\n");
  EXPECT_EQ(encode_retry_line(from_unix_millis(5), 7, 2, from_unix_millis(9)),
            "{\"received_at\":5,\"object_ids\":[7],\"attempt\":2,\"not_before\":9}\n");
}

TEST(CallbackMessage, WhatIsWrittenIsReadBack) {
  const std::vector<int64_t> ids = {kLeast, -1, 0, kMost};
  CallbackDecoder decoder;
  const auto result =
      decoder.decode(encode_callback_line(from_unix_millis(11), ids) +
                     encode_retry_line(from_unix_millis(12), 99, 4, from_unix_millis(13)));
  EXPECT_TRUE(result.bad.empty());
  ASSERT_EQ(result.lines.size(), 2U);
  EXPECT_EQ(to_unix_millis(result.lines[0].received_at), 11);
  EXPECT_EQ(result.lines[0].object_ids, ids);
  EXPECT_EQ(result.lines[0].attempt, 0);
  EXPECT_FALSE(result.lines[0].not_before);
  EXPECT_EQ(result.lines[1].object_ids, std::vector<int64_t>{99});
  EXPECT_EQ(result.lines[1].attempt, 4);
  EXPECT_EQ(result.lines[1].not_before, from_unix_millis(13));
}

TEST(CallbackMessage, UnknownMembersBlankLinesAndAMissingLastNewlineAreFine) {
  CallbackDecoder decoder;
  const auto result = decoder.decode(
      "\n{\"x\":[{\"y\":1.5}],\"object_ids\":[1],\"received_at\":2}\r\n \t\r\n\n"
      "{\"received_at\":3,\"object_ids\":[]}");
  EXPECT_TRUE(result.bad.empty());
  ASSERT_EQ(result.lines.size(), 2U);
  EXPECT_EQ(result.lines[0].object_ids, std::vector<int64_t>{1});
  EXPECT_EQ(to_unix_millis(result.lines[1].received_at), 3);
}

TEST(CallbackMessage, ABadLineIsReportedWithItsReasonAndTheOthersAreDecoded) {
  struct Bad {
    std::string line;
    std::string reason;
  };
  const Bad bad_lines[] = {
      {"{", "not JSON: "},
      {"{\"received_at\":1,\"object_ids\":[1]} x", "not JSON: "},
      {"{\"received_at\":1,\"object_ids\":[1]}{}", "not JSON: "},
      {"\xff\xfe", "not JSON: "},
      {std::string("{\"a\":\0}", 7), "not JSON: "},
      {std::string("\0", 1), "not JSON: "},
      {std::string(100'000, '['), "not JSON: "},
      {"[1]", "no JSON object"},
      {"7", "no JSON object"},
      {"{}", "received_at is missing"},
      {"{\"received_at\":1}", "object_ids is missing"},
      {"{\"received_at\":\"1\",\"object_ids\":[1]}", "received_at is no time"},
      {"{\"received_at\":-1,\"object_ids\":[1]}", "received_at is no time"},
      {"{\"received_at\":9223372036854775807,\"object_ids\":[1]}", "received_at is no time"},
      {"{\"received_at\":1.0,\"object_ids\":[1]}", "received_at is no time"},
      {"{\"received_at\":1,\"object_ids\":7}", "object_ids is no array"},
      {"{\"received_at\":1,\"object_ids\":[1,2,3,\"4\"]}", "object_ids[3] is no 64-bit integer"},
      {"{\"received_at\":1,\"object_ids\":[1.0]}", "object_ids[0] is no 64-bit integer"},
      {"{\"received_at\":1,\"object_ids\":[true]}", "object_ids[0] is no 64-bit integer"},
      {"{\"received_at\":1,\"object_ids\":[null]}", "object_ids[0] is no 64-bit integer"},
      {"{\"received_at\":1,\"object_ids\":[1,9223372036854775808]}",
       "object_ids[1] is no 64-bit integer"},
      {"{\"received_at\":1,\"object_ids\":[1],\"attempt\":0}", "attempt is no integer"},
      {"{\"received_at\":1,\"object_ids\":[1],\"attempt\":4294967297}", "attempt is no integer"},
      {"{\"received_at\":1,\"object_ids\":[1],\"not_before\":null}", "not_before is no time"},
  };
  const std::string good = encode_callback_line(from_unix_millis(1), std::vector<int64_t>{5});
  CallbackDecoder decoder;
  for (const auto& [line, reason] : bad_lines) {
    const auto result = decoder.decode(good + line + "\n" + good);
    EXPECT_EQ(result.lines.size(), 2U) << line.substr(0, 80);
    ASSERT_EQ(result.bad.size(), 1U) << line.substr(0, 80);
    EXPECT_EQ(result.bad[0].line, line);
    EXPECT_EQ(result.bad[0].reason.substr(0, reason.size()), reason) << line.substr(0, 80);
  }
}

TEST(CallbackMessage, EveryPrefixOfAMessageIsDecodedOrBad) {
  const std::string body = encode_callback_line(from_unix_millis(1), std::vector<int64_t>{5, 6}) +
                           encode_retry_line(from_unix_millis(2), 7, 1, from_unix_millis(3));
  CallbackDecoder decoder;
  for (size_t size = 0; size <= body.size(); ++size) {
    const auto result = decoder.decode(std::string_view(body).substr(0, size));
    const bool first = size > 0;
    const bool second = size > body.find('\n') + 1;
    EXPECT_EQ(result.lines.size() + result.bad.size(), size_t{first} + size_t{second}) << size;
  }
}

TEST(CallbackMessage, DecodesManyLinesAndOneLargeLine) {
  std::vector<int64_t> ids(10'000);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = kMost - static_cast<int64_t>(i);
  std::string body;
  for (int i = 0; i < 100; ++i) body += encode_callback_line(from_unix_millis(i), {});
  body += encode_callback_line(from_unix_millis(100), ids);
  CallbackDecoder decoder;
  const auto result = decoder.decode(body);
  EXPECT_TRUE(result.bad.empty());
  ASSERT_EQ(result.lines.size(), 101U);
  EXPECT_EQ(result.lines.back().object_ids, ids);
}

}  // namespace
}  // namespace postoffice
