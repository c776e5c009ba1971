#include "broker/amqp_url.h"

#include <gtest/gtest.h>

namespace postoffice {
namespace {

std::vector<AmqpUrl> parsed(std::string_view text) {
  std::string wanted;
  const auto urls = parse_amqp_urls(text, wanted);
  EXPECT_TRUE(urls) << text;
  return urls.value_or(std::vector<AmqpUrl>(1));
}

TEST(AmqpUrl, MissingPartsHaveDefaults) {
  const auto url = parsed("amqp://broker").front();
  EXPECT_EQ(url.host, "broker");
  EXPECT_EQ(url.port, 5672);
  EXPECT_EQ(url.user, "guest");
  EXPECT_EQ(url.password, "guest");
  EXPECT_EQ(url.vhost, "/");
}

TEST(AmqpUrl, PartsArePercentDecoded) {
  const auto url = parsed("amqp://us%40er:p%2Ca%3ass@[::1]:5673/v%2fh").front();
  EXPECT_EQ(url.host, "::1");
  EXPECT_EQ(url.port, 5673);
  EXPECT_EQ(url.user, "us@er");
  EXPECT_EQ(url.password, "p,a:ss");
  EXPECT_EQ(url.vhost, "v/h");
}

TEST(AmqpUrl, TheDefaultVhostHasSeveralSpellings) {
  for (const char* text : {"amqp://h", "amqp://h/", "amqp://h/%2f", "amqp://h/%2F"})
    EXPECT_EQ(parsed(text).front().vhost, "/") << text;
}

TEST(AmqpUrl, SeveralAreSeparatedByCommas) {
  const auto urls = parsed("amqp://a:1, amqp://b:2/x ,amqp://c");
  ASSERT_EQ(urls.size(), 3U);
  EXPECT_EQ(urls[0].address(), "a:1/");
  EXPECT_EQ(urls[1].address(), "b:2/x");
  EXPECT_EQ(urls[2].address(), "c:5672/");
}

TEST(AmqpUrl, AddressHidesTheCredentials) {
  EXPECT_EQ(parsed("amqp://user:hunter2@[::1]:5673/prod").front().address(), "[::1]:5673/prod");
}

TEST(AmqpUrl, MalformedTextIsRefusedWithWhatIsRight) {
  for (const char* text :
       {"", "localhost", "http://h", "amqps://h", "amqp://", "amqp://h:0", "amqp://h:99999",
        "amqp://h/a/b", "amqp://h/%zz", "amqp://h/v?heartbeat=5", "amqp://h#x", "amqp://a,",
        ",amqp://a", "amqp://a,,amqp://b", "amqp://u%00x@h", "amqp://h/%00"}) {
    std::string wanted;
    EXPECT_FALSE(parse_amqp_urls(text, wanted)) << text;
    EXPECT_NE(wanted.find("amqp://"), std::string::npos);
  }
}

}  // namespace
}  // namespace postoffice
