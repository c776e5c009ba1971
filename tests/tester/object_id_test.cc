#include "tester/object_id.h"

#include <gtest/gtest.h>

namespace postoffice::tester {
namespace {

TEST(ObjectId, ReadsWhatAtoiReads) {
  EXPECT_EQ(parse_object_id("7"), 7);
  EXPECT_EQ(parse_object_id("+7"), 7);
  EXPECT_EQ(parse_object_id("-7"), -7);
  EXPECT_EQ(parse_object_id("-0"), 0);
  EXPECT_EQ(parse_object_id("007"), 7);
  EXPECT_EQ(parse_object_id("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(parse_object_id("-9223372036854775808"), INT64_MIN);
}

TEST(ObjectId, RefusesWhatAtoiRefuses) {
  for (const char* text :
       {"", "+", "-", "+-7", "-+7", "++7", "7x", "x7", "0x7", "1_000", " 7", "7 ", "7.0", "7/",
        "9223372036854775808", "-9223372036854775809", "99999999999999999999999"}) {
    EXPECT_EQ(parse_object_id(text), std::nullopt) << text;
  }
  EXPECT_EQ(parse_object_id(std::string_view("7\0", 2)), std::nullopt);
}

}  // namespace
}  // namespace postoffice::tester
