#include "base/url.h"

#include <gtest/gtest.h>

namespace postoffice {
namespace {

TEST(Url, SplitsIntoItsParts) {
  const auto url = parse_url("amqp://us%40er:p%3ass@[::1]:5673/%2f?x=1");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->scheme, "amqp");
  EXPECT_EQ(url->user, "us@er");
  EXPECT_EQ(url->password, "p:ss");
  EXPECT_EQ(url->host, "::1");
  EXPECT_EQ(url->port, 5673);
  EXPECT_EQ(url->path, "/%2f?x=1");
}

TEST(Url, PartsMayBeMissing) {
  const auto url = parse_url("http://host");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->host, "host");
  EXPECT_EQ(url->port, std::nullopt);
  EXPECT_EQ(url->path, "");
  EXPECT_EQ(url->user, "");
}

TEST(Url, MalformedTextIsNoUrl) {
  for (const char* text : {"", "host", "://host", "1http://host", "http://", "http://host:",
                           "http://host:0", "http://host:65536", "http://host:8x", "http://[::1",
                           "http://[::1]x", "http://u%4@h", "http://u%zz@h", "http://:80"}) {
    EXPECT_FALSE(parse_url(text)) << text;
  }
}

TEST(Url, PercentDecodesOnlyWholeEscapes) {
  EXPECT_EQ(percent_decode("a%2fb%41"), "a/bA");
  EXPECT_FALSE(percent_decode("%"));
  EXPECT_FALSE(percent_decode("a%4"));
  EXPECT_FALSE(percent_decode("%-1"));
}

TEST(MaskPasswords, HidesThemWhereverTheyStand) {
  EXPECT_EQ(mask_passwords("amqp://guest:hunter2@h:5672/,amqp://u:p@ss@h2"),
            "amqp://guest:***@h:5672/,amqp://u:***@h2");
  EXPECT_EQ(mask_passwords("host=x password=hunter2 user=y"), "host=x password=*** user=y");
  EXPECT_EQ(mask_passwords("host=x PASSWORD = 'hun ter\\'2' user=y"),
            "host=x PASSWORD = *** user=y");
  EXPECT_EQ(mask_passwords("http://host:80/path"), "http://host:80/path");
}

TEST(MaskPasswords, HidesThoseThatHoldWhatSeparates) {
  EXPECT_EQ(mask_passwords("http://u:hun,ter2@h/"), "http://u:***@h/");
  EXPECT_EQ(mask_passwords("http://me@corp:hunter2@h/"), "http://me@corp:***@h/");
  EXPECT_EQ(mask_passwords("amqp://u:hunter2@h1:5672,amqp://h2:5672,amqp://u:hunter2@h3"),
            "amqp://u:***@h1:5672,amqp://h2:5672,amqp://u:***@h3");
}

TEST(QuoteMasked, ShowsNothingWhereThePasswordIsNotClear) {
  EXPECT_EQ(quote_masked("localhost:9010"), "\"localhost:9010\"");
  EXPECT_EQ(quote_masked("https://u:hunter2@h/objects"), "\"https://u:***@h/objects\"");
  for (const char* text : {"u:hunter2@h", "http:/u:hunter2@h", "http://u:hun/ter2@h/objects",
                           "http://u:hun ter2@h", "http://u:hun@x/ter2@h"}) {
    EXPECT_EQ(quote_masked(text), "\"***\"") << text;
  }
}

}  // namespace
}  // namespace postoffice
