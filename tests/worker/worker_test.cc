#include "tests/worker/worker_test.h"

#include <algorithm>
#include <random>

namespace postoffice::testing {
namespace {

std::vector<int64_t> ids_up_to(int64_t count) {
  std::vector<int64_t> ids(static_cast<size_t>(count));
  for (int64_t id = 0; id < count; ++id) ids[static_cast<size_t>(id)] = id;
  return ids;
}

TEST_F(WorkerTest, StoresWhatTheServiceSaysOfEachObject) {
  start();
  const auto received = unix_now() - seconds(3);
  const auto before = unix_now();
  const auto tag = deliver_ids({1, 2, -4}, received);
  ASSERT_TRUE(acked(tag));
  EXPECT_EQ(database_.rows(), 3u);
  for (const int64_t id : {1, 2, -4}) {
    const auto row = database_.row(id);
    ASSERT_TRUE(row);
    EXPECT_EQ(row->online, id % 2 == 0);
    EXPECT_EQ(row->last_seen, received);
    EXPECT_GE(row->checked_at, before);
  }
}

TEST_F(WorkerTest, AnObjectThatIsGoneLosesItsRow) {
  service_.set_script([](Exchange& exchange) { exchange.answer(exchange.id == 1 ? 404 : 410); });
  database_.put({1, true, unix_now(), unix_now() - seconds(5)});
  start();
  ASSERT_TRUE(acked(deliver_ids({1, 2})));
  EXPECT_EQ(database_.rows(), 0u);
  EXPECT_EQ(metric(metrics_, "postoffice_fetches_total{result=\"gone\"}"), 2);
}

TEST_F(WorkerTest, AMessageWithoutIdsIsAcknowledged) {
  start();
  EXPECT_TRUE(acked(deliver_ids({})));
  EXPECT_TRUE(acked(deliver("")));
  EXPECT_TRUE(acked(deliver("\n\n")));
}

TEST_F(WorkerTest, AcknowledgesOnlyAfterTheCommit) {
  Gate gate;
  std::atomic<int> tried = 0;
  database_.set_fault([&](const auto&) {
    ++tried;
    gate.wait();
  });
  start();
  const auto tag = deliver_ids({1});
  ASSERT_TRUE(eventually([&] { return tried == 1; }));
  EXPECT_FALSE(settler_.acked(tag));
  gate.open();
  EXPECT_TRUE(acked(tag));
}

TEST_F(WorkerTest, AMessageWaitsForEachOfItsObjects) {
  Gate gate;
  service_.set_script([&](Exchange& exchange) {
    if (exchange.id == 3) gate.wait();
    exchange.answer();
  });
  start();
  const auto held = deliver_ids({1, 3});
  const auto other = deliver_ids({1, 2});
  ASSERT_TRUE(acked(other));
  EXPECT_FALSE(settler_.acked(held));
  gate.open();
  EXPECT_TRUE(acked(held));
}

TEST_F(WorkerTest, AnIdThatWaitsIsFetchedOnceForAllCallbacksAndOnceMoreForThoseThatCameLate) {
  options_.fetch_threads = 1;
  Gate first_gate;
  Gate second_gate;
  service_.set_script([&](Exchange& exchange) {
    if (exchange.id == 1) first_gate.wait();
    if (exchange.id == 2 && exchange.number == 1) second_gate.wait();
    exchange.answer();
  });
  start();
  const auto busy = deliver_ids({1});
  ASSERT_TRUE(eventually([&] { return service_.requests_for(1) == 1; }));
  std::vector<uint64_t> waiting;
  for (int i = 0; i < 100; ++i) waiting.push_back(deliver_ids({2}));
  ASSERT_TRUE(eventually([&] { return metric(metrics_, "postoffice_deliveries_held") == 101; }));
  first_gate.open();
  ASSERT_TRUE(acked(busy));
  ASSERT_TRUE(eventually([&] { return service_.requests_for(2) == 1; }));
  std::vector<uint64_t> late;
  for (int i = 0; i < 100; ++i) late.push_back(deliver_ids({2}));
  ASSERT_TRUE(eventually([&] { return metric(metrics_, "postoffice_deliveries_held") == 200; }));
  second_gate.open();
  for (const auto tag : waiting) ASSERT_TRUE(acked(tag));
  for (const auto tag : late) ASSERT_TRUE(acked(tag));
  EXPECT_EQ(service_.requests_for(2), 2);
}

TEST_F(WorkerTest, TheNewestReceiveTimeOfThoseWhoNamedItCounts) {
  options_.fetch_threads = 1;
  Gate gate;
  service_.set_script([&](Exchange& exchange) {
    if (exchange.id == 1) gate.wait();
    exchange.answer();
  });
  start();
  const auto now = unix_now();
  deliver_ids({1});
  const auto newer = deliver(encode_callback_line(now - seconds(4), std::vector<int64_t>{2}) +
                             encode_callback_line(now - seconds(2), std::vector<int64_t>{2, 2}));
  const auto older = deliver_ids({2}, now - seconds(9));
  gate.open();
  ASSERT_TRUE(acked(newer));
  ASSERT_TRUE(acked(older));
  EXPECT_EQ(database_.row(2)->last_seen, now - seconds(2));
}

// 1,000 callbacks of 200 ids out of 100, all there before the first answer: they are done within
// twice the slowest answer, because all objects are asked for at once, and then once more at most.
TEST_F(WorkerTest, ABurstTakesNoLongerThanTwiceTheSlowestAnswer) {
  constexpr int64_t kIds = 100;
  options_.fetch_threads = 200;
  options_.fetch.attempt_timeout = seconds(60);
  Gate gate;
  service_.set_script([&](Exchange& exchange) {
    gate.wait();
    exchange.answer();
  });
  start();
  std::minstd_rand random(7);
  for (int i = 0; i < 1000; ++i) {
    std::vector<int64_t> ids(200);
    for (auto& id : ids) id = static_cast<int64_t>(random() % kIds);
    deliver_ids(ids);
  }
  ASSERT_TRUE(eventually([&] { return metric(metrics_, "postoffice_deliveries_held") == 1000; }));
  EXPECT_TRUE(eventually([&] { return service_.under_way() == kIds; }));
  gate.open();
  ASSERT_TRUE(eventually([&] { return settler_.acks() == 1000; }));
  for (int64_t id = 0; id < kIds; ++id) EXPECT_LE(service_.requests_for(id), 2) << id;
  EXPECT_EQ(database_.rows(), static_cast<size_t>(kIds));
}

TEST_F(WorkerTest, FetchesAsManyAtOnceAsItHasThreads) {
  options_.fetch_threads = 50;
  Gate gate;
  service_.set_script([&](Exchange& exchange) {
    gate.wait();
    exchange.answer();
  });
  start();
  const auto tag = deliver_ids(ids_up_to(120));
  ASSERT_TRUE(eventually([&] { return service_.under_way() == 50; }));
  EXPECT_EQ(metric(metrics_, "postoffice_fetches_in_flight"), 50);
  gate.open();
  ASSERT_TRUE(acked(tag));
  EXPECT_EQ(service_.most_under_way(), 50);
  EXPECT_EQ(metric(metrics_, "postoffice_fetches_in_flight"), 0);
  EXPECT_EQ(metric(metrics_, "postoffice_objects_stored_total"), 120);
}

TEST_F(WorkerTest, OneAtATimeUsesOneConnection) {
  options_.fetch_threads = 50;
  start();
  for (int64_t id = 0; id < 100; ++id) ASSERT_TRUE(acked(deliver_ids({id})));
  EXPECT_LE(service_.connections(), 3);
}

// The answer to the later question is there first.
TEST_F(WorkerTest, TheAnswerToTheNewerQuestionWinsWhicheverComesFirst) {
  Gate gate;
  service_.set_script([&](Exchange& exchange) {
    if (exchange.number == 1) {
      gate.wait();
      exchange.send(object_answer(exchange.id, false));
    } else {
      exchange.send(object_answer(exchange.id, true));
    }
  });
  start();
  FakeSettler other_settler;
  Metrics other_metrics;
  FakePublisher other_publisher;
  Worker other(options_, other_publisher, database_.factory(), other_metrics);
  other.start(other_settler, [] { return true; });

  const auto slow = deliver_ids({7});
  ASSERT_TRUE(eventually([&] { return service_.requests_for(7) == 1; }));
  const auto asked = unix_now();
  ASSERT_TRUE(eventually([&] { return unix_now() > asked; }));
  other.handler().on_delivery(
      {{1, 1}, encode_callback_line(unix_now(), std::vector<int64_t>{7}), 0, false});
  ASSERT_TRUE(eventually([&] { return other_settler.acked(1); }));
  gate.open();
  ASSERT_TRUE(acked(slow));
  EXPECT_TRUE(database_.row(7)->online);
  EXPECT_TRUE(other.stop(SteadyClock::now() + seconds(8)));
}

TEST_F(WorkerTest, APoisonLineBecomesADeadLetterAndTheRestIsProcessed) {
  start();
  const std::string good = encode_callback_line(unix_now(), std::vector<int64_t>{1, 2});
  const auto tag = deliver("garbage\n" + good + "{\"received_at\":1,\"object_ids\":[\"x\"]}\n" +
                           encode_callback_line(unix_now(), std::vector<int64_t>{3}));
  ASSERT_TRUE(acked(tag));
  EXPECT_EQ(database_.rows(), 3u);
  const auto dead = dead_letters();
  ASSERT_EQ(dead.size(), 2u);
  EXPECT_EQ(dead[0].body, "garbage");
  EXPECT_TRUE(reason_of(dead[0]).starts_with("not JSON")) << reason_of(dead[0]);
  EXPECT_EQ(reason_of(dead[1]), "object_ids[0] is no 64-bit integer");
}

TEST_F(WorkerTest, APoisonMessageIsNotAcknowledgedBeforeItsDeadLetterIsConfirmed) {
  publisher_.hold(true);
  start();
  const auto tag = deliver("garbage");
  ASSERT_TRUE(eventually([&] { return publisher_.published() == 1; }));
  EXPECT_FALSE(settler_.acked(tag));
  publisher_.hold(false);
  EXPECT_TRUE(acked(tag));
}

TEST_F(WorkerTest, AMessageThatFailedFourTimesIsPublishedAgainLineByLine) {
  start();
  const std::string one = encode_callback_line(unix_now(), std::vector<int64_t>{1});
  const std::string two = encode_callback_line(unix_now(), std::vector<int64_t>{2});
  const auto tag = deliver(one + "\n" + "garbage\n" + two, 4);
  ASSERT_TRUE(acked(tag));
  const auto lines = publisher_.confirmed(std::string(topology::kCallbacks));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].routing_key, topology::kCallbacks);
  EXPECT_EQ(lines[0].body, one);
  EXPECT_EQ(lines[1].body, "garbage\n");
  EXPECT_EQ(lines[2].body, two);
  EXPECT_EQ(service_.requests(), 0);
}

TEST_F(WorkerTest, ASingleLineOrFewerFailuresAreProcessedAsEver) {
  start();
  EXPECT_TRUE(acked(deliver(encode_callback_line(unix_now(), std::vector<int64_t>{1}), 9)));
  const std::string line = encode_callback_line(unix_now(), std::vector<int64_t>{2});
  EXPECT_TRUE(acked(deliver(line + line, 3)));
  EXPECT_EQ(publisher_.published(), 0u);
  EXPECT_EQ(database_.rows(), 2u);
}

// However long the queue is, only so much of it is in memory.
TEST_F(WorkerTest, AFloodIsParkedAndThenNotReadAnyMore) {
  options_.fetch_threads = 2;
  options_.most_parts = 100;
  options_.most_parked_bytes = 200'000;
  Gate gate;
  service_.set_script([&](Exchange& exchange) {
    gate.wait();
    exchange.answer();
  });
  start();
  int delivered = 0;
  for (; settler_.reading() && delivered < 10'000; ++delivered) {
    std::vector<int64_t> ids(50);
    for (auto& id : ids) id = delivered;
    ids[0] = -1 - delivered;
    deliver_ids(ids);
  }
  EXPECT_FALSE(settler_.reading());
  EXPECT_LT(delivered, 2000);
  EXPECT_LE(metric(metrics_, "postoffice_deliveries_held"), 50);
  EXPECT_LE(metric(metrics_, "postoffice_ids_waiting"), 101);
  gate.open();
  EXPECT_TRUE(eventually([&] { return settler_.acks() == static_cast<size_t>(delivered); }));
  EXPECT_TRUE(settler_.reading());
}

TEST_F(WorkerTest, TellsHowManyMessagesToPrefetch) {
  const auto prefetch = [&](size_t threads, uint16_t wanted) {
    Metrics metrics;
    options_.fetch_threads = threads;
    options_.prefetch = wanted;
    options_.objects_url = service_.url();
    return Worker(options_, publisher_, database_.factory(), metrics).prefetch();
  };
  EXPECT_EQ(prefetch(1, 0), 1000);
  EXPECT_EQ(prefetch(10'000, 0), 20'000);
  EXPECT_EQ(prefetch(100'000, 0), 65'535);
  EXPECT_EQ(prefetch(1, 7), 7);
}

TEST_F(WorkerTest, RefusesAUrlThatIsNone) {
  options_.objects_url = "objects";
  EXPECT_THROW(Worker(options_, publisher_, database_.factory(), metrics_), BadConfig);
}

TEST_F(WorkerTest, SaysWhetherItIsReady) {
  start();
  const auto check = [&](const std::string& name) {
    for (const auto& readiness : worker_->readiness("a broker")) {
      if (readiness.name == name) return readiness;
    }
    return Readiness{};
  };
  EXPECT_TRUE(eventually([&] { return check("database").ok; }));
  EXPECT_TRUE(check("broker").ok);
  EXPECT_EQ(check("broker").detail, "a broker");
  EXPECT_TRUE(check("object service").ok);
  connected_ = false;
  EXPECT_FALSE(check("broker").ok);
  connected_ = true;
  publisher_.set_available(false);
  EXPECT_FALSE(check("broker").ok);
  database_.set_report_fault("gone");
  EXPECT_TRUE(eventually([&] { return !check("database").ok; }));
  EXPECT_EQ(check("database").detail, "gone");
}

}  // namespace
}  // namespace postoffice::testing
