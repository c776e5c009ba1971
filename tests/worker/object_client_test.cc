#include "worker/object_client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>

#include "base/error.h"
#include "base/wakeup.h"
#include "tests/worker/fakes.h"
#include "tests/worker/object_service.h"

namespace postoffice::testing {
namespace {

using std::chrono::seconds;
using Kind = FetchResult::Kind;
using Exchange = ObjectService::Exchange;

class ObjectClientTest : public ::testing::Test {
 protected:
  FetchResult fetch(int64_t id) { return client().fetch(id); }
  ObjectClient& client() {
    if (!client_) {
      address_ = std::make_unique<ServiceAddress>(url_.empty() ? service_.url() : url_);
      client_ = std::make_unique<ObjectClient>(options_, *address_, stop_.fd());
    }
    return *client_;
  }
  // On a stack like those of the fetch threads.
  FetchResult fetch_on_small_stack(int64_t id) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    constexpr size_t kStackBytes = size_t{2} << 20;
#else
    constexpr size_t kStackBytes = size_t{256} << 10;
#endif
    FetchResult result;
    Thread(
        "fetch", [&] { result = fetch(id); }, kStackBytes)
        .join();
    return result;
  }
  // What `script` answers to one fetch of object 7.
  FetchResult fetch_scripted(ObjectService::Script script) {
    service_.set_script(std::move(script));
    return fetch_on_small_stack(7);
  }
  FetchResult fetch_raw(const std::string& answer) {
    return fetch_scripted([answer](Exchange& exchange) {
      exchange.send(answer);
      exchange.close();
    });
  }

  ObjectService service_;
  Wakeup stop_;
  ObjectClient::Options options_;
  std::string url_;
  std::unique_ptr<ServiceAddress> address_;
  std::unique_ptr<ObjectClient> client_;
};

TEST_F(ObjectClientTest, TellsOnlineFromOfflineOverOneConnection) {
  const auto before = unix_now();
  for (int64_t id = 0; id < 10; ++id) {
    const auto result = fetch(id);
    EXPECT_EQ(result.kind, Kind::kAnswered) << result.reason;
    EXPECT_EQ(result.online, id % 2 == 0);
    EXPECT_GE(result.checked_at, before);
    EXPECT_LE(result.checked_at, unix_now());
  }
  EXPECT_EQ(service_.connections(), 1);
}

TEST_F(ObjectClientTest, AsksForTheIdBelowThePathOfTheUrl) {
  std::string head;
  fetch_scripted([&](Exchange& exchange) {
    head = exchange.head;
    exchange.answer();
  });
  EXPECT_TRUE(head.starts_with("GET /objects/7 HTTP/1.1\r\n")) << head;
  EXPECT_NE(head.find("Accept: application/json\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("Host: 127.0.0.1:" + std::to_string(service_.port()) + "\r\n"),
            std::string::npos)
      << head;
}

TEST_F(ObjectClientTest, TakesTheExtremesOfIds) {
  for (const int64_t id : {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(),
                           int64_t{-1}, int64_t{0}}) {
    EXPECT_EQ(fetch(id).kind, Kind::kAnswered) << id;
  }
}

TEST_F(ObjectClientTest, SendsTheCredentialsOfTheUrl) {
  url_ = "http://me:secret@127.0.0.1:" + std::to_string(service_.port()) + "/objects/";
  std::string head;
  fetch_scripted([&](Exchange& exchange) {
    head = exchange.head;
    exchange.answer();
  });
  EXPECT_NE(head.find("GET /objects/7 "), std::string::npos) << head;
  EXPECT_NE(head.find("Authorization: Basic bWU6c2VjcmV0\r\n"), std::string::npos) << head;
}

TEST_F(ObjectClientTest, RefusesAUrlThatIsNone) {
  for (const char* url : {"", "objects", "https://host/objects", "http://", "http://host:0/"}) {
    EXPECT_THROW(ServiceAddress{url}, BadConfig) << url;
  }
}

struct Status {
  int status;
  Kind kind;
};

class ObjectClientStatusTest : public ObjectClientTest,
                               public ::testing::WithParamInterface<Status> {};

TEST_P(ObjectClientStatusTest, IsSorted) {
  const auto [status, kind] = GetParam();
  service_.set_script([status = status](Exchange& exchange) {
    if (exchange.number == 1) {
      exchange.answer(status);
    } else {
      exchange.answer();
    }
  });
  const auto result = fetch(7);
  EXPECT_EQ(result.kind, kind);
  EXPECT_EQ(result.reason, "answer " + std::to_string(status));
  // The connection is as good as before.
  EXPECT_EQ(fetch(7).kind, Kind::kAnswered);
  EXPECT_EQ(service_.connections(), 1);
}

INSTANTIATE_TEST_SUITE_P(
    All, ObjectClientStatusTest,
    ::testing::Values(Status{404, Kind::kGone}, Status{410, Kind::kGone},
                      Status{408, Kind::kRetryable}, Status{429, Kind::kRetryable},
                      Status{500, Kind::kUnreachable}, Status{503, Kind::kUnreachable},
                      Status{599, Kind::kUnreachable}, Status{401, Kind::kUnauthorised},
                      Status{403, Kind::kUnauthorised}, Status{301, Kind::kRejected},
                      Status{302, Kind::kRejected}, Status{400, Kind::kRejected},
                      Status{418, Kind::kRejected}, Status{451, Kind::kRejected}),
    [](const auto& test) { return std::to_string(test.param.status); });

TEST_F(ObjectClientTest, FollowsNoRedirect) {
  const auto result = fetch_scripted(
      [&](Exchange& exchange) { exchange.answer(302, "Location: " + service_.url() + "/8\r\n"); });
  EXPECT_EQ(result.kind, Kind::kRejected);
  EXPECT_EQ(service_.requests_for(8), 0);
}

TEST_F(ObjectClientTest, ReadsRetryAfter) {
  const auto result =
      fetch_scripted([](Exchange& exchange) { exchange.answer(429, "Retry-After: 17\r\n"); });
  EXPECT_EQ(result.retry_after, Millis(17'000));
}

struct Unreadable {
  const char* name;
  std::string body;
  std::string reason;
};

class ObjectClientBodyTest : public ObjectClientTest,
                             public ::testing::WithParamInterface<Unreadable> {};

TEST_P(ObjectClientBodyTest, IsRetryable) {
  const auto result = fetch_raw(http_answer(200, GetParam().body));
  EXPECT_EQ(result.kind, Kind::kRetryable);
  EXPECT_NE(result.reason.find(GetParam().reason), std::string::npos) << result.reason;
}

INSTANTIATE_TEST_SUITE_P(
    All, ObjectClientBodyTest,
    ::testing::Values(
        Unreadable{"WrongId", R"({"id":8,"online":true})", "the answer is for object 8"},
        Unreadable{"NoId", R"({"online":true})", "no integer `id`"},
        Unreadable{"IdIsText", R"({"id":"7","online":true})", "no integer `id`"},
        Unreadable{"IdIsAFraction", R"({"id":7.0,"online":true})", "no integer `id`"},
        Unreadable{"NoOnline", R"({"id":7})", "no boolean `online`"},
        Unreadable{"OnlineIsANumber", R"({"id":7,"online":1})", "no boolean `online`"},
        Unreadable{"OnlineIsNull", R"({"id":7,"online":null})", "no boolean `online`"},
        Unreadable{"Html", "<html>Welcome</html>", "not JSON"},
        Unreadable{"Truncated", R"({"id":7,"online":tr)", "not JSON"},
        Unreadable{"Trailing", R"({"id":7,"online":true}})", "not JSON"},
        Unreadable{"Empty", "", "not JSON"}, Unreadable{"Array", "[7,true]", "no JSON object"},
        Unreadable{"Deep", std::string(5000, '['), "not JSON"}),
    [](const auto& test) { return test.param.name; });

TEST_F(ObjectClientTest, ReadsAChunkedAnswerOfWhateverContentTypeWithFurtherMembers) {
  const auto result = fetch_raw(
      "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
      "d\r\n{\"more\":[{}],\r\n16\r\n\"online\":true,\"id\": 7}\r\n0\r\n\r\n");
  EXPECT_EQ(result.kind, Kind::kAnswered) << result.reason;
  EXPECT_TRUE(result.online);
}

TEST_F(ObjectClientTest, ReadsAnAnswerThatEndsWithTheConnection) {
  const auto result = fetch_raw("HTTP/1.0 200 OK\r\n\r\n{\"id\":7,\"online\":false}");
  EXPECT_EQ(result.kind, Kind::kAnswered) << result.reason;
  EXPECT_FALSE(result.online);
}

TEST_F(ObjectClientTest, EndsAConnectionThatTheServiceWantsClosed) {
  service_.set_script([](Exchange& exchange) {
    exchange.send(http_answer(200, R"({"id":7,"online":true})", "Connection: Close\r\n"));
  });
  EXPECT_EQ(fetch(7).kind, Kind::kAnswered);
  EXPECT_EQ(fetch(7).kind, Kind::kAnswered);
  EXPECT_EQ(service_.connections(), 2);
}

struct Garbage {
  const char* name;
  std::string bytes;
};

class ObjectClientGarbageTest : public ObjectClientTest,
                                public ::testing::WithParamInterface<Garbage> {};

TEST_P(ObjectClientGarbageTest, IsSurvivedAndTheNextFetchIsGood) {
  const auto result = fetch_raw(GetParam().bytes);
  EXPECT_TRUE(result.kind == Kind::kRetryable || result.kind == Kind::kUnreachable)
      << name_of(result);
  EXPECT_FALSE(result.reason.empty());
  service_.set_script([](Exchange& exchange) { exchange.answer(); });
  EXPECT_EQ(fetch(6).kind, Kind::kAnswered);
}

INSTANTIATE_TEST_SUITE_P(
    All, ObjectClientGarbageTest,
    ::testing::Values(
        Garbage{"Nothing", ""}, Garbage{"Binary", std::string("\x16\x03\x01\x00\x00\xff", 6)},
        Garbage{"NoStatus", "HTTP/1.1\r\n\r\n"}, Garbage{"EndlessLine", std::string(300'000, 'A')},
        Garbage{"LongReason", "HTTP/1.1 200 " + std::string(100'000, 'A') + "\r\n\r\n"},
        Garbage{"LongReasonAfterContinue",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 " + std::string(100'000, 'A')},
        Garbage{"EndlessHeaders",
                [] {
                  std::string bytes = "HTTP/1.1 200 OK\r\n";
                  for (int i = 0; i < 10'000; ++i) bytes += "X-Header: whatever\r\n";
                  return bytes;
                }()},
        Garbage{"BadChunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"},
        Garbage{"HugeChunk",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffe\r\nxx"},
        Garbage{"EndlessChunkLine", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                                        std::string(300'000, '1')},
        Garbage{"NoGzip",
                "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: "
                "4\r\n\r\nabcd"},
        Garbage{"HugeLength", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}"},
        Garbage{"CutOff", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"id\":7"}),
    [](const auto& test) { return test.param.name; });

TEST_F(ObjectClientTest, TakesABodyUpToItsBoundOnly) {
  options_.most_body_bytes = 1000;
  const std::string start = R"({"id":7,"online":true,"more":")";
  const std::string fits = start + std::string(1000 - start.size() - 2, 'x') + "\"}";
  EXPECT_EQ(fetch_raw(http_answer(200, fits)).kind, Kind::kAnswered);
  const auto result = fetch_raw(http_answer(200, start + std::string(1000, 'x') + "\"}"));
  EXPECT_EQ(result.kind, Kind::kRetryable);
  EXPECT_NE(result.reason.find("larger than"), std::string::npos) << result.reason;
}

TEST_F(ObjectClientTest, JudgesByTheStatusWhateverTheBody) {
  options_.attempt_timeout = seconds(3);
  const auto result = fetch_scripted([](Exchange& exchange) {
    exchange.send("HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n");
    exchange.hang();
  });
  EXPECT_EQ(result.kind, Kind::kGone);
}

TEST_F(ObjectClientTest, EndsAnAnswerThatTricklesAtTheDeadlineOfTheAttempt) {
  options_.attempt_timeout = Millis(300);
  const auto began = SteadyClock::now();
  const auto result = fetch_scripted([](Exchange& exchange) {
    exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
    while (exchange.wait(Millis(5)) && exchange.send(" ")) {
    }
  });
  const auto took = SteadyClock::now() - began;
  EXPECT_EQ(result.kind, Kind::kUnreachable);
  EXPECT_EQ(result.reason, "no answer within 300ms");
  EXPECT_GE(took, Millis(300));
  EXPECT_LT(took, seconds(10));
}

TEST_F(ObjectClientTest, EndsAFloodAtTheBoundForHeads) {
  const auto result = fetch_scripted([](Exchange& exchange) {
    exchange.send("HTTP/1.1 200 OK\r\n");
    while (exchange.send("X-More: " + std::string(1000, 'x') + "\r\n")) {
    }
  });
  EXPECT_EQ(result.kind, Kind::kRetryable);
  EXPECT_EQ(result.reason, "the head of the answer is too large");
}

TEST_F(ObjectClientTest, EndsASilentAnswerAtTheDeadlineOfTheAttempt) {
  options_.attempt_timeout = Millis(200);
  const auto result = fetch_scripted([](Exchange& exchange) { exchange.hang(); });
  EXPECT_EQ(result.kind, Kind::kUnreachable);
  EXPECT_EQ(result.reason, "no answer within 200ms");
}

TEST_F(ObjectClientTest, IsAbandonedAtOnceWhenStopped) {
  FetchResult result;
  Thread fetching("fetch", [&] { result = fetch_scripted([](Exchange& e) { e.hang(); }); });
  ASSERT_TRUE(eventually([&] { return service_.under_way() == 1; }));
  const auto began = SteadyClock::now();
  stop_.ring();
  fetching.join();
  EXPECT_EQ(result.kind, Kind::kAbandoned);
  EXPECT_LT(SteadyClock::now() - began, seconds(10));
}

// On a connection that was used before, waiting is done otherwise.
TEST_F(ObjectClientTest, EndsASilentAnswerOnAKeptConnectionAtTheDeadlineToo) {
  options_.attempt_timeout = seconds(3);
  EXPECT_EQ(fetch(7).kind, Kind::kAnswered);
  const auto began = SteadyClock::now();
  const auto result = fetch_scripted([](Exchange& exchange) { exchange.hang(); });
  EXPECT_EQ(result.kind, Kind::kUnreachable);
  EXPECT_EQ(result.reason, "no answer within 3s");
  EXPECT_GE(SteadyClock::now() - began, seconds(3));
  EXPECT_LT(SteadyClock::now() - began, seconds(10));
  EXPECT_EQ(service_.connections(), 1);
}

TEST_F(ObjectClientTest, AKeptConnectionWhoseAnswerComesInPiecesKeepsTheDeadline) {
  options_.attempt_timeout = seconds(3);
  EXPECT_EQ(fetch(7).kind, Kind::kAnswered);
  const auto result = fetch_scripted([](Exchange& exchange) {
    exchange.send("HTTP/1.1 200 OK\r\n");
    exchange.hang();
  });
  EXPECT_EQ(result.reason, "no answer within 3s");
}

TEST_F(ObjectClientTest, IsAbandonedAtOnceWhenInterrupted) {
  EXPECT_EQ(fetch(7).kind, Kind::kAnswered);
  FetchResult result;
  Thread fetching("fetch", [&] { result = fetch_scripted([](Exchange& e) { e.hang(); }); });
  ASSERT_TRUE(eventually([&] { return service_.under_way() == 1; }));
  const auto began = SteadyClock::now();
  stop_.ring();
  client_->interrupt();
  fetching.join();
  EXPECT_EQ(result.kind, Kind::kAbandoned);
  EXPECT_LT(SteadyClock::now() - began, seconds(10));
  EXPECT_EQ(fetch(7).kind, Kind::kAbandoned);
}

TEST_F(ObjectClientTest, SaysThatNobodyListens) {
  service_.stop();
  const auto result = fetch(7);
  EXPECT_EQ(result.kind, Kind::kUnreachable);
  EXPECT_EQ(result.reason, "cannot connect to 127.0.0.1:" + std::to_string(service_.port()) +
                               ": Connection refused");
}

TEST_F(ObjectClientTest, SaysThatAHostHasNoAddress) {
  url_ = "http://no-such-host.invalid:9010/objects";
  const auto result = fetch(7);
  EXPECT_EQ(result.kind, Kind::kUnreachable);
  EXPECT_TRUE(result.reason.starts_with("cannot resolve no-such-host.invalid: ")) << result.reason;
}

// 192.0.2.0/24 answers nobody (RFC 5737); where there is no route at all, that is said instead.
TEST_F(ObjectClientTest, GivesUpConnectingAfterTheConnectTimeout) {
  options_.connect_timeout = Millis(200);
  url_ = "http://192.0.2.1:9010/objects";
  const auto began = SteadyClock::now();
  const auto result = fetch(7);
  EXPECT_EQ(result.kind, Kind::kUnreachable);
  EXPECT_TRUE(result.reason.starts_with("cannot connect to 192.0.2.1:9010: ")) << result.reason;
  EXPECT_LT(SteadyClock::now() - began, seconds(10));
}

TEST_F(ObjectClientTest, TriesEachAddressOfTheHost) {
  url_ = "http://localhost:" + std::to_string(service_.port()) + "/objects";
  EXPECT_EQ(fetch(7).kind, Kind::kAnswered);
}

TEST_F(ObjectClientTest, AConnectionThatTheServiceClosedMeanwhileCostsNoAttempt) {
  EXPECT_EQ(fetch(1).kind, Kind::kAnswered);
  service_.stop();
  service_.start();
  EXPECT_EQ(fetch(2).kind, Kind::kAnswered);
  EXPECT_EQ(service_.connections(), 2);
}

// The service closes at the moment at which it gets the next request.
TEST_F(ObjectClientTest, AConnectionThatIsClosedOnReuseIsReplacedWithinTheAttempt) {
  service_.set_script([&](Exchange& exchange) {
    if (exchange.id == 2 && exchange.number == 1) {
      exchange.close();
    } else {
      exchange.answer();
    }
  });
  EXPECT_EQ(fetch(1).kind, Kind::kAnswered);
  EXPECT_EQ(fetch(2).kind, Kind::kAnswered);
  EXPECT_EQ(service_.requests_for(2), 2);
  EXPECT_EQ(service_.connections(), 2);
}

// What came before the request, such as a first one that got no answer, tells nothing of the
// object.
TEST_F(ObjectClientTest, CheckedAtIsWhenTheRequestThatWasAnsweredWasSent) {
  UnixTime asked_again;
  service_.set_script([&](Exchange& exchange) {
    if (exchange.id == 2 && exchange.number == 1) {
      exchange.wait(Millis(50));
      asked_again = unix_now();
      exchange.close();
    } else {
      exchange.answer();
    }
  });
  EXPECT_EQ(fetch(1).kind, Kind::kAnswered);
  const auto result = fetch(2);
  EXPECT_EQ(result.kind, Kind::kAnswered);
  EXPECT_GE(result.checked_at, asked_again);
}

TEST_F(ObjectClientTest, AFreshConnectionThatIsClosedIsAFailedAttempt) {
  const auto result = fetch_scripted([](Exchange& exchange) { exchange.close(); });
  EXPECT_EQ(result.kind, Kind::kUnreachable);
  EXPECT_EQ(result.reason, "the connection was closed before the end of the answer");
  EXPECT_EQ(service_.requests_for(7), 1);
}

// Bytes that nobody asked for would be taken for the next answer.
TEST_F(ObjectClientTest, DropsAConnectionThatSentTooMuch) {
  service_.set_script([](Exchange& exchange) {
    exchange.send(object_answer(exchange.id, true) + object_answer(8, true));
  });
  EXPECT_EQ(fetch(7).kind, Kind::kAnswered);
  EXPECT_EQ(fetch(9).kind, Kind::kAnswered);
  EXPECT_EQ(service_.connections(), 2);
}

}  // namespace
}  // namespace postoffice::testing
