#include "server/callback_request.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace postoffice {
namespace {

using Ids = std::vector<int64_t>;

class CallbackRequestTest : public testing::Test {
 protected:
  Ids accepted(const std::string& body) {
    Ids ids;
    const auto refusal = parser_.parse(body, 5, ids);
    EXPECT_FALSE(refusal) << body << ": " << refusal->detail;
    return ids;
  }
  std::string refused(const std::string& body, int status = 400) {
    Ids ids;
    const auto refusal = parser_.parse(body, 5, ids);
    EXPECT_TRUE(refusal) << body;
    if (!refusal) return "";
    EXPECT_EQ(refusal->status, status) << body << ": " << refusal->detail;
    return refusal->detail;
  }

  CallbackRequestParser parser_;
};

TEST_F(CallbackRequestTest, TakesIntegersInTheirOrder) {
  EXPECT_EQ(accepted(R"({"object_ids":[3,1,3,-2]})"), (Ids{3, 1, 3, -2}));
  EXPECT_EQ(accepted(" {\n\"object_ids\" : [ 9223372036854775807 , -9223372036854775808 ] } \n"),
            (Ids{std::numeric_limits<int64_t>::max(), std::numeric_limits<int64_t>::min()}));
  EXPECT_EQ(accepted(R"({"object_ids":[]})"), Ids{});
  EXPECT_EQ(accepted(R"({"object_ids":[-0]})"), Ids{0});
}

TEST_F(CallbackRequestTest, IgnoresOtherMembers) {
  EXPECT_EQ(accepted(R"({"x":[1.5,{"object_ids":"no"}],"object_ids":[1],"y":null,"x":"ü"})"),
            Ids{1});
  EXPECT_EQ(accepted(R"({"object\u005fids":[1]})"), Ids{1});
}

TEST_F(CallbackRequestTest, NamesTheIdThatIsWrong) {
  const auto expect = [&](const std::string& value, const std::string& shown) {
    EXPECT_EQ(refused("{\"object_ids\":[1,2," + value + ",4]}"),
              "object_ids[2] must be a 64-bit integer, not " + shown);
  };
  expect("\"x\"", "\"x\"");
  expect("\"1\"", "\"1\"");
  expect("true", "true");
  expect("null", "null");
  expect("1.0", "1.0");
  expect("[3]", "an array");
  expect("{}", "an object");
  expect("9223372036854775808", "9223372036854775808");
  expect("18446744073709551616", "18446744073709551616");
  expect("-9223372036854775809", "-9223372036854775809");
  expect("1e999", "1e999");
  EXPECT_TRUE(refused(R"({"object_ids":[1e3]})").starts_with("object_ids[0] must be"));
  EXPECT_LE(refused("{\"object_ids\":[\"" + std::string(100'000, 'x') + "\"]}").size(), 200u);
}

TEST_F(CallbackRequestTest, SaysWhatTheBodyMustBe) {
  EXPECT_NE(refused("[1]").find("must be an object like"), std::string::npos);
  EXPECT_NE(refused("7").find("not 7"), std::string::npos);
  EXPECT_NE(refused("{}").find("object_ids is missing"), std::string::npos);
  EXPECT_NE(refused(R"({"Object_ids":[1]})").find("object_ids is missing"), std::string::npos);
  EXPECT_NE(refused(R"({"object_ids":null})").find("not null"), std::string::npos);
  EXPECT_NE(refused(R"({"object_ids":{"0":1}})").find("not an object"), std::string::npos);
  EXPECT_EQ(refused(R"({"object_ids":[1],"object_ids":[2]})"), "object_ids must be given once");
}

TEST_F(CallbackRequestTest, RefusesWhatIsNoJson) {
  for (const std::string body :
       {"", " ", "{", "{\"object_ids\":[1,2", "{\"object_ids\":[1,]}", "{\"object_ids\":[01]}",
        "{\"object_ids\":[1]}x", "{\"object_ids\":[1]}{}", "{'object_ids':[1]}",
        "{\"object_ids\":[1],}", "{\"object_ids\":[+1]}", "{\"object_ids\":[NaN]}",
        "{\"x\":\"\xff\",\"object_ids\":[1]}", "{\"x\":nope,\"object_ids\":[1]}",
        "{\"x\":1e999,\"object_ids\":[1]}", "{\"x\":\"\n\",\"object_ids\":[1]}",
        "\xEF\xBB\xBF{\"object_ids\":[1]}", "object_ids=1"}) {
    EXPECT_FALSE(refused(body).empty()) << body;
  }
  EXPECT_FALSE(refused(std::string("{\"object_ids\":[1]}\0", 19)).empty());
  EXPECT_FALSE(refused(std::string(100'000, '[')).empty());
  EXPECT_FALSE(
      refused("{\"x\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}").empty());
}

TEST_F(CallbackRequestTest, TooManyIdsNameTheSetting) {
  EXPECT_EQ(accepted(R"({"object_ids":[1,2,3,4,5]})").size(), 5u);
  EXPECT_EQ(refused(R"({"object_ids":[1,2,3,4,5,6]})", 413),
            "object_ids has 6 ids and may have 5 (MAX_CALLBACK_IDS): split the callback");
}

TEST_F(CallbackRequestTest, NothingCrashesIt) {
  std::minstd_rand random(42);
  const std::string sound = R"({"object_ids":[1,-2,3],"x":{"y":[1.5e3,"a\n",null,true]}})";
  for (int i = 0; i < 20'000; ++i) {
    std::string body = sound;
    for (int change = 0; change < 3; ++change) {
      const size_t at = random() % body.size();
      if (random() % 2 == 0) {
        body[at] = static_cast<char>(random());
      } else {
        body.erase(at, random() % 4);
      }
      if (body.empty()) break;
    }
    Ids ids;
    const auto refusal = parser_.parse(body, 5, ids);
    EXPECT_TRUE(!refusal || !refusal->detail.empty());
  }
}

}  // namespace
}  // namespace postoffice
