#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <thread>

#include "broker/intake.h"
#include "broker/sqlite_outbox.h"
#include "tests/broker/answers.h"
#include "tests/broker/memory_outbox.h"
#include "tests/broker/scripted_publisher.h"
#include "tests/broker/temp_folder.h"

namespace postoffice {
namespace {

constexpr int kThreads = 16;
constexpr int kLinesPerThread = 400;

std::multiset<std::string> lines_of(const std::vector<std::string>& bodies) {
  std::multiset<std::string> lines;
  for (const auto& body : bodies) {
    std::istringstream stream(body);
    for (std::string line; std::getline(stream, line);) lines.insert(line + "\n");
  }
  return lines;
}

// A broker that confirms mostly, holds, returns and refuses sometimes.
ScriptedPublisher::Script moody(uint32_t seed) {
  return
      [random = std::minstd_rand(seed)](const Message&) mutable -> std::optional<PublishOutcome> {
        switch (random() % 40) {
          case 0:
            return PublishOutcome::kReturned;
          case 1:
            return PublishOutcome::kNacked;
          case 2:
          case 3:
            return std::nullopt;
          default:
            return PublishOutcome::kConfirmed;
        }
      };
}

// Many threads accept while the broker comes and goes. Whatever happens: one answer each, and
// every line that was accepted is in a confirmed message or in the outbox in the end.
void stress(Outbox& outbox, const std::function<void(int)>& disturb,
            const std::function<std::vector<std::string>()>& left) {
  Metrics metrics;
  std::array<Answers, kThreads> answers;
  ScriptedPublisher publisher;
  publisher.set_script(moody(1));
  {
    Intake intake({.deadline = Millis(20), .max_outstanding = 3}, publisher, outbox, metrics);
    intake.start();
    std::atomic<bool> finished = false;
    std::jthread chaos([&] {
      for (int i = 0; !finished; ++i) {
        publisher.set_available(false, i % 2 == 0);
        publisher.set_available(true);
        publisher.settle_held(i % 3 == 0 ? PublishOutcome::kUnknown : PublishOutcome::kConfirmed);
        disturb(i);
        intake.oldest_unforwarded();
        intake.forwarded_settled();
        std::this_thread::sleep_for(Millis(1));  // The chaos's pace, nothing waits for it.
      }
    });
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kLinesPerThread; ++i) {
          const std::string line = std::to_string(t) + "-" + std::to_string(i) + "\n";
          intake.accept(line, unix_now(), answers[t].done(line));
          // As clients do: some wait for each answer, some for many.
          if (i % (t + 1) == 0 && !answers[t].wait_for(static_cast<size_t>(i) + 1)) {
            ADD_FAILURE() << "wedged";
            return;
          }
        }
        EXPECT_TRUE(answers[t].wait_for(kLinesPerThread)) << "wedged";
      });
    }
    threads.clear();
    finished = true;
    chaos.join();
    disturb(-1);
    intake.stop();
  }
  const auto confirmed = lines_of(publisher.confirmed());
  const auto in_outbox = lines_of(left());
  size_t by_broker = 0, by_outbox = 0, refused = 0;
  std::map<std::string, std::vector<Accepted>> all_answers;
  for (const auto& one : answers) all_answers.merge(one.all());
  ASSERT_EQ(all_answers.size(), static_cast<size_t>(kThreads * kLinesPerThread));
  for (const auto& [line, all] : all_answers) {
    ASSERT_EQ(all.size(), 1u) << line;
    switch (all[0]) {
      case Accepted::kByBroker:
        ++by_broker;
        EXPECT_TRUE(confirmed.contains(line)) << line;
        break;
      case Accepted::kByOutbox:
        ++by_outbox;
        EXPECT_TRUE(confirmed.contains(line) || in_outbox.contains(line)) << "lost: " << line;
        break;
      case Accepted::kRefused:
        ++refused;
    }
  }
  EXPECT_GT(by_broker, 0u);
  EXPECT_GT(by_outbox, 0u);
  std::cout << by_broker << " by broker, " << by_outbox << " by outbox, " << refused
            << " refused\n";
}

TEST(IntakeStress, LosesNothingWithAFlappingBroker) {
  const TempFolder folder;
  SqliteOutbox outbox({.data_dir = folder.path(), .min_free_bytes = 0});
  stress(
      outbox, [](int) {},
      [&] {
        std::vector<std::string> bodies;
        for (auto& entry : outbox.read(0, 1'000'000)) bodies.push_back(std::move(entry.body));
        return bodies;
      });
}

TEST(IntakeStress, LosesNothingWithAFlappingBrokerAndAnOutboxThatRefusesAtTimes) {
  MemoryOutbox outbox;
  stress(
      outbox,
      [&](int i) {
        outbox.refuse(i >= 0 && i % 5 == 4 ? std::optional(OutboxRefusal::kFull) : std::nullopt);
        outbox.make_unreadable(i % 7 == 6);
      },
      [&] { return outbox.bodies(); });
}

}  // namespace
}  // namespace postoffice
