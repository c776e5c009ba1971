#include "base/http_framing.h"

#include <gtest/gtest.h>

namespace postoffice {
namespace {

using Progress = HttpFraming::Progress;
constexpr size_t kMaxBody = 100;

// Head and body of the first request in `bytes`, fed `step` bytes at a time; "refused <status>" or
// "more" when there is none.
std::string framed(const std::string& bytes, size_t step = std::string::npos) {
  HttpFraming framing(kMaxBody);
  std::string input;
  for (size_t at = 0; at < bytes.size();) {
    const size_t count = std::min(step, bytes.size() - at);
    input += bytes.substr(at, count);
    at += count;
    switch (framing.advance(input)) {
      case Progress::kMore:
        break;
      case Progress::kRefused:
        EXPECT_FALSE(framing.refusal().detail.empty());
        return "refused " + std::to_string(framing.refusal().status);
      case Progress::kComplete:
        input += bytes.substr(at);
        return input.substr(framing.head_bytes(), framing.body_bytes()) + "|" +
               input.substr(framing.head_bytes() + framing.body_bytes());
    }
  }
  return "more";
}

std::string post(const std::string& headers, const std::string& body) {
  return "POST /x HTTP/1.1\r\nHost: h\r\n" + headers + "\r\n" + body;
}

TEST(HttpFraming, FindsTheEndWhateverThePieces) {
  const std::string with_length = post("Content-Length: 3\r\n", "abcGET / HTTP/1.1\r\n");
  const std::string chunked =
      post("Transfer-Encoding: chunked\r\n",
           "2;x=y\r\nab\r\n001\r\nc\r\n0\r\nT: t\r\n\r\nGET / HTTP/1.1\r\n");
  for (size_t step = 1; step < 80; ++step) {
    EXPECT_EQ(framed(with_length, step), "abc|GET / HTTP/1.1\r\n") << step;
    EXPECT_EQ(framed(chunked, step), "abc|GET / HTTP/1.1\r\n") << step;
    EXPECT_EQ(framed("\r\n\r\nGET / HTTP/1.1\r\n\r\nmore", step), "|more") << step;
  }
}

TEST(HttpFraming, WaitsForWhatIsMissing) {
  EXPECT_EQ(framed("GET / HTTP/1.1\r\n"), "more");
  EXPECT_EQ(framed("GET / HTTP/1.1\r\n\r"), "more");
  EXPECT_EQ(framed(post("Content-Length: 3\r\n", "ab")), "more");
  EXPECT_EQ(framed(post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\n")), "more");
}

TEST(HttpFraming, ARequestWithoutLengthHasNoBody) {
  EXPECT_EQ(framed(post("", "abc")), "|abc");
  EXPECT_EQ(framed("GET / HTTP/1.0\r\n\r\n"), "|");
}

TEST(HttpFraming, RefusesWhatTwoReadersCouldReadDifferently) {
  EXPECT_EQ(framed("GET / HTTP/1.1\n\n"), "refused 400");
  EXPECT_EQ(framed("GET / HTTP/1.1\r\nA: b\n\r\n"), "refused 400");
  EXPECT_EQ(framed("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n"), "refused 400");
  EXPECT_EQ(framed(std::string("GET / HTTP/1.1\r\nA: b\0\r\n\r\n", 25)), "refused 400");
  EXPECT_EQ(framed(post("Content-Length : 3\r\n", "abc")), "refused 400");
  EXPECT_EQ(framed(post("A: b\r\n c\r\n", "")), "refused 400");
  EXPECT_EQ(framed(post("nothing\r\n", "")), "refused 400");
  for (const char* length : {"", "-1", "+3", "3,3", "0x3", "3 3", "18446744073709551616"}) {
    EXPECT_EQ(framed(post(std::string("Content-Length: ") + length + "\r\n", "abc")), "refused 400")
        << length;
  }
  EXPECT_EQ(framed(post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc")), "refused 400");
  EXPECT_EQ(framed(post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "abc")),
            "refused 400");
  EXPECT_EQ(framed(post("Transfer-Encoding: gzip, chunked\r\n", "")), "refused 501");
  EXPECT_EQ(framed(post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "")),
            "refused 501");
  EXPECT_EQ(framed("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), "refused 400");
  for (const char* chunks :
       {"x\r\n", "-1\r\n", "0x1\r\na\r\n0\r\n\r\n", "\r\n", "1\r\nab\r\n", "1;a\nb\r\na\r\n",
        "1\n\r\n", "1;\r\r\na\r\n", "0\r\nT: a\nb\r\n", "0\r\nnothing\r\n", "0\r\n: x\r\n",
        "0\r\nT : x\r\n", "0\r\n T: x\r\n"}) {
    EXPECT_EQ(framed(post("Transfer-Encoding: chunked\r\n", chunks)), "refused 400") << chunks;
  }
}

TEST(HttpFraming, RefusesWhatIsNoHttp) {
  EXPECT_EQ(framed("hello\r\n\r\n"), "refused 400");
  EXPECT_EQ(framed("GET /\r\n\r\n"), "refused 400");
  EXPECT_EQ(framed("GET / x HTTP/1.1\r\n\r\n"), "refused 400");
  EXPECT_EQ(framed("PRI * HTTP/2.0\r\n\r\n"), "refused 505");
  EXPECT_EQ(framed(std::string("\x16\x03\x01\x02\n", 5)), "refused 400");
}

TEST(HttpFraming, BoundsHeadBodyAndChunkLines) {
  const std::string chunked = "Transfer-Encoding: chunked\r\n";
  EXPECT_EQ(framed(post("Content-Length: 100\r\n", std::string(100, 'a'))),
            std::string(100, 'a') + "|");
  EXPECT_EQ(framed(post("Content-Length: 101\r\n", "")), "refused 413");
  EXPECT_EQ(framed(post(chunked, "60\r\n" + std::string(0x60, 'a') + "\r\n5\r\n")), "refused 413");
  EXPECT_EQ(framed(post(chunked, "ffffffffffffffff\r\n")), "refused 413");
  EXPECT_EQ(framed(post(chunked, "fffffffffffffffff\r\n")), "refused 400");
  EXPECT_EQ(framed(post(chunked, std::string(300, '0'))), "refused 400");
  EXPECT_EQ(framed(post("A: " + std::string(40'000, 'a') + "\r\n", "")), "refused 431");
  EXPECT_EQ(framed("GET /" + std::string(40'000, 'a'), 1000), "refused 431");
  std::string empty_lines;
  for (int i = 0; i < 20'000; ++i) empty_lines += "\r\n";
  EXPECT_EQ(framed(empty_lines), "refused 431");
  EXPECT_EQ(framed(empty_lines, 7), "refused 431");
  EXPECT_EQ(framed(empty_lines.substr(0, 20'000) + post("Content-Length: 1\r\n", "x")), "x|");
  std::string trailers;
  for (int i = 0; i < 5000; ++i) trailers += "Trailer: x\r\n";
  EXPECT_EQ(framed(post(chunked, "0\r\n" + trailers)), "refused 431");
}

TEST(HttpFraming, HidesRange) {
  HttpFraming framing(kMaxBody);
  std::string input =
      "GET /Range: HTTP/1.1\r\nRange: x\r\nIf-Range: y\r\nrange:\r\nRanges: z\r\n\r\nRange: ";
  EXPECT_EQ(framing.advance(input), Progress::kComplete);
  EXPECT_EQ(input,
            "GET /Range: HTTP/1.1\r\n-----: x\r\nIf-Range: y\r\n-----:\r\nRanges: z\r\n\r\n"
            "Range: ");
}

TEST(HttpFraming, RefusesContentEncoding) {
  EXPECT_EQ(framed(post("Content-Encoding: gzip\r\nContent-Length: 1\r\n", "x")), "refused 415");
  EXPECT_EQ(framed(post("Content-Encoding: identity\r\nContent-Length: 1\r\n", "x")), "x|");
}

bool keeps_alive(const std::string& version, const std::string& headers) {
  HttpFraming framing(kMaxBody);
  std::string input = "GET / " + version + "\r\n" + headers + "\r\n";
  EXPECT_EQ(framing.advance(input), Progress::kComplete);
  return framing.keep_alive();
}

TEST(HttpFraming, KeepAliveFollowsVersionAndConnection) {
  EXPECT_TRUE(keeps_alive("HTTP/1.1", ""));
  EXPECT_FALSE(keeps_alive("HTTP/1.1", "Connection: upgrade, Close\r\n"));
  EXPECT_FALSE(keeps_alive("HTTP/1.1", "connection: close\r\nconnection: keep-alive\r\n"));
  EXPECT_FALSE(keeps_alive("HTTP/1.0", ""));
  EXPECT_TRUE(keeps_alive("HTTP/1.0", "Connection: keep-alive\r\n"));
}

TEST(HttpFraming, SaysWhenTheClientWaitsForContinue) {
  HttpFraming framing(kMaxBody);
  std::string input = post("Expect: 100-Continue\r\nContent-Length: 3\r\n", "");
  EXPECT_EQ(framing.advance(input), Progress::kMore);
  EXPECT_TRUE(framing.expects_continue());
  input += "abc";
  EXPECT_EQ(framing.advance(input), Progress::kComplete);
  framing.reset();
  EXPECT_FALSE(framing.expects_continue());
}

}  // namespace
}  // namespace postoffice
