#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/e2e/pipeline.h"

namespace postoffice::e2e {
namespace {

const std::string kPostoffice = std::string(POSTOFFICE_BIN_DIR) + "/postoffice";

class CommandLine : public testing::Test {
 protected:
  CommandLine()
      : folder_(std::filesystem::temp_directory_path() /
                ("postoffice-cli-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~CommandLine() override { std::filesystem::remove_all(folder_); }

  struct Result {
    std::optional<int> status;
    std::string output;
  };
  Result run_with(std::vector<std::string> arguments,
                  const Process::Environment& environment = {}) {
    arguments.insert(arguments.begin(), kPostoffice);
    Process process(arguments, environment, folder_, "postoffice");
    const auto status = process.wait(Seconds(20));
    return {status, process.output()};
  }

  std::string folder_;
};

size_t lines_of(const std::string& text) {
  return static_cast<size_t>(std::ranges::count(text, '\n'));
}

class BadFetchThreads : public CommandLine,
                        public testing::WithParamInterface<std::vector<std::string>> {};

TEST_P(BadFetchThreads, ExitWithTwoAndOneLineThatSaysWhatIsRight) {
  std::vector<std::string> arguments = {"worker"};
  arguments.insert(arguments.end(), GetParam().begin(), GetParam().end());
  const auto result = run_with(arguments);
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(lines_of(result.output), 1u) << result.output;
  EXPECT_NE(result.output.find("whole number, 1 to"), std::string::npos) << result.output;
}

INSTANTIATE_TEST_SUITE_P(All, BadFetchThreads,
                         testing::Values(std::vector<std::string>{}, std::vector<std::string>{"0"},
                                         std::vector<std::string>{"-1"},
                                         std::vector<std::string>{"abc"},
                                         std::vector<std::string>{"1000000000"},
                                         std::vector<std::string>{"2.5"},
                                         std::vector<std::string>{"99999999999999999999"}));

TEST_F(CommandLine, MoreFetchThreadsThanOpenFilesIsRefusedWithWhatToDo) {
  const auto result = run_with({"worker", "99999"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.output.find("ulimit -n"), std::string::npos) << result.output;
}

TEST_F(CommandLine, ListsAllMistakesAtOnce) {
  const auto result = run_with({"serve", "--server-port=0", "--no-such-flag", "extra"},
                               {{"OBJECT_TTL", "soon"},
                                {"AMQP_URL", "http://x"},
                                {"DATABASE_URL", "mysql://u:pw@h/d"},
                                {"MAX_CALLBACK_BYTES", "16MiB"},  // More than some RabbitMQ takes.
                                {"BROKER_HOST", "mailhost"},
                                {"BROKER_VHOSTS", "a,,b"},
                                {"OBJECTS_URL", "http://h/objects?k=1"},
                                {"CONFIRM_DEADLINE", "5s"},
                                {"BROKER_USER", "partner"}});
  EXPECT_EQ(result.status, 2);
  for (const char* name : {"--server-port", "--no-such-flag", "extra", "OBJECT_TTL", "AMQP_URL",
                           "DATABASE_URL", "MAX_CALLBACK_BYTES", "BROKER_HOST", "BROKER_VHOSTS",
                           "BROKER_PASSWORD", "OBJECTS_URL", "CONFIRM_DEADLINE"}) {
    EXPECT_NE(result.output.find(name), std::string::npos) << name << "\n" << result.output;
  }
  EXPECT_EQ(lines_of(result.output), 12u) << result.output;
}

TEST_F(CommandLine, AFlagWithoutItsValueHidesNoOtherMistake) {
  const auto result = run_with({"worker", "200", "extra", "--no-such-flag", "--log-level"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.output.find("--log-level needs a value: one of debug info warn error\n"),
            std::string::npos)
      << result.output;
  EXPECT_EQ(lines_of(result.output), 3u) << result.output;
}

TEST_F(CommandLine, UnknownSubcommandsAreRefused) {
  EXPECT_EQ(run_with({"server"}).status, 2);
  EXPECT_EQ(run_with({}).status, 2);
  EXPECT_EQ(run_with({"--help"}).status, 0);
  EXPECT_EQ(run_with({"serve", "--help"}).status, 0);
  EXPECT_EQ(run_with({"--version"}).status, 0);
}

TEST_F(CommandLine, TheEnvFileInTheFolderIsRead) {
  std::ofstream(folder_ + "/.env") << "SERVER_PORT=notaport\nUNKNOWN_THING=1\n";
  const auto result = run_with({"serve"});
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.output.find(".env line 1"), std::string::npos) << result.output;
  EXPECT_NE(result.output.find(".env line 2"), std::string::npos) << result.output;
}

TEST_F(CommandLine, TheExampleEnvIsTheOneInTheRepository) {
  std::ifstream file(std::string(POSTOFFICE_SOURCE_DIR) + "/.example.env");
  const std::string committed{std::istreambuf_iterator<char>(file), {}};
  EXPECT_EQ(run_with({"--example-env"}).output, committed)
      << "run: postoffice --example-env > .example.env";
}

TEST_F(CommandLine, PasswordsAppearNowhere) {
  const std::string secret = "hunter2";
  const auto dead_port = std::to_string(free_port());
  const Process::Environment environment = {
      {"AMQP_URL", "amqp://user:" + secret + "@127.0.0.1:" + dead_port + "/"},
      {"DATABASE_URL", "postgres://user:" + secret + "@127.0.0.1:" + dead_port + "/db"},
      {"OBJECTS_URL", "http://user:" + secret + "@127.0.0.1:" + dead_port + "/objects"},
      {"SERVER_PORT", std::to_string(free_port())},
      {"LOG_LEVEL", "debug"}};
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{kPostoffice, "serve"}, {kPostoffice, "worker", "2"}}) {
    Process process(arguments, environment, folder_, "secretive");
    EXPECT_TRUE(eventually(Seconds(20), [&] {
      return process.output().find("cannot connect") != std::string::npos;
    })) << process.output();
    EXPECT_EQ(process.stop(), 0);
    EXPECT_EQ(process.output().find(secret), std::string::npos) << process.output();
  }
  const auto migrate = run_with({"migrate"}, environment);
  EXPECT_EQ(migrate.status, 1);
  EXPECT_EQ(migrate.output.find(secret), std::string::npos) << migrate.output;
  EXPECT_EQ(lines_of(migrate.output), 2u) << migrate.output;
  const std::string url = "amqp://user:" + secret + "@h/x";
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"serve", "--databse-url", url},
        {"worker", url},
        {"worker", "2", "user:" + secret + "@h"},
        {url},
        {"worker", "2", "--objects-url", url},
        {"worker", "2", "--objects-url", "user:" + secret + "@h"}}) {
    const auto refused = run_with(arguments);
    EXPECT_EQ(refused.status, 2);
    EXPECT_EQ(refused.output.find(secret), std::string::npos) << refused.output;
  }
}

TEST_F(CommandLine, MigrateIsIdempotentAndListsItsStatus) {
  Pipeline pipeline;
  const auto migrate = [&](std::vector<std::string> arguments) {
    return run_with(std::move(arguments), pipeline.settings);
  };
  EXPECT_NE(migrate({"migrate", "--status"}).output.find("pending"), std::string::npos);
  EXPECT_EQ(migrate({"migrate"}).status, 0);
  EXPECT_EQ(migrate({"migrate"}).status, 0);
  const auto status = migrate({"migrate", "--status"});
  EXPECT_EQ(status.output.find("pending"), std::string::npos) << status.output;
  EXPECT_NE(status.output.find("applied"), std::string::npos) << status.output;
}

TEST_F(CommandLine, MigrateSaysWhichDatabase) {
  const std::string database =
      "migrate: SQLite at " + (std::filesystem::canonical(folder_) / "here/postoffice.db").string();
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"migrate"}, {"migrate", "--status"}}) {
    const auto result = run_with(arguments, {{"DATA_DIR", "./here"}});
    EXPECT_EQ(result.status, 0) << result.output;
    EXPECT_NE(result.output.find(database), std::string::npos) << result.output;
  }
}

TEST_F(CommandLine, ADataDirThatCannotBeMadeIsRefusedByName) {
  std::ofstream(folder_ + "/file") << "no folder";
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"serve"}, {"worker", "2"}}) {
    const auto result = run_with(arguments, {{"DATA_DIR", "file/data"}});
    EXPECT_EQ(result.status, 2);
    EXPECT_EQ(result.output, "postoffice: DATA_DIR file/data cannot be created: Not a directory\n");
  }
}

TEST_F(CommandLine, AWorkerWithoutServeSaysThatItIsMissing) {
  Process worker({kPostoffice, "worker", "2"}, {{"BROKER_PORT", std::to_string(free_port())}},
                 folder_, "alone");
  EXPECT_TRUE(eventually(Seconds(20), [&] {
    return worker.output().find("is serve running?") != std::string::npos;
  })) << worker.output();
  EXPECT_EQ(worker.stop(), 0);
  EXPECT_EQ(worker.output().find("RabbitMQ"), std::string::npos) << worker.output();
}

TEST_F(CommandLine, OneLineAtTheStartSaysWhatItIsConnectedTo) {
  Pipeline pipeline;
  pipeline.migrate();
  pipeline.start_server();
  pipeline.start_worker(2);
  for (const auto* process : {pipeline.server().process.get(), &pipeline.worker()}) {
    const std::string output = process->output();
    const std::string first = output.substr(0, output.find('\n'));
    EXPECT_NE(first.find("broker 127.0.0.1:"), std::string::npos) << first;
    EXPECT_NE(first.find("PostgreSQL at 127.0.0.1:"), std::string::npos) << first;
  }
}

// With nothing set but the broker, the database is a SQLite file, which serve and worker set up by
// themselves.
TEST_F(CommandLine, SqliteIsTheDefaultDatabase) {
  Pipeline pipeline;
  pipeline.settings.erase("DATABASE_URL");
  pipeline.start_objects({"--latency-min=1ms", "--latency-max=5ms"});
  auto& server = pipeline.start_server();
  pipeline.start_worker(5, {{"DATA_DIR", server.data_dir}});
  ASSERT_EQ(pipeline.post_ids({1, 2, 3}), 202);
  EXPECT_TRUE(eventually(Seconds(20), [&] {
    return make_store_factory("", server.data_dir, "test")()
               ->list(std::nullopt, std::nullopt, 10)
               .size() == 3;
  }));
}

}  // namespace
}  // namespace postoffice::e2e
