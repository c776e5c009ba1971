#include "tests/worker/worker_test.h"

namespace postoffice::testing {
namespace {

class WorkerFailureTest : public WorkerTest {
 protected:
  // Answers `status` for object 7 and as ever for the others.
  void fail_seven(int status, const std::string& headers = "") {
    service_.set_script([=](Exchange& exchange) {
      if (exchange.id == 7) {
        exchange.answer(status, headers);
      } else {
        exchange.answer();
      }
    });
  }
};

TEST_F(WorkerFailureTest, OneBadIdHoldsBackNoMessageNoSlotAndNoRow) {
  options_.fetch_threads = 2;
  fail_seven(500);
  start();
  std::vector<uint64_t> tags;
  for (int64_t id = 100; id < 200; ++id) tags.push_back(deliver_ids({7, id}));
  for (const auto tag : tags) ASSERT_TRUE(acked(tag));
  EXPECT_EQ(database_.rows(), 100u);
  EXPECT_FALSE(database_.row(7));
  EXPECT_GE(retries().size(), 1u);
}

TEST_F(WorkerFailureTest, AnObjectThatFailedGoesAloneToARetryQueue) {
  options_.retry.least = Millis(3000);
  options_.retry.most = Millis(4000);
  fail_seven(503);
  start();
  const auto received = unix_now() - seconds(1);
  const auto before = unix_now();
  ASSERT_TRUE(acked(deliver_ids({7, 8}, received)));
  ASSERT_EQ(retries().size(), 1u);
  const auto message = retries()[0];
  EXPECT_EQ(message.routing_key, "postoffice.callbacks.retry.2s");
  const auto line = line_of(message);
  EXPECT_EQ(line.object_ids, std::vector<int64_t>{7});
  EXPECT_EQ(line.received_at, received);
  EXPECT_EQ(line.attempt, 1);
  EXPECT_GE(*line.not_before, before + Millis(3000));
  EXPECT_LE(*line.not_before, unix_now() + Millis(4000));
}

TEST_F(WorkerFailureTest, RetryAfterIsNeverUndercut) {
  fail_seven(429, "Retry-After: 3600\r\n");
  start();
  const auto before = unix_now();
  const auto tag = deliver_ids({7});
  ASSERT_TRUE(acked(tag));
  const auto line = line_of(retries().at(0));
  EXPECT_GE(*line.not_before, before + seconds(3600));
  EXPECT_EQ(retries()[0].routing_key, "postoffice.callbacks.retry.30s");
  // Back from the queue before its time it goes there again, as it was.
  relay_retries();
  ASSERT_TRUE(eventually([&] { return retries().size() == 2; }));
  EXPECT_EQ(retries()[1].body, retries()[0].body);
  EXPECT_EQ(service_.requests_for(7), 1);
}

TEST_F(WorkerFailureTest, ARetryThatIsNearlyDueIsHeldUntilThen) {
  start();
  const auto not_before = unix_now() + Millis(150);
  const auto tag = deliver(encode_retry_line(unix_now(), 6, 2, not_before));
  ASSERT_TRUE(acked(tag));
  EXPECT_GE(database_.row(6)->checked_at, not_before);
  EXPECT_EQ(publisher_.published(), 0u);
}

// Each that waits here is a message less that the broker delivers.
TEST_F(WorkerFailureTest, RetriesThatWaitLeaveMostOfThePrefetchToCallbacks) {
  options_.prefetch = 8;
  start();
  const auto not_before = unix_now() + seconds(7);
  const auto later = [&](int64_t id) {
    return deliver(encode_retry_line(unix_now(), id, 2, not_before));
  };
  const auto first = later(1);
  const auto second = later(2);
  ASSERT_TRUE(acked(later(3)));
  EXPECT_FALSE(settler_.acked(first));
  EXPECT_FALSE(settler_.acked(second));
  EXPECT_EQ(service_.requests(), 0);
  ASSERT_EQ(retries().size(), 1u);
  EXPECT_EQ(retries()[0].routing_key, "postoffice.callbacks.retry.2s");
  EXPECT_EQ(line_of(retries()[0]).object_ids, std::vector<int64_t>{3});
  EXPECT_EQ(line_of(retries()[0]).attempt, 2);
  EXPECT_EQ(line_of(retries()[0]).not_before, not_before);
}

TEST_F(WorkerFailureTest, AfterFiveAttemptsItIsADeadLetterThatSaysWhy) {
  fail_seven(500);
  start();
  const auto received = unix_now();
  deliver_ids({7}, received);
  const auto dead = first_dead_letter();
  ASSERT_TRUE(dead);
  EXPECT_EQ(reason_of(*dead), "object 7: answer 500 after 5 attempts");
  const auto line = line_of(*dead);
  EXPECT_EQ(line.object_ids, std::vector<int64_t>{7});
  EXPECT_EQ(line.received_at, received);
  EXPECT_EQ(line.attempt, 5);
  EXPECT_EQ(service_.requests_for(7), 5);
  std::vector<int> attempts;
  for (const auto& retry : retries()) attempts.push_back(line_of(retry).attempt);
  EXPECT_EQ(attempts, (std::vector<int>{1, 2, 3, 4}));
  EXPECT_TRUE(eventually([&] { return settler_.acks() == 5; }));
}

TEST_F(WorkerFailureTest, AnObjectThatRecoversIsStored) {
  service_.set_script([](Exchange& exchange) {
    if (exchange.number < 5) {
      exchange.answer(500);
    } else {
      exchange.answer();
    }
  });
  start();
  deliver_ids({8});
  EXPECT_TRUE(eventually([&] {
    relay_retries();
    return database_.row(8).has_value();
  }));
  EXPECT_TRUE(dead_letters().empty());
}

TEST_F(WorkerFailureTest, ANewCallbackGivesAnObjectItsAttemptsAnew) {
  options_.fetch_threads = 1;
  Gate gate;
  service_.set_script([&](Exchange& exchange) {
    if (exchange.id == 1) gate.wait();
    exchange.answer(exchange.id == 1 ? 404 : 500);
  });
  start();
  deliver_ids({1});
  ASSERT_TRUE(eventually([&] { return service_.requests_for(1) == 1; }));
  const auto retry = deliver(encode_retry_line(unix_now() - seconds(9), 7, 4, unix_now()));
  const auto callback = deliver_ids({7});
  ASSERT_TRUE(eventually([&] { return metric(metrics_, "postoffice_deliveries_held") == 3; }));
  gate.open();
  ASSERT_TRUE(acked(retry));
  ASSERT_TRUE(acked(callback));
  EXPECT_TRUE(dead_letters().empty());
  ASSERT_EQ(retries().size(), 1u);
  EXPECT_EQ(line_of(retries()[0]).attempt, 1);
}

TEST_F(WorkerFailureTest, ARefusedObjectIsADeadLetterAtOnce) {
  fail_seven(400);
  start();
  ASSERT_TRUE(acked(deliver_ids({7, 8})));
  ASSERT_EQ(dead_letters().size(), 1u);
  EXPECT_EQ(reason_of(dead_letters()[0]), "object 7: answer 400");
  EXPECT_TRUE(retries().empty());
}

TEST_F(WorkerFailureTest, LastSeenIsMovedBeforeTheRetryIsPublished) {
  const auto received = unix_now();
  database_.put({7, true, received - seconds(20), received - seconds(20)});
  fail_seven(500);
  std::optional<UnixTime> last_seen_at_publish;
  publisher_.set_judge([&](const Message&) {
    last_seen_at_publish = database_.row(7)->last_seen;
    return PublishOutcome::kConfirmed;
  });
  start();
  ASSERT_TRUE(acked(deliver_ids({7}, received)));
  EXPECT_EQ(last_seen_at_publish, received);
  EXPECT_TRUE(database_.row(7)->online);
}

TEST_F(WorkerFailureTest, ARetryIsPublishedUntilItIsConfirmed) {
  std::atomic<int> tries = 0;
  publisher_.set_judge([&](const Message&) {
    const int number = ++tries;
    return number < 4 ? PublishOutcome::kNacked : PublishOutcome::kConfirmed;
  });
  fail_seven(500);
  start();
  ASSERT_TRUE(acked(deliver_ids({7})));
  EXPECT_EQ(tries, 4);
}

// --- Answers that are none

struct BadAnswer {
  const char* name;
  std::string bytes;
  const char* reason;
};

class WorkerBadAnswerTest : public WorkerTest, public ::testing::WithParamInterface<BadAnswer> {};

TEST_P(WorkerBadAnswerTest, IsRetriedFiveTimes) {
  service_.set_script([](Exchange& exchange) {
    if (exchange.id == 7) {
      exchange.send(GetParam().bytes);
      exchange.close();
    } else {
      exchange.answer();
    }
  });
  start();
  deliver_ids({7, 8});
  const auto dead = first_dead_letter();
  ASSERT_TRUE(dead);
  EXPECT_EQ(reason_of(*dead), std::string("object 7: ") + GetParam().reason + " after 5 attempts");
  EXPECT_TRUE(database_.row(8));
  EXPECT_FALSE(database_.row(7));
}

INSTANTIATE_TEST_SUITE_P(
    All, WorkerBadAnswerTest,
    ::testing::Values(BadAnswer{"WrongId", object_answer(8, true), "the answer is for object 8"},
                      BadAnswer{"Huge", http_answer(200, std::string(100'000, ' ')),
                                "the answer is larger than 64 KiB"},
                      BadAnswer{"Garbage", "\x01\x02\x03\r\n\r\n", "the answer is malformed"},
                      BadAnswer{"Closed", "",
                                "the connection was closed before the end of the answer"}),
    [](const auto& test) { return test.param.name; });

TEST_F(WorkerFailureTest, AnAnswerThatTricklesCostsItsSlotNoLongerThanTheAttempt) {
  options_.fetch_threads = 1;
  options_.fetch.attempt_timeout = Millis(200);
  service_.set_script([](Exchange& exchange) {
    if (exchange.id != 7) return exchange.answer();
    exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n");
    while (exchange.wait(Millis(5)) && exchange.send(" ")) {
    }
  });
  start();
  const auto began = SteadyClock::now();
  deliver_ids({7});
  ASSERT_TRUE(acked(deliver_ids({8})));
  EXPECT_LT(SteadyClock::now() - began, Millis(5000));
  ASSERT_TRUE(eventually([&] { return !retries().empty(); }));
}

// --- The service as a whole

class WorkerOutageTest : public WorkerTest {
 protected:
  WorkerOutageTest() {
    options_.outage.window = Millis(200);
    options_.outage.ids = 5;
  }
  bool is_down() { return metric(metrics_, "postoffice_object_service_up") == 0; }
  // Retries come back at once, so that objects fail as fast as they can.
  bool goes_down() {
    return eventually([&] {
      relay_retries();
      return is_down();
    });
  }
  std::vector<uint64_t> deliver_many(int64_t first, int64_t count) {
    std::vector<uint64_t> tags;
    for (int64_t id = first; id < first + count; ++id) tags.push_back(deliver_ids({id}));
    return tags;
  }
  bool all_stored(size_t rows) {
    return eventually([&] {
      relay_retries();
      return database_.rows() == rows && metric(metrics_, "postoffice_deliveries_held") == 0;
    });
  }
};

TEST_F(WorkerOutageTest, PausesProbesAndResumesWithoutCountingAttempts) {
  service_.stop();
  start();
  deliver_many(0, 50);
  ASSERT_TRUE(goes_down());
  deliver_many(50, 50);
  EXPECT_FALSE(worker_->readiness("")[2].ok);
  EXPECT_FALSE(worker_->readiness("")[2].required);
  // Many probes fail meanwhile.
  const auto failed = [&] {
    return metric(metrics_, "postoffice_fetches_total{result=\"unreachable\"}");
  };
  const double before = failed();
  ASSERT_TRUE(eventually([&] { return failed() >= before + 20; }));
  service_.start();
  EXPECT_TRUE(all_stored(100));
  EXPECT_FALSE(is_down());
  EXPECT_TRUE(dead_letters().empty());
}

TEST_F(WorkerOutageTest, ProbesAreOneAtATimeAndReachNewIdsSoon) {
  options_.fetch_threads = 20;
  service_.set_script([](Exchange& exchange) {
    if (exchange.id < 1000) {
      exchange.answer(500);
    } else {
      exchange.answer();
    }
  });
  start();
  deliver_many(0, 200);  // The service is fine, but none of these is.
  ASSERT_TRUE(goes_down());
  ASSERT_TRUE(eventually([&] { return metric(metrics_, "postoffice_fetches_in_flight") == 0; }));
  const auto tag = deliver_ids({1000});
  ASSERT_TRUE(acked(tag));
  // 200 ids waited before it; it was not the last to be probed.
  const auto order = service_.order();
  const auto probed = std::find(order.begin(), order.end(), 1000);
  ASSERT_NE(probed, order.end());
}

TEST_F(WorkerOutageTest, AServiceThatHangsIsDownToo) {
  options_.fetch_threads = 10;
  options_.fetch.attempt_timeout = Millis(100);
  service_.set_script([](Exchange& exchange) { exchange.hang(); });
  start();
  deliver_many(0, 30);
  ASSERT_TRUE(goes_down());
  service_.set_script([](Exchange& exchange) { exchange.answer(); });
  EXPECT_TRUE(all_stored(30));
  EXPECT_TRUE(dead_letters().empty());
}

TEST_F(WorkerOutageTest, UnauthorisedForEverythingPausesUntilItIsLetIn) {
  std::atomic<int> status = 401;
  service_.set_script([&](Exchange& exchange) {
    if (status != 0) {
      exchange.answer(status);
    } else {
      exchange.answer();
    }
  });
  start();
  deliver_many(0, 20);
  ASSERT_TRUE(goes_down());
  EXPECT_NE(worker_->readiness("")[2].detail.find("answer 401 to everything"), std::string::npos)
      << worker_->readiness("")[2].detail;
  status = 403;
  ASSERT_TRUE(eventually(
      [&] { return metric(metrics_, "postoffice_fetches_total{result=\"unauthorised\"}") > 30; }));
  EXPECT_TRUE(is_down());
  status = 0;
  EXPECT_TRUE(all_stored(20));
  EXPECT_TRUE(dead_letters().empty());
}

TEST_F(WorkerOutageTest, UnauthorisedForOneIdWhileOthersSucceedIsADeadLetter) {
  service_.set_script([](Exchange& exchange) {
    if (exchange.id == 7) {
      exchange.answer(403);
    } else {
      exchange.answer();
    }
  });
  start();
  deliver_ids({7});
  int64_t next = 100;
  ASSERT_TRUE(eventually([&] {
    deliver_ids({next++});
    relay_retries();
    return !dead_letters().empty();
  }));
  EXPECT_EQ(reason_of(dead_letters()[0]), "object 7: answer 403 after 5 attempts");
  EXPECT_FALSE(is_down());
}

TEST_F(WorkerOutageTest, AFewBadIdsAreNoOutage) {
  service_.set_script([](Exchange& exchange) {
    if (exchange.id < 4) {
      exchange.answer(500);
    } else {
      exchange.answer();
    }
  });
  start();
  deliver_many(0, 4);
  ASSERT_TRUE(eventually([&] {
    relay_retries();
    return dead_letters().size() == 4;
  }));
  EXPECT_FALSE(is_down());
}

// --- The database

class WorkerDatabaseTest : public WorkerTest {};

TEST_F(WorkerDatabaseTest, AnOutagePausesFetchingAndResumesWithNothingLost) {
  options_.store.most_waiting = 50;
  options_.store.batch_rows = 20;
  std::atomic<bool> away = true;
  database_.set_fault([&](const auto&) {
    if (away) throw Transient("away");
  });
  start();
  for (int64_t id = 0; id < 1000; ++id) deliver_ids({id});
  ASSERT_TRUE(eventually([&] { return database_.attempts() >= 20 && service_.requests() >= 50; }));
  // What waits, what the writer has in hand, and what was under way when the bound was reached.
  EXPECT_LE(service_.requests(), 50 + 20 + 8);
  EXPECT_EQ(settler_.acks(), 0u);
  away = false;
  EXPECT_TRUE(eventually([&] { return settler_.acks() == 1000; }));
  EXPECT_EQ(database_.rows(), 1000u);
}

TEST_F(WorkerDatabaseTest, AnObjectThatTheDatabaseRefusesIsADeadLetterAndTheOthersAreStored) {
  database_.set_fault([](const std::vector<ObjectUpdate>& updates) {
    for (const auto& update : updates) {
      if (update.id == 7) throw Permanent("value out of range");
    }
  });
  start();
  std::vector<int64_t> ids;
  for (int64_t id = 0; id < 100; ++id) ids.push_back(id);
  ASSERT_TRUE(acked(deliver_ids(ids)));
  EXPECT_EQ(database_.rows(), 99u);
  ASSERT_EQ(dead_letters().size(), 1u);
  EXPECT_EQ(reason_of(dead_letters()[0]), "object 7: the database refuses it: value out of range");
  EXPECT_EQ(line_of(dead_letters()[0]).object_ids, std::vector<int64_t>{7});
}

}  // namespace
}  // namespace postoffice::testing
