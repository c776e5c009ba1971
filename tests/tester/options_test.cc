#include "tester/options.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace postoffice::tester {
namespace {

using std::chrono::nanoseconds;
using testing::ElementsAre;
using testing::HasSubstr;

Options read(std::vector<std::string> arguments,
             std::map<std::string, std::string> environment = {}) {
  return read_options({.arguments = std::move(arguments),
                       .environment = std::move(environment),
                       .env_file = {},
                       .foreign_env_names = {}});
}

std::vector<std::string> mistakes_of(std::vector<std::string> arguments) {
  try {
    read(std::move(arguments));
  } catch (const BadConfig& error) {
    return error.mistakes();
  }
  return {};
}

TEST(Options, AreTheOriginalsByDefault) {
  const Options options = read({});
  EXPECT_EQ(options.objects_host, "localhost");
  EXPECT_EQ(options.objects_port, 9010);
  EXPECT_EQ(options.callback_url, "http://localhost:9090/callback");
  EXPECT_EQ(options.period(), nanoseconds(std::chrono::seconds(5)));
  EXPECT_EQ(options.ids_per_callback, std::make_pair(int64_t{0}, int64_t{199}));
  EXPECT_EQ(options.id_space, 100);
  EXPECT_EQ(options.id_mode, "random");
  EXPECT_EQ(options.timeout, Millis(1000));
  EXPECT_EQ(options.behaviour.latency_min, Millis(300));
  EXPECT_EQ(options.behaviour.latency_max, Millis(4300));
  EXPECT_EQ(options.behaviour.failure_probability(7), 0);
  EXPECT_EQ(options.behaviour.flip_every, Millis(0));
  EXPECT_EQ(options.count, std::nullopt);
  EXPECT_EQ(options.sender_connections(), 1u);
  EXPECT_FALSE(options.resend);
  EXPECT_FALSE(options.exit_when_done);
  EXPECT_TRUE(options.summary);
}

TEST(Options, EveryMistakeIsListed) {
  EXPECT_THAT(
      mistakes_of({"--latncy-min=5ms", "--interval=5", "--objects-port=0", "--failure-kind=200",
                   "--failure-rate=nan", "--fail-ids=7,,8", "--count=-1", "--ids-per-callback=5-1",
                   "--id-space=0", "--id-mode=odd", "--connections=0", "--burst=yes",
                   "--callback-url=ftp://x", "--flip-every=2h", "more"}),
      testing::UnorderedElementsAre(
          HasSubstr("did you mean --latency-min"), HasSubstr("--interval must be"),
          HasSubstr("--objects-port must be"), HasSubstr("--failure-kind must be a status"),
          HasSubstr("--failure-rate must be a number, 0 to 1"), HasSubstr("--fail-ids must be"),
          HasSubstr("--count must be"), HasSubstr("--ids-per-callback must be"),
          HasSubstr("--id-space must be"), HasSubstr("--id-mode must be one of random sequential"),
          HasSubstr("--connections must be"), HasSubstr("--burst must be true or false"),
          HasSubstr("--callback-url must be"), HasSubstr("--flip-every must be"),
          HasSubstr("unexpected argument \"more\"")));
}

TEST(Options, PacesExcludeEachOther) {
  EXPECT_THAT(mistakes_of({"--burst=true", "--rate=5"}), ElementsAre(HasSubstr("BURST and RATE")));
  EXPECT_THAT(mistakes_of({"--rate=5", "--interval=1s"}), ElementsAre(HasSubstr("INTERVAL")));
  EXPECT_THAT(mistakes_of({"--burst=true", "--interval=1s"}), ElementsAre(HasSubstr("INTERVAL")));
}

TEST(Options, LatencyRangeMustNotBeReversed) {
  EXPECT_THAT(mistakes_of({"--latency-max=100ms"}),
              ElementsAre("LATENCY_MIN must be at most LATENCY_MAX, not 300ms with 100ms"));
}

TEST(Options, RateAndBurstSetThePeriod) {
  EXPECT_EQ(read({"--rate=2000"}).period(), nanoseconds(500'000));
  EXPECT_EQ(read({"--rate=0.5"}).period(), nanoseconds(2'000'000'000));
  EXPECT_EQ(read({"--burst=true"}).period(), std::nullopt);
}

TEST(Options, ConnectionsKeepUpTheRateWhenEveryCallbackTimesOut) {
  EXPECT_EQ(read({"--rate=50"}).sender_connections(), 50u);
  EXPECT_EQ(read({"--rate=50", "--timeout=2s"}).sender_connections(), 100u);
  EXPECT_EQ(read({"--rate=5000"}).sender_connections(), 256u);
  EXPECT_EQ(read({"--rate=5000", "--connections=7"}).sender_connections(), 7u);
}

TEST(Options, IdsPerCallbackIsANumberOrARange) {
  EXPECT_EQ(read({"--ids-per-callback=20"}).ids_per_callback,
            std::make_pair(int64_t{20}, int64_t{20}));
  EXPECT_EQ(read({"--ids-per-callback=0-3"}).ids_per_callback,
            std::make_pair(int64_t{0}, int64_t{3}));
}

TEST(Options, FlagWinsOverEnvironment) {
  const Options options =
      read({"--count=3"}, {{"COUNT", "5"}, {"ID_SPACE", "9"}, {"UNRELATED", "x"}});
  EXPECT_EQ(options.count, 3);
  EXPECT_EQ(options.id_space, 9);
}

TEST(Options, CallbackUrlWithoutPathIsTheRoot) {
  EXPECT_EQ(read({"--callback-url=http://host:81"}).callback().path, "/");
  EXPECT_EQ(read({"--callback-url=http://host:81?a=b"}).callback().path, "/?a=b");
  EXPECT_EQ(read({"--callback-url=http://[::1]:81/x"}).callback().host, "::1");
}

TEST(Options, FailIdsAloneFailAlways) {
  const auto behaviour = read({"--fail-ids=9,7"}).behaviour;
  EXPECT_EQ(behaviour.failure_probability(7), 1);
  EXPECT_EQ(behaviour.failure_probability(9), 1);
  EXPECT_EQ(behaviour.failure_probability(8), 0);
}

TEST(ObjectBehaviour, QueryChangesWhatItNames) {
  ObjectBehaviour behaviour;
  std::vector<std::string> mistakes;
  apply_query("failure_kind=429&failure_rate=0.5&fail_ids=7%2C8&retry_after=3", behaviour,
              mistakes);
  EXPECT_THAT(mistakes, ElementsAre());
  EXPECT_EQ(behaviour.failure.text(), "429");
  EXPECT_EQ(behaviour.failure_probability(8), 0.5);
  EXPECT_EQ(behaviour.retry_after_seconds, 3);
  EXPECT_EQ(behaviour.latency_min, Millis(300));
  apply_query("fail_ids=&failure_rate=", behaviour, mistakes);
  EXPECT_THAT(mistakes, ElementsAre());
  EXPECT_EQ(behaviour.failure_probability(7), 0);
  EXPECT_EQ(behaviour.failure_rate, std::nullopt);
}

TEST(ObjectBehaviour, QueryMistakesAreAllListed) {
  ObjectBehaviour behaviour;
  std::vector<std::string> mistakes;
  apply_query("failure_rate=2&failure-kind=500&fail_ids&latency_min=9s&retry_after=%zz", behaviour,
              mistakes);
  EXPECT_THAT(mistakes, ElementsAre("failure_rate must be a number, 0 to 1, not \"2\"",
                                    HasSubstr("unknown setting failure-kind"),
                                    HasSubstr("fail_ids must be given as fail_ids=value"),
                                    HasSubstr("retry_after must be given as"),
                                    HasSubstr("LATENCY_MIN must be at most LATENCY_MAX")));
}

}  // namespace
}  // namespace postoffice::tester
