#include "base/http_server.h"

#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <future>
#include <latch>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/http_probes.h"
#include "tests/base/raw_connection.h"

namespace postoffice {
namespace {

using std::chrono::seconds;

HttpServer::Options small_options() {
  HttpServer::Options options;
  options.threads = 4;
  options.max_body_bytes = 1000;
  return options;
}

class HttpServerTest : public testing::Test {
 protected:
  void start(const HttpServer::Options& options = small_options()) {
    server_ = std::make_unique<HttpServer>(options);
    auto& routes = server_->routes();
    routes.Get("/hello", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("hello", "text/plain");
    });
    routes.Get("/any/([^/]+)", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("any", "text/plain");
    });
    routes.Post("/echo", [](const httplib::Request& request, httplib::Response& response) {
      response.set_content(request.body, "text/plain");
    });
    routes.Get("/throw", [](const httplib::Request&, httplib::Response&) {
      throw std::runtime_error("secret reason");
    });
    routes.Get("/mistake", [](const httplib::Request&, httplib::Response& response) {
      answer_problem(response, 400, "our own \"detail\"");
    });
    routes.Get("/large", [](const httplib::Request&, httplib::Response& response) {
      response.set_content(std::string(16 << 20, 'x'), "text/plain");
    });
    // Holds its thread until released_ is set.
    routes.Get("/wait", [this](const httplib::Request&, httplib::Response& response) {
      waiting_.count_down();
      released_.get_future().wait_for(seconds(30));
      response.set_content("released", "text/plain");
    });
    server_->start();
  }
  RawConnection connect() { return RawConnection(server_->port()); }
  // Status of a request on a connection of its own.
  std::optional<RawConnection::Answer> ask(const std::string& request) {
    RawConnection connection = connect();
    connection.send(request);
    return connection.receive();
  }
  static bool answers(RawConnection& connection) {
    return connection.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n") &&
           connection.receive().value_or(RawConnection::Answer{}).body == "hello";
  }
  static bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }

  std::latch waiting_{1};
  std::promise<void> released_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, ListensOnBothLoopbackAddresses) {
  start();
  httplib::Client v4("127.0.0.1", server_->port());
  EXPECT_EQ(v4.Get("/hello")->body, "hello");
  httplib::Client v6("::1", server_->port());
  const auto answer = v6.Get("/hello");
  EXPECT_TRUE(!answer || answer->body == "hello");  // The machine may have no IPv6.
}

TEST_F(HttpServerTest, ManyRequestsPassOverOneConnection) {
  start();
  RawConnection connection = connect();
  for (int i = 0; i < 1000; ++i) {
    const std::string body = "body " + std::to_string(i);
    connection.send("POST /echo HTTP/1.1\r\nContent-Length: " + std::to_string(body.size()) +
                    "\r\n\r\n" + body);
    const auto answer = connection.receive();
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->body, body);
    ASSERT_FALSE(contains(answer->head, "Keep-Alive")) << answer->head;
  }
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  RawConnection connection = connect();
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests += "POST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\n" + std::to_string(10 + i);
  }
  connection.send(requests);
  for (int i = 0; i < 50; ++i) {
    const auto answer = connection.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, std::to_string(10 + i));
  }
}

TEST_F(HttpServerTest, LargeRequestsThatHangKeepNoSmallOneOut) {
  auto options = small_options();
  options.max_body_bytes = 100'000;
  options.max_buffered_bytes = 40'000;
  start(options);
  const std::string head = "POST /echo HTTP/1.1\r\nContent-Length: 90000\r\n\r\n";
  RawConnection hanging = connect();
  hanging.send(head + std::string(35'000, 'x'));
  RawConnection small = connect();
  EXPECT_TRUE(answers(small));  // By now the other has been read.
  RawConnection large = connect();
  large.send(head + std::string(20'000, 'x'));
  EXPECT_EQ(large.receive()->status, 503);
  EXPECT_TRUE(answers(small));
  RawConnection new_one = connect();
  EXPECT_TRUE(answers(new_one));
}

TEST_F(HttpServerTest, AnswersARequestAfterWhichTheClientHalfCloses) {
  start();
  RawConnection connection = connect();
  connection.send("GET /hello HTTP/1.1\r\n\r\n");
  connection.finish_sending();
  EXPECT_EQ(connection.receive()->body, "hello");
  EXPECT_TRUE(connection.ends());
}

TEST_F(HttpServerTest, ConnectionCloseAndHttp10AreHonoured) {
  start();
  for (const char* request :
       {"GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n", "GET /hello HTTP/1.0\r\n\r\n"}) {
    RawConnection connection = connect();
    connection.send(request);
    const auto answer = connection.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "hello");
    EXPECT_TRUE(contains(answer->head, "Connection: close"));
    EXPECT_TRUE(connection.ends());
  }
  RawConnection kept = connect();
  for (int i = 0; i < 3; ++i) {
    kept.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const auto answer = kept.receive();
    ASSERT_TRUE(answer);
    EXPECT_TRUE(contains(answer->head, "Connection: keep-alive")) << answer->head;
  }
}

TEST_F(HttpServerTest, HeadHasHeadersOnly) {
  start();
  RawConnection connection = connect();
  for (const char* path : {"/hello", "/nothing"}) {
    connection.send(std::string("HEAD ") + path + " HTTP/1.1\r\n\r\n");
    const auto head = connection.receive(/*head_only=*/true);
    ASSERT_TRUE(head);
    EXPECT_FALSE(contains(head->head, "Content-Length: 0")) << head->head;
    EXPECT_TRUE(contains(head->head, "Content-Length: "));
  }
  EXPECT_TRUE(answers(connection));
}

TEST_F(HttpServerTest, SendsContinueToThoseWhoWaitForIt) {
  start();
  RawConnection connection = connect();
  connection.send("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  EXPECT_EQ(connection.receive()->status, 100);
  connection.send("abc");
  const auto answer = connection.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->body, "abc");

  RawConnection large = connect();
  large.send("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_EQ(large.receive()->status, 413);
}

TEST_F(HttpServerTest, BodiesAreBoundedWhileTheyAreRead) {
  start();
  EXPECT_EQ(
      ask("POST /echo HTTP/1.1\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'a'))->status,
      200);
  EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nContent-Length: 1001\r\n\r\n")->status, 413);
  // 413 also reaches a client that has sent far more than is read.
  RawConnection connection = connect();
  connection.send("POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
  std::string chunks;
  for (int i = 0; i < 1000; ++i) chunks += "64\r\n" + std::string(100, 'a') + "\r\n";
  connection.send(chunks);
  const auto answer = connection.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 413);
  EXPECT_TRUE(contains(answer->head, "application/problem+json"));
  EXPECT_TRUE(contains(answer->body, "1000 bytes (MAX_CALLBACK_BYTES)"));
}

TEST_F(HttpServerTest, ContentTypesOfFormsMeanNothing) {
  auto options = small_options();
  options.max_body_bytes = 100'000;
  start(options);
  const std::string body(50'000, 'a');
  for (const char* type : {"application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                           "multipart/form-data", "text/plain", ""}) {
    const auto answer = ask(std::string("POST /echo HTTP/1.1\r\nContent-Type: ") + type +
                            "\r\nContent-Length: 50000\r\n\r\n" + body);
    ASSERT_TRUE(answer) << type;
    EXPECT_EQ(answer->status, 200) << type;
    EXPECT_EQ(answer->body, body) << type;
  }
}

TEST_F(HttpServerTest, AnUnreadBodyIsNoRequest) {
  start();
  RawConnection connection = connect();
  const std::string smuggled = "GET /throw HTTP/1.1\r\n\r\n";
  connection.send("GET /hello HTTP/1.1\r\nContent-Length: " + std::to_string(smuggled.size()) +
                  "\r\n\r\n" + smuggled + "GET /mistake HTTP/1.1\r\n\r\n");
  EXPECT_EQ(connection.receive()->status, 200);
  EXPECT_EQ(connection.receive()->status, 400);
}

TEST_F(HttpServerTest, EveryErrorIsAProblem) {
  start();
  const auto expect_problem = [&](const std::string& request, int status,
                                  const std::string& detail) {
    const auto answer = ask(request);
    ASSERT_TRUE(answer) << request;
    EXPECT_EQ(answer->status, status) << request;
    EXPECT_TRUE(contains(answer->head, "Content-Type: application/problem+json")) << answer->head;
    EXPECT_TRUE(contains(answer->body, "\"status\":" + std::to_string(status))) << answer->body;
    EXPECT_TRUE(contains(answer->body, detail)) << answer->body;
  };
  expect_problem("GET /nothing HTTP/1.1\r\n\r\n", 404, "GET /nothing");
  expect_problem("POST /nothing HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 404, "POST /nothing");
  expect_problem("GET /mistake HTTP/1.1\r\n\r\n", 400, R"(our own \"detail\")");
  expect_problem("GET /throw HTTP/1.1\r\n\r\n", 500, "see its log");
  expect_problem("BREW /hello HTTP/1.1\r\n\r\n", 400, "malformed");
  expect_problem("GET /" + std::string(9000, 'a') + " HTTP/1.1\r\n\r\n", 414, "too long");
  expect_problem("GET /hello HTTP/1.1\r\nA: " + std::string(9000, 'a') + "\r\n\r\n", 400,
                 "too long");
  expect_problem("GET /hello HTTP/3.0\r\n\r\n", 505, "HTTP/1.1");
  expect_problem("nonsense\r\n\r\n", 400, "request line");
}

TEST_F(HttpServerTest, SurvivesOddRequests) {
  start();
  for (const char* request :
       {"GET /hello HTTP/1.1\r\nRange: bytes=99999999999999999999999-\r\n\r\n",
        "GET /hello HTTP/1.1\r\nRange: bytes=0-,0-,0-,0-\r\n\r\n",
        "GET /hello HTTP/1.1\r\nRange: bytes=5-1\r\n\r\n", "GET /%00%ff?%=%&&=? HTTP/1.1\r\n\r\n",
        "GET * HTTP/1.1\r\n\r\n", "CONNECT h:1 HTTP/1.1\r\n\r\n", "GET  HTTP/1.1\r\n\r\n",
        "TRACE /hello HTTP/1.1\r\n\r\n", "GET /hello?a=b?c=d HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\nContent-Length: 0\r\nAccept-Encoding: gzip, br\r\n\r\n"}) {
    const auto answer = ask(request);
    ASSERT_TRUE(answer) << request;
    EXPECT_FALSE(contains(answer->head, "Content-Encoding")) << request;
    EXPECT_LE(answer->body.size(), 1000u) << request;
  }
  RawConnection connection = connect();
  EXPECT_TRUE(answers(connection));
}

TEST_F(HttpServerTest, RangeIsNotLookedAt) {
  start();
  for (const std::string range : {"nonsense", "bytes=1-2", "bytes=9-1", "bytes=7-"}) {
    const auto answer = ask("GET /hello HTTP/1.1\r\nRange: " + range + "\r\n\r\n");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200) << range;
    EXPECT_EQ(answer->body, "hello") << range;
  }
}

// What cpp-httplib matches with std::regex takes stack for each character.
TEST_F(HttpServerTest, LongPathsAndHeadersFitTheStackWhateverThreadsGetByDefault) {
  pthread_attr_t before;
  pthread_attr_t small;
  ASSERT_EQ(pthread_getattr_default_np(&before), 0);
  ASSERT_EQ(pthread_attr_init(&small), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&small, 2 << 20), 0);
  ASSERT_EQ(pthread_setattr_default_np(&small), 0);
  start();
  pthread_setattr_default_np(&before);
  pthread_attr_destroy(&small);
  pthread_attr_destroy(&before);
  EXPECT_EQ(ask("GET /any/" + std::string(8000, 'a') + " HTTP/1.1\r\n\r\n")->body, "any");
  std::string ranges = "bytes=0-0";
  while (ranges.size() < 8000) ranges += ",0-0";
  EXPECT_EQ(ask("GET /hello HTTP/1.1\r\nRange: " + ranges + "\r\n\r\n")->body, "hello");
}

TEST_F(HttpServerTest, SlowAndIdleClientsHoldNoThread) {
  auto options = small_options();
  options.read_timeout = seconds(60);
  start(options);
  std::vector<std::unique_ptr<RawConnection>> clients;
  for (int i = 0; i < 1000; ++i) {
    clients.push_back(std::make_unique<RawConnection>(server_->port()));
    ASSERT_TRUE(clients.back()->connected());
    if (i % 2 == 0) clients.back()->send("POST /echo HTTP/1.1\r\nContent-Le");
  }
  RawConnection quick = connect();
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(answers(quick));
  clients[0]->send("ngth: 2\r\n\r\nab");
  EXPECT_EQ(clients[0]->receive()->body, "ab");
  EXPECT_TRUE(answers(*clients[1]));
}

TEST_F(HttpServerTest, OneAddressHasOnlySoManyConnections) {
  auto options = small_options();
  options.max_connections_per_address = 2;
  start(options);
  // It has asked for nothing: one whose answer has just come may not be idle yet.
  RawConnection idle = connect();
  RawConnection slow = connect();
  slow.send("GET /hel");
  RawConnection slower = connect();  // In the place of the idle one.
  slower.send("GET /hel");
  EXPECT_TRUE(idle.ends());
  RawConnection refused = connect();
  const auto refusal = refused.receive();
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->status, 503);
  EXPECT_TRUE(contains(refusal->body, "HTTP_CONNECTIONS_PER_ADDRESS"));
  EXPECT_TRUE(refused.ends());
  RawConnection elsewhere(server_->port(), "127.0.0.2");
  EXPECT_TRUE(answers(elsewhere));
  slow.send("lo HTTP/1.1\r\n\r\n");
  EXPECT_EQ(slow.receive()->status, 200);
}

TEST_F(HttpServerTest, BeyondTheLimitTheLongestIdleConnectionMakesRoom) {
  auto options = small_options();
  options.max_connections = 2;
  options.max_connections_per_address = 10;
  start(options);
  RawConnection first = connect();  // As above.
  RawConnection second = connect();
  EXPECT_TRUE(answers(second));
  RawConnection third = connect();
  EXPECT_TRUE(answers(third));
  EXPECT_TRUE(first.ends());
  EXPECT_TRUE(answers(second));
}

TEST_F(HttpServerTest, ARequestMustArriveInTime) {
  auto options = small_options();
  options.read_timeout = Millis(200);
  start(options);
  RawConnection slow = connect();
  slow.send("GET /hello HTT");
  const auto answer = slow.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 408);
  EXPECT_TRUE(contains(answer->body, "200ms"));
}

TEST_F(HttpServerTest, ALargeBodyHasMoreTime) {
  auto options = small_options();
  options.max_body_bytes = 200'000;
  options.read_timeout = Millis(100);
  options.body_timeout = Millis(2000);
  start(options);
  const auto before = SteadyClock::now();
  const std::string head = "POST /echo HTTP/1.1\r\nContent-Length: ";
  RawConnection large = connect();
  large.send(head + "100000\r\n\r\n");
  RawConnection small = connect();
  small.send(head + "10000\r\n\r\n");
  EXPECT_EQ(small.receive()->status, 408);
  const auto answer = large.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 408);
  EXPECT_TRUE(contains(answer->body, "2s"));
  EXPECT_GE(SteadyClock::now() - before, Millis(2000));
}

// Some clients send one after the body of a POST.
TEST_F(HttpServerTest, AnEmptyLineBetweenRequestsIsNoRequestThatIsLate) {
  auto options = small_options();
  options.read_timeout = Millis(100);
  options.keep_alive_timeout = Millis(1000);
  start(options);
  RawConnection connection = connect();
  const auto before = SteadyClock::now();
  connection.send("GET /hello HTTP/1.1\r\n\r\n\r\n");
  EXPECT_EQ(connection.receive()->body, "hello");
  EXPECT_TRUE(connection.ends());  // Without an answer that nobody asked for.
  EXPECT_GE(SteadyClock::now() - before, Millis(1000));
}

TEST_F(HttpServerTest, TheLastAnswerReachesAClientThatGoesOnSending) {
  start();
  for (int i = 0; i < 20; ++i) {
    RawConnection connection = connect();
    connection.send("GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n" + std::string(100'000, 'x'));
    const auto answer = connection.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body, "hello");
    connection.finish_sending();
    EXPECT_TRUE(connection.ends());
  }
}

TEST_F(HttpServerTest, WhoIsSlowToSendMakesRoomWhenNobodyIdles) {
  auto options = small_options();
  options.max_connections = 4;  // And one more, which waits to be the next.
  options.max_connections_per_address = 5;
  options.read_timeout = seconds(30);
  start(options);
  std::vector<std::unique_ptr<RawConnection>> slow;
  for (int i = 0; i < 5; ++i) {
    slow.push_back(std::make_unique<RawConnection>(server_->port()));
    slow.back()->send("GET /hel");
  }
  RawConnection other(server_->port(), "127.0.0.2");
  EXPECT_TRUE(answers(other));
  EXPECT_TRUE(slow[0]->ends());
}

// Its events came for a connection that was freed.
TEST_F(HttpServerTest, AClosedConnectionIsForgottenThoughAChildHasItsSocket) {
  start();
  RawConnection connection = connect();
  ASSERT_TRUE(answers(connection));
  const pid_t child = fork();
  if (child == 0) {
    pause();
    _exit(0);
  }
  connection.finish_sending();
  for (int i = 0; i < 100; ++i) {
    RawConnection other = connect();
    ASSERT_TRUE(answers(other));
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_F(HttpServerTest, AnIdleConnectionIsClosedAfterAWhile) {
  auto options = small_options();
  options.keep_alive_timeout = seconds(2);
  start(options);
  RawConnection connection = connect();
  EXPECT_TRUE(answers(connection));
  EXPECT_TRUE(connection.ends());
}

TEST_F(HttpServerTest, AClientThatDoesNotReadHoldsNoThread) {
  start();
  std::vector<std::unique_ptr<RawConnection>> deaf;
  for (int i = 0; i < 8; ++i) {  // Twice the threads.
    deaf.push_back(std::make_unique<RawConnection>(server_->port()));
    deaf.back()->send("GET /large HTTP/1.1\r\n\r\n");
  }
  RawConnection connection = connect();
  EXPECT_TRUE(answers(connection));
  EXPECT_EQ(deaf[0]->receive()->body.size(), size_t{16} << 20);
  EXPECT_TRUE(answers(*deaf[0]));
}

TEST_F(HttpServerTest, BytesThatArriveWhileARequestIsAnsweredWait) {
  start();
  RawConnection connection = connect();
  connection.send("GET /wait HTTP/1.1\r\n\r\n");
  waiting_.wait();
  connection.send("GET /hello HTTP/1.1\r\n\r\n");
  RawConnection other = connect();
  EXPECT_TRUE(answers(other));
  released_.set_value();
  EXPECT_EQ(connection.receive()->body, "released");
  EXPECT_EQ(connection.receive()->body, "hello");
}

TEST_F(HttpServerTest, AClientThatLeavesWhileItIsAnsweredDoesNoHarm) {
  start();
  {
    RawConnection connection = connect();
    connection.send("GET /wait HTTP/1.1\r\n\r\n");
    waiting_.wait();
  }
  released_.set_value();
  RawConnection other = connect();
  EXPECT_TRUE(answers(other));
}

TEST_F(HttpServerTest, StopLetsRequestsInFlightBeAnswered) {
  start();
  RawConnection idle = connect();
  ASSERT_TRUE(answers(idle));
  RawConnection busy = connect();
  busy.send("GET /wait HTTP/1.1\r\n\r\n");
  waiting_.wait();
  auto stopped =
      std::async(std::launch::async, [&] { server_->stop(SteadyClock::now() + seconds(20)); });
  EXPECT_TRUE(idle.ends());
  EXPECT_FALSE(connect().connected());
  EXPECT_EQ(stopped.wait_for(Millis(0)), std::future_status::timeout);
  released_.set_value();
  const auto answer = busy.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "released");
  EXPECT_TRUE(contains(answer->head, "Connection: close"));
  stopped.get();
  server_->stop(SteadyClock::now());
}

TEST_F(HttpServerTest, StopEndsAtItsDeadline) {
  start();
  RawConnection partial = connect();
  partial.send("POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
  RawConnection busy = connect();
  busy.send("GET /wait HTTP/1.1\r\n\r\n");
  waiting_.wait();
  auto stopped =
      std::async(std::launch::async, [&] { server_->stop(SteadyClock::now() + Millis(100)); });
  EXPECT_TRUE(partial.ends());
  EXPECT_TRUE(busy.ends());  // Although its handler has not returned.
  released_.set_value();
  stopped.get();
}

TEST_F(HttpServerTest, StopWithoutStartIsFine) {
  HttpServer server(small_options());
  server.stop(SteadyClock::now());
}

TEST_F(HttpServerTest, APortInUseIsNamed) {
  start();
  auto options = small_options();
  options.port = server_->port();
  options.port_setting = "WORKER_PORT";
  HttpServer second(options);
  try {
    second.start();
    FAIL() << "two servers on one port";
  } catch (const BadConfig& error) {
    ASSERT_EQ(error.mistakes().size(), 1u);
    EXPECT_TRUE(error.mistakes()[0].starts_with("WORKER_PORT " + std::to_string(options.port) +
                                                " on 127.0.0.1 is in use: "))
        << error.mistakes()[0];
  }
}

TEST_F(HttpServerTest, AHostThatIsNotOursIsNamed) {
  for (const char* host : {"192.0.2.1", "no such host"}) {
    auto options = small_options();
    options.host = host;
    HttpServer server(options);
    try {
      server.start();
      FAIL() << host;
    } catch (const BadConfig& error) {
      EXPECT_TRUE(error.mistakes()[0].starts_with(std::string("SERVER_HOST ") + host))
          << error.mistakes()[0];
    }
  }
}

TEST_F(HttpServerTest, ListensOnAllAddresses) {
  for (const char* host : {"0.0.0.0", "127.0.0.1"}) {
    auto options = small_options();
    options.host = host;
    start(options);
    RawConnection connection = connect();
    EXPECT_TRUE(answers(connection)) << host;
    server_->stop(SteadyClock::now());
  }
}

// Lowers the limit of open files to what is open and `more`, until it goes.
class FileLimit {
 public:
  explicit FileLimit(rlim_t more) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const FileDescriptor next(dup(0));
    rlimit lowered = before_;
    lowered.rlim_cur = static_cast<rlim_t>(next.get()) + more;
    setrlimit(RLIMIT_NOFILE, &lowered);
  }
  ~FileLimit() { setrlimit(RLIMIT_NOFILE, &before_); }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

 private:
  rlimit before_{};
};

TEST_F(HttpServerTest, SurvivesRunningOutOfFiles) {
  start();
  // UndefinedBehaviorSanitizer looks at a type for the first time through a pipe, for which there
  // will be no files; the server logs that it has none.
  spdlog::warn("running out of {}: {}", std::string("files"), 24);
  const FileLimit limit(20);
  // Client and server share the limit: these leave nothing to accept with.
  std::vector<std::unique_ptr<RawConnection>> clients;
  do {
    clients.push_back(std::make_unique<RawConnection>(server_->port()));
  } while (clients.back()->connected());
  clients.pop_back();
  ASSERT_LE(clients.size(), 20u);
  clients.erase(clients.begin(), clients.end() - 1);
  EXPECT_TRUE(answers(*clients.back()));
}

TEST_F(HttpServerTest, TheLongestIdleMakeRoomWhenConnectionsRunOut) {
  {
    const FileLimit limit(60);
    start();  // Allows itself half of the files.
  }
  std::vector<std::unique_ptr<RawConnection>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<RawConnection>(server_->port()));
    ASSERT_TRUE(answers(*clients.back())) << i;
  }
  EXPECT_TRUE(clients.front()->ends());
  EXPECT_TRUE(answers(*clients.back()));
}

TEST_F(HttpServerTest, ProbesTellLifeReadinessAndMetrics) {
  Metrics metrics;
  metrics.counter("postoffice_tests_total", "Tests.").Increment(3);
  std::vector<Readiness> checks = {
      {.name = "outbox", .ok = true, .required = true, .detail = "ok"},
      {.name = "database", .ok = false, .required = false, .detail = "lost \"it\""}};
  HttpServer server(small_options());
  add_probe_routes(server, metrics, [&] { return checks; });
  server.start();
  httplib::Client client("127.0.0.1", server.port());
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  const auto ready = client.Get("/readyz");
  EXPECT_EQ(ready->status, 200);
  EXPECT_EQ(ready->body, R"({"ready":true,"checks":[{"name":"outbox","ok":true,"detail":"ok"},)"
                         R"({"name":"database","ok":false,"detail":"lost \"it\""}]})");
  checks[0].ok = false;
  EXPECT_EQ(client.Get("/readyz")->status, 503);
  EXPECT_TRUE(contains(client.Get("/readyz")->body, "\"ready\":false"));
  const auto text = client.Get("/metrics");
  EXPECT_TRUE(contains(text->body, "postoffice_tests_total 3")) << text->body;
  EXPECT_TRUE(contains(text->get_header_value("Content-Type"), "text/plain; version=0.0.4"));
}

}  // namespace
}  // namespace postoffice
