#include "tester/http_request.h"

#include <gtest/gtest.h>

#include <string>

namespace postoffice::tester {
namespace {

using Outcome = ParsedRequest::Outcome;

int refusal(std::string_view bytes) {
  const auto parsed = parse_http_request(bytes);
  return parsed.outcome == Outcome::kRefused ? parsed.status : 0;
}

TEST(HttpRequest, ParsesLineHeadersAndBody) {
  const std::string bytes =
      "PUT /control?a=b&c HTTP/1.1\r\nHost: x\r\nCONTENT-length:  3 \r\n\r\nabcGET";
  const auto parsed = parse_http_request(bytes);
  ASSERT_EQ(parsed.outcome, Outcome::kComplete);
  EXPECT_EQ(parsed.request.method, "PUT");
  EXPECT_EQ(parsed.request.path, "/control");
  EXPECT_EQ(parsed.request.query, "a=b&c");
  EXPECT_EQ(parsed.request.body, "abc");
  EXPECT_EQ(parsed.size_bytes, bytes.size() - 3);
  EXPECT_TRUE(parsed.request.keep_alive);
}

TEST(HttpRequest, IsIncompleteUntilItsLastByte) {
  const std::string bytes = "\r\nPUT /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(parse_http_request(bytes.substr(0, size)).outcome, Outcome::kIncomplete) << size;
  }
  EXPECT_EQ(parse_http_request(bytes).outcome, Outcome::kComplete);
  EXPECT_EQ(parse_http_request(bytes).size_bytes, bytes.size());
}

TEST(HttpRequest, ConnectionHeaderDecidesOnKeepAlive) {
  const auto keep_alive = [](const std::string& version, const std::string& header) {
    const auto parsed = parse_http_request("GET / HTTP/" + version + "\r\n" + header + "\r\n");
    EXPECT_EQ(parsed.outcome, Outcome::kComplete);
    return parse_http_request("GET / HTTP/" + version + "\r\n" + header + "\r\n")
        .request.keep_alive;
  };
  EXPECT_TRUE(keep_alive("1.1", ""));
  EXPECT_FALSE(keep_alive("1.1", "connection: TE, Close\r\n"));
  EXPECT_FALSE(keep_alive("1.0", ""));
  EXPECT_TRUE(keep_alive("1.0", "Connection: Keep-Alive\r\n"));
}

TEST(HttpRequest, TakesTheAbsoluteForm) {
  const auto parsed = parse_http_request("GET http://host:1/objects/7?x=/ HTTP/1.1\r\n\r\n");
  EXPECT_EQ(parsed.request.path, "/objects/7");
  EXPECT_EQ(parsed.request.query, "x=/");
}

TEST(HttpRequest, RefusesWhatItCannotRead) {
  EXPECT_EQ(refusal("hello\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET /\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/2.0\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET x HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(refusal(" / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\nno colon\r\n\r\n"), 400);
  EXPECT_EQ(refusal("PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), 400);
  EXPECT_EQ(refusal("PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(refusal("PUT / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n"), 413);
  EXPECT_EQ(refusal("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 411);
}

TEST(HttpRequest, AHeadThatNeverEndsIsRefused) {
  EXPECT_EQ(refusal("GET /" + std::string(kMaxHeadBytes, 'x')), 431);
  EXPECT_EQ(refusal("GET /" + std::string(kMaxHeadBytes, 'x') + " HTTP/1.1\r\n\r\n"), 431);
}

}  // namespace
}  // namespace postoffice::tester
