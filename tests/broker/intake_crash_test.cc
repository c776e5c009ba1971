#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <functional>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "broker/intake.h"
#include "broker/sqlite_outbox.h"
#include "tests/broker/scripted_publisher.h"
#include "tests/broker/temp_folder.h"

namespace postoffice {
namespace {

// What a child told before it was killed. The pipe stands for what outlives it: the clients, and
// the broker's disk.
struct Told {
  std::set<std::string> accepted;
  std::set<std::string> confirmed;
};

// One line a write, which a pipe keeps whole.
void tell(int fd, char what, const std::string& line) {
  const std::string text = what + line;
  if (write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) _exit(1);
}

// The child: accepts from four threads without end.
[[noreturn]] void serve(const std::string& data_dir, int fd, int round) {
  SqliteOutbox outbox({.data_dir = data_dir, .min_free_bytes = 0});
  ScriptedPublisher publisher(false);
  std::atomic<unsigned> count = 0;
  publisher.set_script([&](const Message& message) -> std::optional<PublishOutcome> {
    const unsigned n = ++count;
    if (n % 7 == 0) return std::nullopt;
    if (n % 11 == 0) return PublishOutcome::kNacked;
    std::istringstream lines(message.body);
    for (std::string line; std::getline(lines, line);) tell(fd, 'C', line + "\n");
    return PublishOutcome::kConfirmed;
  });
  Metrics metrics;
  Intake intake({.deadline = Millis(5), .max_outstanding = 2}, publisher, outbox, metrics);
  intake.start();
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0;; ++i) {
        const std::string line =
            std::to_string(round) + "-" + std::to_string(t) + "-" + std::to_string(i) + "\n";
        std::atomic<bool> answered = false;
        intake.accept(line, unix_now(), [&](Accepted accepted) {
          if (accepted != Accepted::kRefused) tell(fd, 'A', line);
          answered = true;
          answered.notify_one();
        });
        answered.wait(false);
      }
    });
  }
  for (int i = 0;; ++i) {
    publisher.set_available(true);
    std::this_thread::sleep_for(Millis(7));
    publisher.settle_held(PublishOutcome::kUnknown);
    if (i % 2 == 0) publisher.set_available(false);
    std::this_thread::sleep_for(Millis(3));
  }
}

// Reads until `lines` were told, kills the child, reads the rest.
Told run_and_kill(const std::string& data_dir, size_t lines, int round) {
  int fds[2];
  if (pipe(fds) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    close(fds[0]);
    serve(data_dir, fds[1], round);
  }
  close(fds[1]);
  FILE* told_by_child = fdopen(fds[0], "r");
  Told told;
  size_t got = 0;
  char buffer[256];
  while (fgets(buffer, sizeof buffer, told_by_child) != nullptr) {
    if (++got == lines) kill(child, SIGKILL);
    const std::string line = buffer + 1;
    if (!line.ends_with('\n')) break;
    (buffer[0] == 'A' ? told.accepted : told.confirmed).insert(line);
  }
  fclose(told_by_child);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_GE(got, lines) << "the child ended by itself";
  return told;
}

TEST(IntakeCrash, WhatWasAcceptedIsConfirmedOrInTheOutboxWhereverItIsKilled) {
  const TempFolder folder;
  std::minstd_rand random(7);
  Told all;
  for (int round = 0; round < 12; ++round) {
    const Told told = run_and_kill(folder.path(), 50 + random() % 1500, round);
    all.accepted.insert(told.accepted.begin(), told.accepted.end());
    all.confirmed.insert(told.confirmed.begin(), told.confirmed.end());

    SqliteOutbox outbox({.data_dir = folder.path(), .min_free_bytes = 0});
    std::set<std::string> safe = all.confirmed;
    uint64_t callbacks = 0, entries = 0;
    for (const auto& entry : outbox.read(0, 1'000'000)) {
      ++entries;
      callbacks += entry.callbacks;
      std::istringstream lines(entry.body);
      for (std::string line; std::getline(lines, line);) safe.insert(line + "\n");
    }
    for (const auto& line : all.accepted) ASSERT_TRUE(safe.contains(line)) << "lost: " << line;
    EXPECT_EQ(outbox.depth().entries, entries);
    EXPECT_EQ(outbox.depth().callbacks, callbacks);
  }
  EXPECT_GT(all.accepted.size(), 100u);
}

}  // namespace
}  // namespace postoffice
