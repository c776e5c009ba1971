#pragma once

#include <atomic>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "tests/amqp/channel.h"
#include "tests/amqp/raw_client.h"

namespace postoffice::faults_test {

// What the lanes are told of the broker.
struct BrokerLife {
  uint16_t port = 0;
  std::atomic<uint64_t> kills = 0;    // Counted before each.
  std::atomic<bool> is_away = true;   // From before a kill until it answers again.
  std::atomic<bool> is_over = false;  // No more kills.
};

constexpr const char* kExchange = "crash";
constexpr const char* kAllQueue = "crash.all";  // Gets what every lane publishes; nobody consumes.

// One connection's work: publishes rising numbers to a queue of its own, confirmed, and takes them
// off again, acknowledging in transactions; after every kill it goes on. Every other lane rejects
// instead, so that its messages become dead letters. Keeps the account of what the broker has
// promised. One thread.
class Lane {
 public:
  Lane(BrokerLife& life, size_t index);

  // Until the life is over; then takes all that is left.
  void run();

  const std::string& name() const { return name_; }
  uint64_t published() const { return next_ - 1; }
  bool is_confirmed(uint64_t number) const { return confirmed_.at(number); }
  uint64_t confirmed() const;
  // What the broker did that it must not: empty when all is well.
  const std::vector<std::string>& wrongs() const { return wrongs_; }

  // The number of such a message; 0 and a wrong when its body is not what was published.
  static uint64_t number_of(const std::string& body);

 private:
  enum class Fate : uint8_t { kWaiting, kInDoubt, kCommitted };

  void session();
  void publish(amqp_test::Channel& out);
  void settle(const amqp_test::Event& event);
  void deliver(amqp_test::Channel& in, const amqp_test::Message& message);
  void commit(amqp_test::Channel& in);
  void finish(amqp_test::Client& client, amqp_test::Channel& out, amqp_test::Channel& in);
  void expect_nothing_lost();
  void expect_all_dead(amqp_test::Channel& channel);
  void wrong(const std::string& what);

  BrokerLife& life_;
  const std::string name_;
  const bool rejects_;
  std::mt19937 random_;
  uint64_t next_ = 1;
  std::vector<bool> confirmed_{false};  // By number.
  std::vector<Fate> fates_{Fate::kWaiting};
  std::vector<std::string> wrongs_;

  // Of the session.
  uint64_t first_ = 1;            // The number of delivery tag 1.
  uint64_t confirmed_up_to_ = 0;  // Tags, all below too.
  uint64_t last_delivered_ = 0;
  std::vector<uint64_t> uncommitted_;
};

}  // namespace postoffice::faults_test
