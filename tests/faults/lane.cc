#include "tests/faults/lane.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>

namespace postoffice::faults_test {
namespace {

using amqp_test::Channel;
using amqp_test::Client;
using amqp_test::Event;
using amqp_test::Message;

constexpr uint64_t kMostUnconfirmed = 100;
constexpr size_t kCommitEach = 10;
constexpr size_t kShownWrongs = 5;
constexpr std::chrono::milliseconds kPace{1};

// "<number>:" and filling whose length and content follow from it: some small, some of many KiB.
std::string body_of(uint64_t number) {
  const size_t length = number % 97 == 0 ? 20'000 + number % 4096 : number % 150;
  return std::to_string(number) + ":" + std::string(length, static_cast<char>('a' + number % 26));
}

}  // namespace

Lane::Lane(BrokerLife& life, size_t index)
    : life_(life),
      name_("crash." + std::to_string(index)),
      rejects_(index % 2 == 1),
      random_(static_cast<uint32_t>(index) + std::random_device{}()) {}

void Lane::run() {
  while (true) {
    while (life_.is_away) std::this_thread::sleep_for(kPace);
    const uint64_t kills = life_.kills;
    try {
      session();
      return;
    } catch (const std::exception& error) {
      if (life_.kills != kills) continue;
      wrong(std::string("the connection ended although nobody was killed: ") + error.what());
      return;
    }
  }
}

void Lane::session() {
  Client client("127.0.0.1", life_.port);
  client.open();
  Channel out = client.channel(1);
  out.declare_exchange(kExchange, "topic", {.durable = true});
  out.declare(kAllQueue, {.durable = true});
  out.declare(name_ + ".dead", {.durable = true});
  amqp_test::Table dead_letters;
  if (rejects_) {
    dead_letters = {{"x-dead-letter-exchange", ""}, {"x-dead-letter-routing-key", name_ + ".dead"}};
  }
  out.declare(name_, {.durable = true, .arguments = dead_letters});
  out.bind(name_, kExchange, name_);
  out.bind(kAllQueue, kExchange, "#");
  out.call(amqp_test::confirm_select());
  Channel in = client.channel(2);
  in.qos(50);
  in.call(amqp_test::tx_select());
  in.consume(name_);
  first_ = next_;
  confirmed_up_to_ = 0;
  last_delivered_ = 0;
  uncommitted_.clear();

  while (!life_.is_over) {
    publish(out);
    while (client.has_event(1)) settle(client.next(1));
    while (next_ - first_ - confirmed_up_to_ > kMostUnconfirmed) settle(client.next(1));
    while (client.has_event(2, AMQP_BASIC_DELIVER_METHOD)) deliver(in, in.delivery());
    std::this_thread::sleep_for(kPace);
  }
  finish(client, out, in);
}

void Lane::publish(Channel& out) {
  const int count = std::uniform_int_distribution<int>(1, 8)(random_);
  for (int i = 0; i < count; ++i) {
    confirmed_.push_back(false);
    fates_.push_back(Fate::kWaiting);
    const uint64_t number = next_++;
    out.publish(kExchange, name_, body_of(number), amqp_test::persistent());
  }
}

void Lane::settle(const Event& event) {
  if (event.id != AMQP_BASIC_ACK_METHOD) {
    wrong(amqp_test::name_of(event.id) + " instead of a confirm");
    return;
  }
  const auto& ack = event.as<amqp_basic_ack_t>();
  const uint64_t from = ack.multiple ? confirmed_up_to_ + 1 : ack.delivery_tag;
  for (uint64_t tag = from; tag <= ack.delivery_tag; ++tag) confirmed_.at(first_ + tag - 1) = true;
  if (ack.multiple || ack.delivery_tag == confirmed_up_to_ + 1) confirmed_up_to_ = ack.delivery_tag;
}

void Lane::deliver(Channel& in, const Message& message) {
  const uint64_t number = number_of(message.body);
  if (number == 0 || number >= next_) return wrong("a message that was never published");
  if (number <= last_delivered_) {
    wrong(std::to_string(number) + " was delivered after " + std::to_string(last_delivered_));
  }
  if (fates_.at(number) == Fate::kCommitted) {
    wrong(std::to_string(number) + " was delivered again after its acknowledgement was committed");
  }
  last_delivered_ = number;
  uncommitted_.push_back(number);
  if (rejects_) {
    in.nack(message.tag, {.requeue = false});
  } else {
    in.ack(message.tag);
  }
  if (uncommitted_.size() >= kCommitEach) commit(in);
}

void Lane::commit(Channel& in) {
  // Until the answer is there, it may have been done or not.
  for (const uint64_t number : uncommitted_) fates_.at(number) = Fate::kInDoubt;
  in.call(amqp_test::tx_commit());
  for (const uint64_t number : uncommitted_) fates_.at(number) = Fate::kCommitted;
  uncommitted_.clear();
}

void Lane::finish(Client& client, Channel& out, Channel& in) {
  while (first_ + confirmed_up_to_ < next_) settle(client.next(1));
  while (true) {
    while (client.has_event(2, AMQP_BASIC_DELIVER_METHOD)) deliver(in, in.delivery());
    commit(in);
    // What was committed makes room for more: the answer comes after its deliveries.
    const bool is_empty = in.ready(name_) == 0;
    if (is_empty && !client.has_event(2, AMQP_BASIC_DELIVER_METHOD)) break;
  }
  out.call(amqp_test::queue_delete(name_));
  expect_nothing_lost();
  if (rejects_) expect_all_dead(out);
}

void Lane::expect_all_dead(Channel& channel) {
  std::vector<bool> dead(next_, false);
  for (const auto& body : channel.get_all(name_ + ".dead")) dead.at(number_of(body)) = true;
  for (uint64_t number = 1; number < next_; ++number) {
    if (confirmed_[number] && !dead[number]) {
      wrong(std::to_string(number) + " was confirmed and rejected, and is no dead letter");
    }
  }
}

void Lane::expect_nothing_lost() {
  for (uint64_t number = 1; number < next_; ++number) {
    if (confirmed_[number] && fates_[number] == Fate::kWaiting) {
      wrong(std::to_string(number) + " was confirmed and is lost");
    }
  }
}

uint64_t Lane::confirmed() const {
  return static_cast<uint64_t>(std::ranges::count(confirmed_, true));
}

uint64_t Lane::number_of(const std::string& body) {
  const uint64_t number = std::strtoull(body.c_str(), nullptr, 10);
  return body == body_of(number) ? number : 0;
}

void Lane::wrong(const std::string& what) {
  if (wrongs_.size() < kShownWrongs) wrongs_.push_back(name_ + ": " + what);
}

}  // namespace postoffice::faults_test
