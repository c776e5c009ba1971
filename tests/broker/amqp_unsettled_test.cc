#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "broker/unsettled.h"

namespace postoffice {
namespace {

// "5*" acknowledges all up to 5, "7" only 7.
std::vector<std::string> text(const std::vector<Unsettled::Ack>& acks) {
  std::vector<std::string> text;
  for (const auto& ack : acks) text.push_back(std::to_string(ack.tag) + (ack.multiple ? "*" : ""));
  return text;
}

using Texts = std::vector<std::string>;

void add(Unsettled& unsettled, uint64_t first, uint64_t last) {
  for (uint64_t tag = first; tag <= last; ++tag) unsettled.add(tag);
}

TEST(Unsettled, ContiguousAcksBecomeOne) {
  Unsettled unsettled;
  add(unsettled, 1, 1000);
  for (uint64_t tag = 1000; tag >= 1; --tag) EXPECT_TRUE(unsettled.ack(tag));
  EXPECT_EQ(text(unsettled.take_acks()), Texts{"1000*"});
  EXPECT_EQ(text(unsettled.take_acks()), Texts{});
  EXPECT_EQ(unsettled.held(), 0U);
}

TEST(Unsettled, AboveAHeldDeliveryAcksAreSingle) {
  Unsettled unsettled;
  add(unsettled, 1, 6);
  for (const uint64_t tag : {1U, 2U, 4U, 6U}) unsettled.ack(tag);
  EXPECT_EQ(text(unsettled.take_acks()), (Texts{"2*", "4", "6"}));
  unsettled.ack(3);
  EXPECT_EQ(text(unsettled.take_acks()), Texts{"3*"});
  unsettled.ack(5);
  EXPECT_EQ(text(unsettled.take_acks()), Texts{"5*"});
}

// RabbitMQ closes the channel on an ack, also with multiple, of a tag that is not outstanding.
TEST(Unsettled, TheTagOfAMultipleAckIsAlwaysAnAcknowledgedOne) {
  Unsettled unsettled;
  add(unsettled, 1, 4);
  unsettled.ack(1);
  EXPECT_TRUE(unsettled.requeue(2));
  unsettled.ack(3);
  EXPECT_TRUE(unsettled.requeue(4));
  EXPECT_EQ(text(unsettled.take_acks()), Texts{"3*"});
}

TEST(Unsettled, WhatIsNotHeldIsNotSettledAgain) {
  Unsettled unsettled;
  add(unsettled, 1, 2);
  EXPECT_TRUE(unsettled.ack(1));
  EXPECT_FALSE(unsettled.ack(1));
  EXPECT_FALSE(unsettled.requeue(1));
  unsettled.take_acks();
  EXPECT_FALSE(unsettled.ack(1));
  EXPECT_FALSE(unsettled.ack(0));
  EXPECT_FALSE(unsettled.ack(3));
  EXPECT_TRUE(unsettled.requeue(2));
  EXPECT_FALSE(unsettled.ack(2));
  EXPECT_EQ(text(unsettled.take_acks()), Texts{});
}

// Against a broker as AMQP 0-9-1 describes it: nothing is acknowledged that was not, everything is
// that was, and no ack names a tag that is not outstanding.
TEST(Unsettled, AcksExactlyWhatWasAcknowledged) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    Unsettled unsettled;
    std::set<uint64_t> outstanding;
    std::vector<uint64_t> held;
    std::set<uint64_t> acked;
    std::set<uint64_t> acked_at_broker;
    uint64_t next = 1;
    for (int step = 0; step < 200; ++step) {
      const auto choice = random() % 10;
      if (choice < 4) {
        unsettled.add(next);
        outstanding.insert(next);
        held.push_back(next++);
      } else if (choice < 9 && !held.empty()) {
        const size_t index = random() % 3 == 0 ? random() % held.size() : 0;
        const uint64_t tag = held[index];
        held.erase(held.begin() + static_cast<ptrdiff_t>(index));
        if (choice == 8) {
          ASSERT_TRUE(unsettled.requeue(tag));
          outstanding.erase(tag);
        } else {
          ASSERT_TRUE(unsettled.ack(tag));
          acked.insert(tag);
        }
      } else {
        for (const auto& ack : unsettled.take_acks()) {
          ASSERT_TRUE(outstanding.contains(ack.tag));
          while (!outstanding.empty() && ack.multiple && *outstanding.begin() <= ack.tag) {
            acked_at_broker.insert(*outstanding.begin());
            outstanding.erase(outstanding.begin());
          }
          if (!ack.multiple) {
            acked_at_broker.insert(ack.tag);
            outstanding.erase(ack.tag);
          }
        }
        ASSERT_EQ(acked_at_broker, acked);
      }
    }
    EXPECT_EQ(unsettled.held(), held.size());
  }
}

}  // namespace
}  // namespace postoffice
