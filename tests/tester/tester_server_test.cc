#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/listening_socket.h"
#include "tests/e2e/process.h"
#include "tests/tester/callback_receiver.h"
#include "tests/tester/eventually.h"
#include "tests/tester/raw_client.h"

namespace postoffice::tester {
namespace {

using e2e::Process;
using nlohmann::json;
using std::chrono::milliseconds;
using testing::HasSubstr;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

ListenAddress loopback(uint16_t port) {
  return {.host = "localhost",
          .port = port,
          .host_setting = "OBJECTS_HOST",
          .port_setting = "OBJECTS_PORT"};
}

// One line of the sent log; the whole line must be one.
struct SentLine {
  int64_t unix_millis = 0;
  int status = 0;
  int64_t latency_us = 0;
  std::string ids;
};

// The real binary.
class TesterServer : public testing::Test {
 protected:
  TesterServer()
      : folder_(std::filesystem::path(testing::TempDir()) / ("tester-" + std::to_string(getpid()))),
        port_(e2e::free_port()) {
    std::filesystem::create_directories(folder_);
  }
  ~TesterServer() override {
    process_.reset();
    std::filesystem::remove_all(folder_);
  }

  void start(std::vector<std::string> flags, const Process::Environment& environment = {}) {
    flags.insert(flags.begin(), {std::string(POSTOFFICE_BIN_DIR) + "/tester_server",
                                 "--objects-port=" + std::to_string(port_)});
    process_ = std::make_unique<Process>(flags, environment, folder_, "tester_server");
  }
  // As start(), and waits until it answers.
  void start_and_wait(std::vector<std::string> flags) {
    start(std::move(flags));
    ASSERT_TRUE(eventually([&] {
      try {
        return RawClient(port_).ask("/control").status == 200;
      } catch (const std::system_error&) {
        return false;
      }
    })) << process_->output();
  }
  std::string log_path() const { return folder_ / "sent.log"; }
  std::vector<SentLine> sent_log() const {
    std::vector<SentLine> sent;
    std::ifstream file(log_path());
    for (std::string text; std::getline(file, text);) {
      EXPECT_FALSE(file.eof()) << "no line end: " << text;
      std::istringstream fields(text);
      SentLine line;
      EXPECT_TRUE(fields >> line.unix_millis >> line.status >> line.latency_us) << text;
      fields >> line.ids;
      sent.push_back(line);
    }
    return sent;
  }
  json stats() const { return json::parse(RawClient(port_).ask("/stats").body); }

  const std::filesystem::path folder_;
  const uint16_t port_;
  std::unique_ptr<Process> process_;
};

TEST_F(TesterServer, ListsEveryMistakeAndExits2) {
  start({"--count=many", "--failure-rate=7"}, {{"INTERVAL", "soon"}});
  EXPECT_EQ(process_->wait(e2e::Seconds(30)), 2);
  EXPECT_THAT(process_->output(), HasSubstr("tester_server: --count must be"));
  EXPECT_THAT(process_->output(), HasSubstr("tester_server: --failure-rate must be"));
  EXPECT_THAT(process_->output(), HasSubstr("tester_server: INTERVAL must be"));
}

TEST_F(TesterServer, PortInUseExits2) {
  const auto taken = listen_on(loopback(port_));
  start({"--count=0"});
  EXPECT_EQ(process_->wait(e2e::Seconds(30)), 2);
  EXPECT_THAT(process_->output(), HasSubstr("OBJECTS_PORT " + std::to_string(port_)));
}

TEST_F(TesterServer, DoesNotReadDotEnv) {
  std::ofstream(folder_ / ".env") << "COUNT=nonsense\nSERVER_PORT=1\n";
  start({"--count=0", "--exit-when-done=true"});
  EXPECT_EQ(process_->wait(e2e::Seconds(30)), 0) << process_->output();
}

TEST_F(TesterServer, ExitsWhenDoneWithASummaryAndACompleteLog) {
  CallbackReceiver receiver;
  receiver.answer_with_status(503, 5);
  start({"--callback-url=" + receiver.url(), "--burst=true", "--count=200", "--ids-per-callback=20",
         "--exit-when-done=true", "--timeout=30s", "--sent-log=" + log_path()});
  EXPECT_EQ(process_->wait(e2e::Seconds(60)), 0) << process_->output();
  EXPECT_THAT(process_->output(), HasSubstr("callbacks sent: 200 (202: 195, 503: 5), 4000 ids\n"));
  const auto sent = sent_log();
  EXPECT_EQ(sent.size(), 200u);
  std::multiset<std::string> logged;
  for (const auto& line : sent) logged.insert("{\"object_ids\":[" + line.ids + "]}");
  const auto bodies = receiver.bodies();
  EXPECT_EQ(logged, std::multiset<std::string>(bodies.begin(), bodies.end()));
}

TEST_F(TesterServer, LogIsCompleteAfterSigterm) {
  CallbackReceiver receiver;
  start_and_wait({"--callback-url=" + receiver.url(), "--rate=2000", "--connections=8",
                  "--sent-log=" + log_path()});
  ASSERT_TRUE(eventually([&] { return receiver.bodies().size() >= 500; }));
  EXPECT_EQ(process_->stop(), 0) << process_->output();
  EXPECT_THAT(process_->output(), HasSubstr("callbacks sent: "));
  EXPECT_EQ(sent_log().size(), receiver.bodies().size());
}

TEST_F(TesterServer, SigintEndsItToo) {
  start_and_wait({"--count=0", "--summary=false"});
  process_->signal(SIGINT);
  EXPECT_EQ(process_->wait(e2e::Seconds(30)), 0);
  EXPECT_THAT(process_->output(), Not(HasSubstr("callbacks sent")));
}

// As timeout(1) does, which signals the process and then its group.
TEST_F(TesterServer, SameSignalTwiceInARowIsOne) {
  start_and_wait({"--count=0"});
  process_->signal(SIGTERM);
  process_->signal(SIGTERM);
  EXPECT_EQ(process_->wait(e2e::Seconds(30)), 0);
  EXPECT_THAT(process_->output(), HasSubstr("callbacks sent: 0"));
}

// The first is waiting for a callback under way, which is never answered.
TEST_F(TesterServer, SecondSignalEndsItAtOnce) {
  CallbackReceiver receiver;
  HttpAnswer hang;
  hang.delivery = HttpAnswer::Delivery::kHang;
  receiver.answer_with(hang);
  start_and_wait({"--callback-url=" + receiver.url(), "--burst=true", "--timeout=1m"});
  ASSERT_TRUE(eventually([&] { return !receiver.bodies().empty(); }));
  ASSERT_TRUE(eventually([&] {
    process_->signal(SIGTERM);
    return !process_->running();
  }));
  EXPECT_EQ(process_->wait(e2e::Seconds(1)), 130);
}

TEST_F(TesterServer, LogLosesNoAnsweredCallbackToSigkill) {
  CallbackReceiver receiver;
  start_and_wait({"--callback-url=" + receiver.url(), "--burst=true", "--connections=4",
                  "--ids-per-callback=20", "--sent-log=" + log_path()});
  ASSERT_TRUE(eventually([&] { return receiver.bodies().size() >= 500; }));
  process_->kill();
  const auto received = receiver.bodies().size();
  const auto logged = sent_log().size();
  EXPECT_LE(logged, received);
  // At most one for each connection was under way.
  EXPECT_GE(logged + 4, received);
}

TEST_F(TesterServer, StopsSendingWhenTold) {
  CallbackReceiver receiver;
  start_and_wait({"--callback-url=" + receiver.url(), "--rate=500"});
  ASSERT_TRUE(eventually([&] { return receiver.bodies().size() >= 10; }));
  RawClient connection(port_);
  connection.send("POST /control/stop-sending HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(connection.receive().status, 200);
  ASSERT_TRUE(
      eventually([&] { return json::parse(connection.ask("/control").body)["sending"] == false; }));
  EXPECT_EQ(stats()["callbacks"]["sent"], receiver.bodies().size());
}

TEST_F(TesterServer, StartsBrokenAndIsHealed) {
  start_and_wait({"--count=0", "--latency-min=0ms", "--latency-max=0ms", "--fail-ids=7"});
  RawClient connection(port_);
  EXPECT_EQ(connection.ask("/objects/7").status, 500);
  EXPECT_EQ(connection.ask("/objects/8").status, 200);
  connection.send("PUT /control?failure_rate=0 HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(connection.receive().status, 200);
  EXPECT_EQ(connection.ask("/objects/7").status, 200);
}

size_t status_kib(pid_t pid, const std::string& name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(name + ":")) return std::stoul(line.substr(name.size() + 1));
  }
  return 0;
}

TEST_F(TesterServer, HoldsTenThousandRequestsAtOnce) {
  constexpr int kRequests = 10'000;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  ASSERT_GE(files.rlim_cur, kRequests + 100u) << "raise the hard limit of open files";

  // In which all of them are sent.
  const std::string latency = kSanitized ? "15s" : "8s";
  start_and_wait({"--count=0", "--latency-min=" + latency, "--latency-max=" + latency});
  const size_t idle_kib = status_kib(process_->pid(), "VmRSS");
  std::vector<RawClient> clients;
  for (int i = 0; i < kRequests; ++i) clients.emplace_back(port_);
  for (int i = 0; i < kRequests; ++i) {
    clients[static_cast<size_t>(i)].get("/objects/" + std::to_string(i));
  }
  ASSERT_TRUE(eventually([&] { return stats()["objects"]["most_at_once"] == kRequests; }))
      << stats();
  const size_t held_kib = status_kib(process_->pid(), "VmRSS");
  int right = 0;
  for (int i = 0; i < kRequests; ++i) {
    const auto answer = json::parse(clients[static_cast<size_t>(i)].receive().body);
    if (answer == json{{"id", i}, {"online", i % 2 == 0}}) ++right;
  }
  EXPECT_EQ(right, kRequests);
  const json objects = stats()["objects"];
  EXPECT_EQ(objects["by_status"], (json{{"200", kRequests}}));
  EXPECT_EQ(objects["in_flight"], 0);
  std::cout << "  resident: " << idle_kib << " KiB idle, " << held_kib << " KiB with " << kRequests
            << " requests held\n";
  if (!kSanitized) {
    EXPECT_LT(held_kib, 32u << 10);
  }
}

}  // namespace
}  // namespace postoffice::tester
