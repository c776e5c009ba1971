#include "broker/embedded/dead_letters.h"

#include <algorithm>
#include <limits>

namespace postoffice::embedded {
namespace {

std::string_view name_of(DeathReason reason) {
  switch (reason) {
    case DeathReason::kRejected:
      return "rejected";
    case DeathReason::kExpired:
      return "expired";
    case DeathReason::kMaxLength:
      return "maxlen";
    case DeathReason::kDeliveryLimit:
      return "delivery_limit";
  }
  return "";
}

bool is_of(const FieldValue& death, std::string_view queue, std::string_view reason) {
  const auto* const table = std::get_if<FieldTable>(&death.value);
  return table != nullptr && table->text("queue") == queue && table->text("reason") == reason;
}

// The entry of this queue and reason comes first, counted up.
FieldArray count_death(FieldArray deaths, FieldTable death, std::string_view queue,
                       std::string_view reason) {
  int64_t count = 1;
  const auto earlier = std::ranges::find_if(
      deaths, [&](const FieldValue& each) { return is_of(each, queue, reason); });
  if (earlier != deaths.end()) {
    // Time, exchange and keys stay those of the first such death.
    death = std::get<FieldTable>(earlier->value);
    // Which may be anything: the header is the client's.
    const int64_t before = death.integer("count").value_or(0);
    count = before < std::numeric_limits<int64_t>::max() ? before + 1 : before;
    deaths.erase(earlier);
  }
  death.set("count", FieldValue::of(count));
  deaths.insert(deaths.begin(), FieldValue::of(std::move(death)));
  return deaths;
}

}  // namespace

DeadLetter DeadLetter::of(const Content& content, const Queue& queue, DeathReason reason,
                          UnixTime now) {
  auto properties = Properties::read(content.properties);
  DeadLetter letter;
  letter.headers = properties.header_table();
  auto& headers = letter.headers;
  letter.routing_keys.emplace_back(content.routing_key);
  for (auto& key : text_array(headers, "CC")) letter.routing_keys.push_back(std::move(key));

  const auto why = name_of(reason);
  FieldTable death;
  death.set("count", FieldValue::of(int64_t{1}));
  death.set("reason", FieldValue::of(why));
  death.set("queue", FieldValue::of(queue.name()));
  death.set("time", FieldValue::timestamp(to_unix_millis(now) / 1000));
  death.set("exchange", FieldValue::of(content.exchange));
  FieldArray keys;
  for (const auto& key : letter.routing_keys) keys.push_back(FieldValue::of(key));
  death.set("routing-keys", FieldValue::of(std::move(keys)));
  if (properties.expiration) {
    death.set("original-expiration", FieldValue::of(*properties.expiration));
    properties.expiration.reset();
  }
  FieldArray deaths;
  if (const auto* const before = headers.find("x-death");
      before != nullptr && before->type == 'A') {
    deaths = std::get<FieldArray>(before->value);
  }
  headers.set("x-death",
              FieldValue::of(count_death(std::move(deaths), std::move(death), queue.name(), why)));
  if (headers.find("x-first-death-queue") == nullptr) {
    headers.set("x-first-death-reason", FieldValue::of(why));
    headers.set("x-first-death-queue", FieldValue::of(queue.name()));
    headers.set("x-first-death-exchange", FieldValue::of(content.exchange));
  }
  // With a routing key of its own, a dead letter is not copied to where the original was.
  if (queue.arguments().dead_letter_routing_key) headers.erase("CC");

  std::string table;
  WireWriter writer(table);
  headers.write(writer);
  properties.headers = table;
  letter.properties = properties.write();
  return letter;
}

std::unordered_set<std::string_view> DeadLetter::cycle() const {
  std::unordered_set<std::string_view> queues;
  for (const auto& death : std::get<FieldArray>(headers.find("x-death")->value)) {
    const auto* const table = std::get_if<FieldTable>(&death.value);
    if (table == nullptr || table->text("reason") == "rejected") break;
    if (const auto queue = table->text("queue")) queues.insert(*queue);
  }
  return queues;
}

std::vector<std::string> text_array(const FieldTable& headers, std::string_view name) {
  std::vector<std::string> texts;
  const auto* const value = headers.find(name);
  if (value == nullptr) return texts;
  const auto refuse = [&] {
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       "the header " + std::string(name) + " must be an array of strings");
  };
  if (value->type != 'A') refuse();
  for (const auto& item : std::get<FieldArray>(value->value)) {
    if (item.text() == nullptr) refuse();
    texts.push_back(*item.text());
  }
  return texts;
}

}  // namespace postoffice::embedded
