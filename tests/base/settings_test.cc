#include "base/settings.h"

#include <gtest/gtest.h>

namespace postoffice {
namespace {

struct Values {
  uint16_t port = 0;
  std::optional<uint16_t> extra_port;
  std::string url;
  std::string secret;
  uint64_t size_bytes = 0;
  uint64_t body_bytes = 0;
  Millis ttl{};
  int64_t threads = 0;
  std::string level;
};

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() {
    settings_.declare({"SERVER_PORT", "9090", "The port.", to_port(&values_.port)});
    settings_.declare({"WORKER_PORT", "", "Another.", to_optional_port(&values_.extra_port)});
    settings_.declare(
        {"OBJECTS_URL", "http://localhost:9010/objects", "Objects.", to_http_url(&values_.url)});
    settings_.declare({"DATABASE_URL", "", "Secret.",
                       [this](std::string_view text) -> std::optional<std::string> {
                         values_.secret = text;
                         if (text == "bad:hunter2") return "a database URL";
                         return std::nullopt;
                       },
                       /*secret=*/true});
    settings_.declare({"MAX_BYTES", "1MiB", "Size.", to_size_bytes(&values_.size_bytes, 64)});
    settings_.declare({"MAX_BODY", "1KiB", "Size.", to_size_bytes(&values_.body_bytes, 64, 1024)});
    settings_.declare(
        {"OBJECT_TTL", "30s", "TTL.", to_duration(&values_.ttl, Millis(1000), Millis(3'600'000))});
    settings_.declare({"HTTP_THREADS", "64", "Threads.", to_integer(&values_.threads, 1, 100)});
    settings_.declare(
        {"LOG_LEVEL", "info", "Level.", to_choice(&values_.level, {"debug", "info"})});
  }

  std::vector<std::string> resolve(Settings::Sources sources) {
    mistakes_.clear();
    return settings_.resolve(sources, mistakes_);
  }

  Values values_;
  Settings settings_;
  std::vector<std::string> mistakes_;
};

using testing::Test;

TEST_F(SettingsTest, DefaultsHoldWhenNothingIsGiven) {
  resolve({});
  EXPECT_TRUE(mistakes_.empty());
  EXPECT_EQ(values_.port, 9090);
  EXPECT_EQ(values_.extra_port, std::nullopt);
  EXPECT_EQ(values_.size_bytes, 1u << 20);
  EXPECT_EQ(values_.body_bytes, 1024u);
  EXPECT_EQ(values_.ttl, Millis(30'000));
  EXPECT_EQ(values_.url, "http://localhost:9010/objects");
}

TEST_F(SettingsTest, FlagsWinOverEnvironmentOverEnvFile) {
  resolve({.arguments = {"--server-port=1"},
           .environment = {{"SERVER_PORT", "2"}, {"HTTP_THREADS", "20"}},
           .env_file = "SERVER_PORT=3\nHTTP_THREADS=30\nexport OBJECT_TTL=\"5m\"\n# comment\n\n",
           .foreign_env_names = {}});
  EXPECT_TRUE(mistakes_.empty());
  EXPECT_EQ(values_.port, 1);
  EXPECT_EQ(values_.threads, 20);
  EXPECT_EQ(values_.ttl, Millis(300'000));
}

TEST_F(SettingsTest, AFlagTakesItsValueFromTheNextArgumentToo) {
  const auto positional = resolve({.arguments = {"200", "--server-port", "77", "-1"},
                                   .environment = {},
                                   .env_file = {},
                                   .foreign_env_names = {}});
  EXPECT_EQ(values_.port, 77);
  EXPECT_EQ(positional, (std::vector<std::string>{"200", "-1"}));
}

TEST_F(SettingsTest, ListsEveryMistakeAtOnceWithWhatWouldBeRight) {
  resolve({.arguments = {"--server-port=0", "--sever-port=5", "--log-level=loud"},
           .environment = {{"OBJECT_TTL", "30"}, {"MAX_BYTES", "1"}, {"MAX_BODY", "2KiB"}},
           .env_file = "OBJECTS_ULR=x\nnonsense\nHTTP_THREADS=101\n",
           .foreign_env_names = {}});
  EXPECT_EQ(
      mistakes_,
      (std::vector<std::string>{
          ".env line 1: unknown setting OBJECTS_ULR; did you mean OBJECTS_URL?",
          ".env line 2: must be NAME=value",
          "unknown flag --sever-port; did you mean --server-port?",
          "--server-port must be a port, 1 to 65535, not \"0\"",
          "MAX_BYTES must be a size of at least 64 bytes, like 1048576, 64KiB or 10GiB, not \"1\"",
          "MAX_BODY must be a size of 64 to 1024 bytes, like 1048576 or 64KiB, not \"2KiB\"",
          "OBJECT_TTL must be a duration, 1s to 1h, like 250ms, 30s, 5m or 1h, not \"30\"",
          ".env line 3: HTTP_THREADS must be a whole number, 1 to 100, not \"101\"",
          "--log-level must be one of debug info, not \"loud\"",
      }));
}

TEST_F(SettingsTest, NamesOfOtherProgramsInTheEnvFileAreLeftAlone) {
  resolve({.arguments = {},
           .environment = {},
           .env_file = "POSTGRES_PASSWORD=x\n",
           .foreign_env_names = {"POSTGRES_PASSWORD"}});
  EXPECT_TRUE(mistakes_.empty());
}

TEST_F(SettingsTest, ASecretIsNeverShown) {
  resolve({.arguments = {},
           .environment = {{"DATABASE_URL", "bad:hunter2"}},
           .env_file = {},
           .foreign_env_names = {}});
  EXPECT_EQ(mistakes_, (std::vector<std::string>{"DATABASE_URL must be a database URL"}));
}

TEST_F(SettingsTest, AnEmptyValueIsTheDefault) {
  resolve({.arguments = {},
           .environment = {{"SERVER_PORT", ""}},
           .env_file = {},
           .foreign_env_names = {}});
  EXPECT_TRUE(mistakes_.empty());
  EXPECT_EQ(values_.port, 9090);
}

TEST_F(SettingsTest, APasswordInAUrlIsNeverShown) {
  resolve({.arguments = {"--objects-url", "https://u:hunter2@h/objects",
                         "--objetcs=url:http://u:hunter2@h"},
           .environment = {{"SERVER_PORT", "u:hunter2@h"}},
           .env_file = "OBJECTS_URL: http://u:hunter2@h/?a=b\n",
           .foreign_env_names = {}});
  EXPECT_EQ(mistakes_,
            (std::vector<std::string>{
                ".env line 1: unknown setting OBJECTS_URL: http://u:***@h/?a; --help lists all",
                "unknown flag --objetcs; --help lists all",
                "SERVER_PORT must be a port, 1 to 65535, not \"***\"",
                "--objects-url must be a URL like http://host:9010/objects, not "
                "\"https://u:***@h/objects\""}));
}

TEST_F(SettingsTest, AFlagWithoutItsValueIsAMistakeAndHidesNoOther) {
  const auto positional =
      resolve({.arguments = {"200", "--database-url", "--object-ttl", "--http-threads=0",
                             "--sever-port=5", "extra", "--log-level"},
               .environment = {},
               .env_file = {},
               .foreign_env_names = {}});
  EXPECT_EQ(positional, (std::vector<std::string>{"200", "extra"}));
  EXPECT_EQ(mistakes_,
            (std::vector<std::string>{
                "--database-url needs a value: Secret.",
                "--object-ttl needs a value: a duration, 1s to 1h, like 250ms, 30s, 5m or 1h",
                "--log-level needs a value: one of debug info",
                "unknown flag --sever-port; did you mean --server-port?",
                "--http-threads must be a whole number, 1 to 100, not \"0\"",
            }));
}

TEST_F(SettingsTest, HelpAndExampleEnvNameEverySetting) {
  for (const char* name : {"SERVER_PORT", "WORKER_PORT", "OBJECTS_URL", "DATABASE_URL", "MAX_BYTES",
                           "OBJECT_TTL", "HTTP_THREADS", "LOG_LEVEL"}) {
    EXPECT_NE(settings_.help().find(name), std::string::npos) << name;
    EXPECT_NE(settings_.help().find(Settings::flag_of(name)), std::string::npos) << name;
    EXPECT_NE(settings_.example_env().find(std::string("# ") + name + "="), std::string::npos)
        << name;
  }
}

struct BadNumber {
  const char* name;
  const char* value;
};

class MalformedSetting : public SettingsTest, public testing::WithParamInterface<BadNumber> {};

TEST_P(MalformedSetting, IsRefused) {
  resolve({.arguments = {},
           .environment = {{GetParam().name, GetParam().value}},
           .env_file = {},
           .foreign_env_names = {}});
  EXPECT_EQ(mistakes_.size(), 1u) << GetParam().name << "=" << GetParam().value;
}

INSTANTIATE_TEST_SUITE_P(
    All, MalformedSetting,
    testing::Values(BadNumber{"SERVER_PORT", "65536"}, BadNumber{"SERVER_PORT", "-1"},
                    BadNumber{"SERVER_PORT", "80x"}, BadNumber{"SERVER_PORT", " 80"},
                    BadNumber{"WORKER_PORT", "abc"},
                    BadNumber{"HTTP_THREADS", "99999999999999999999"},
                    BadNumber{"MAX_BYTES", "1KB"}, BadNumber{"MAX_BYTES", "99999999999TiB"},
                    BadNumber{"OBJECT_TTL", "1d"}, BadNumber{"OBJECT_TTL", "9223372036854775807h"},
                    BadNumber{"OBJECTS_URL", "https://x/"},
                    BadNumber{"OBJECTS_URL", "localhost:9010"}));

}  // namespace
}  // namespace postoffice
