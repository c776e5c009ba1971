#include <pthread.h>

#include <system_error>

#include "tests/worker/worker_test.h"

namespace postoffice::testing {
namespace {

class WorkerSettleTest : public WorkerTest {
 protected:
  void hang_at(int64_t id) {
    service_.set_script([id](Exchange& exchange) {
      if (exchange.id == id) {
        exchange.hang();
      } else {
        exchange.answer();
      }
    });
  }
};

TEST_F(WorkerSettleTest, AMessageHeldTooLongGoesBackWhetherItIsWorkedOnOrParked) {
  options_.longest_hold = Millis(100);
  options_.fetch_threads = 1;
  options_.most_parts = 2;
  hang_at(7);
  start();
  const auto under_way = deliver_ids({7});
  ASSERT_TRUE(eventually([&] { return service_.requests_for(7) == 1; }));
  const auto waiting = deliver_ids({8});
  const auto parked = deliver_ids({9});
  EXPECT_TRUE(requeued(under_way));
  EXPECT_TRUE(requeued(waiting));
  EXPECT_TRUE(requeued(parked));
  EXPECT_EQ(settler_.acks(), 0u);
  EXPECT_TRUE(eventually([&] { return metric(metrics_, "postoffice_ids_waiting") == 0; }));
}

TEST_F(WorkerSettleTest, ALostConnectionIsForgottenAndWhatComesAgainIsProcessed) {
  Gate gate;
  service_.set_script([&](Exchange& exchange) {
    if (exchange.number == 1) gate.wait();
    exchange.answer();
  });
  options_.fetch_threads = 2;
  start();
  const auto lost = deliver_ids({1, 2, 3, 4});
  ASSERT_TRUE(eventually([&] { return service_.under_way() == 2; }));
  lose_connection();
  ASSERT_TRUE(eventually([&] { return metric(metrics_, "postoffice_ids_waiting") == 0; }));
  const auto again = deliver_ids({1, 2, 3, 4});
  gate.open();
  ASSERT_TRUE(acked(again));
  EXPECT_FALSE(settler_.acked(lost, 1));
  EXPECT_EQ(database_.rows(), 4u);
}

TEST_F(WorkerSettleTest, ARetryForALostDeliveryIsNotPublished) {
  Gate gate;
  std::atomic<bool> committing = false;
  database_.set_fault([&](const auto&) {
    committing = true;
    gate.wait();
  });
  service_.set_script([](Exchange& exchange) { exchange.answer(500); });
  start();
  deliver_ids({7});
  ASSERT_TRUE(eventually([&] { return committing.load(); }));
  lose_connection();
  gate.open();
  service_.set_script([](Exchange& exchange) { exchange.answer(); });
  ASSERT_TRUE(acked(deliver_ids({7})));
  EXPECT_EQ(publisher_.published(), 0u);
}

// --- Watermark

TEST_F(WorkerSettleTest, ReportsTheOldestCallbackItHoldsParkedOnesIncluded) {
  options_.most_parts = 1;
  options_.fetch_threads = 1;
  hang_at(7);
  start();
  EXPECT_TRUE(reports(std::nullopt));
  EXPECT_EQ(database_.last_report()->process, "worker-1");
  EXPECT_EQ(database_.last_report()->role, WatermarkReport::Role::kWorker);
  EXPECT_FALSE(database_.last_report()->stopped);
  const auto now = unix_now();
  deliver_ids({7}, now - seconds(10));
  EXPECT_TRUE(reports(now - seconds(10)));
  deliver_ids({8}, now - seconds(20));  // Parked: there is no room.
  EXPECT_TRUE(reports(now - seconds(20)));
}

TEST_F(WorkerSettleTest, ReportsNothingForRetriesNorForWhatIsDone) {
  hang_at(7);
  start();
  const auto now = unix_now();
  deliver(encode_retry_line(now - seconds(30), 7, 1, now));
  ASSERT_TRUE(eventually([&] { return service_.requests_for(7) == 1; }));
  ASSERT_TRUE(acked(deliver_ids({8}, now - seconds(20))));
  EXPECT_TRUE(reports(std::nullopt));
  deliver(encode_retry_line(now - seconds(30), 9, 1, now + Millis(5000)));
  ASSERT_TRUE(eventually([&] { return metric(metrics_, "postoffice_deliveries_held") == 2; }));
  const size_t reports_before = database_.reports();
  ASSERT_TRUE(eventually([&] { return database_.reports() > reports_before + 1; }));
  EXPECT_EQ(reported_oldest(), std::nullopt);
}

// Nobody else holds them until the broker delivers them again.
TEST_F(WorkerSettleTest, ReportsLostCallbacksUntilTheyHaveHadTimeToComeAgain) {
  options_.returned.keep = Millis(100);
  hang_at(7);
  start();
  const auto received = unix_now() - seconds(10);
  deliver_ids({7}, received);
  ASSERT_TRUE(reports(received));
  connected_ = false;
  lose_connection();
  const size_t before = database_.reports();
  ASSERT_TRUE(eventually([&] { return database_.reports() > before + 15; }));
  EXPECT_EQ(reported_oldest(), received);
  connected_ = true;
  EXPECT_TRUE(reports(std::nullopt));
}

TEST_F(WorkerSettleTest, TheLastReportSaysThatItStoppedAndWhatIsUnfinished) {
  hang_at(7);
  start();
  const auto received = unix_now() - seconds(10);
  deliver_ids({7}, received);
  ASSERT_TRUE(eventually([&] { return service_.requests_for(7) == 1; }));
  EXPECT_TRUE(stop(Millis(200)));
  EXPECT_TRUE(database_.last_report()->stopped);
  EXPECT_EQ(reported_oldest(), received);
}

TEST_F(WorkerSettleTest, TheLastReportOfOneThatFinishedEverythingHoldsNothing) {
  start();
  ASSERT_TRUE(acked(deliver_ids({8})));
  EXPECT_TRUE(stop());
  EXPECT_TRUE(database_.last_report()->stopped);
  EXPECT_EQ(reported_oldest(), std::nullopt);
}

// --- Stop

TEST_F(WorkerSettleTest, WhatIsUnderWayEndsAndTheRestGoesBack) {
  options_.fetch_threads = 2;
  options_.most_parts = 5;
  Gate gate;
  service_.set_script([&](Exchange& exchange) {
    gate.wait();
    exchange.answer();
  });
  start();
  const auto begun = deliver_ids({1, 2});
  ASSERT_TRUE(eventually([&] { return service_.under_way() == 2; }));
  const auto waiting = deliver_ids({1, 3, 4});
  const auto parked = deliver_ids({5});
  const auto retry_later = deliver(encode_retry_line(unix_now(), 6, 1, unix_now() + seconds(5)));
  const auto received = unix_now() - seconds(60);
  const auto oldest = deliver_ids({9}, received);
  std::atomic<bool> stopped = false;
  bool in_order = false;
  Thread stopper("stopper", [&] {
    in_order = stop();
    stopped = true;
  });
  for (const auto tag : {waiting, parked, retry_later, oldest}) EXPECT_TRUE(requeued(tag));
  EXPECT_FALSE(stopped);
  EXPECT_FALSE(settler_.requeued(begun));
  const auto late = deliver_ids({10});  // Was on its way.
  EXPECT_TRUE(requeued(late));
  gate.open();
  stopper.join();
  EXPECT_TRUE(in_order);
  EXPECT_TRUE(settler_.acked(begun));
  EXPECT_EQ(database_.rows(), 2u);
  EXPECT_EQ(service_.requests(), 2);
  EXPECT_EQ(reported_oldest(), received);
}

TEST_F(WorkerSettleTest, StopsWithinTheDeadlineWhenTheServiceHangs) {
  hang_at(7);
  start();
  const auto tag = deliver_ids({7, 8});
  ASSERT_TRUE(eventually([&] { return service_.requests_for(7) == 1 && database_.rows() == 1; }));
  const auto began = SteadyClock::now();
  EXPECT_TRUE(stop(Millis(400)));
  EXPECT_LT(SteadyClock::now() - began, Millis(4000));
  EXPECT_FALSE(settler_.acked(tag));
}

TEST_F(WorkerSettleTest, StopsWithinTheDeadlineWhenTheDatabaseIsAway) {
  database_.set_fault([](const auto&) { throw Transient("away"); });
  database_.set_report_fault("away");
  start();
  const auto tag = deliver_ids({7});
  ASSERT_TRUE(eventually([&] { return database_.attempts() > 2; }));
  const auto began = SteadyClock::now();
  EXPECT_TRUE(stop(Millis(400)));
  EXPECT_LT(SteadyClock::now() - began, Millis(4000));
  EXPECT_FALSE(settler_.acked(tag));
}

TEST_F(WorkerSettleTest, SaysThatSomethingHangsWhenTheDatabaseDoes) {
  Gate gate;
  std::atomic<bool> hangs = false;
  database_.set_fault([&](const auto&) {
    hangs = true;
    gate.wait();
  });
  start();
  const auto tag = deliver_ids({7});
  ASSERT_TRUE(eventually([&] { return hangs.load(); }));
  const auto began = SteadyClock::now();
  EXPECT_FALSE(stop(Millis(300)));
  EXPECT_LT(SteadyClock::now() - began, Millis(4000));
  gate.open();
  worker_.reset();  // Waits for the writer, which settles nothing any more.
  EXPECT_FALSE(settler_.acked(tag));
}

TEST_F(WorkerSettleTest, StopsWithinTheDeadlineWhenTheBrokerTakesNothing) {
  publisher_.set_available(false);
  start();
  const auto tag = deliver("garbage");
  ASSERT_TRUE(eventually([&] { return metric(metrics_, "postoffice_deliveries_held") == 1; }));
  EXPECT_TRUE(stop(Millis(300)));
  EXPECT_FALSE(settler_.acked(tag));
}

TEST_F(WorkerSettleTest, StopsDuringAnOutageOfTheObjectService) {
  options_.outage.window = Millis(50);
  service_.stop();
  start();
  for (int64_t id = 0; id < 50; ++id) deliver_ids({id});
  ASSERT_TRUE(eventually([&] {
    relay_retries();
    return metric(metrics_, "postoffice_object_service_up") == 0;
  }));
  const auto began = SteadyClock::now();
  EXPECT_TRUE(stop());
  EXPECT_LT(SteadyClock::now() - began, Millis(4000));
  EXPECT_GT(settler_.requeues(), 0u);
}

// Threads without a stack size of their own cannot be had while this lives.
class NoMoreThreads {
 public:
  NoMoreThreads() {
    pthread_getattr_default_np(&before_);
    pthread_attr_t huge{};
    pthread_getattr_default_np(&huge);
    EXPECT_EQ(pthread_attr_setstacksize(&huge, size_t{1} << 46), 0);
    EXPECT_EQ(pthread_setattr_default_np(&huge), 0);
    pthread_attr_destroy(&huge);
  }
  ~NoMoreThreads() {
    pthread_setattr_default_np(&before_);
    pthread_attr_destroy(&before_);
  }
  NoMoreThreads(const NoMoreThreads&) = delete;
  NoMoreThreads& operator=(const NoMoreThreads&) = delete;

 private:
  pthread_attr_t before_{};
};

TEST_F(WorkerSettleTest, AStartThatGetsNotAllThreadsEndsThoseThatItGot) {
  options_.objects_url = service_.url();
  worker_ = std::make_unique<Worker>(options_, publisher_, database_.factory(), metrics_);
  {
    const NoMoreThreads no_more;
    EXPECT_THROW(worker_->start(settler_, [] { return true; }), std::system_error);
  }
  EXPECT_TRUE(stop());
  worker_.reset();  // Does not hang.
}

TEST_F(WorkerSettleTest, StoppingTwiceAndWithoutAStartIsFine) {
  {
    Metrics metrics;
    options_.objects_url = service_.url();
    Worker never_started(options_, publisher_, database_.factory(), metrics);
    EXPECT_TRUE(never_started.stop(SteadyClock::now()));
  }
  start();
  EXPECT_TRUE(stop());
  EXPECT_TRUE(stop());
}

}  // namespace
}  // namespace postoffice::testing
