#include "worker/admission.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace postoffice {
namespace {

constexpr int kMostAtOnce = 1000;  // Deliveries, before the caller does something else.

// Lines with something in them, without their '\n'.
std::vector<std::string_view> lines_of(std::string_view body) {
  std::vector<std::string_view> lines;
  while (!body.empty()) {
    const std::string_view line = body.substr(0, body.find('\n'));
    body.remove_prefix(std::min(line.size() + 1, body.size()));
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) lines.push_back(line);
  }
  return lines;
}

constexpr auto kLaterFirst = [](const auto& left, const auto& right) {
  return left.not_before > right.not_before;
};

}  // namespace

Admission::Admission(const Options& options, Backlog& backlog, Deliveries& deliveries,
                     FetchQueue& queue, Publications& publications)
    : options_(options),
      backlog_(backlog),
      deliveries_(deliveries),
      queue_(queue),
      publications_(publications) {}

void Admission::admit(UnixTime now) {
  release_due(now);
  for (int i = 0; i < kMostAtOnce && deliveries_.parts() < options_.most_parts; ++i) {
    auto parked = backlog_.take();
    if (!parked) return;
    admit_one(*parked, now);
    backlog_.taken_over();
  }
}

void Admission::admit_one(const Backlog::Parked& parked, UnixTime now) {
  if (parked.delivery.delivery_count >= options_.split_after_failures &&
      lines_of(parked.delivery.body).size() > 1) {
    split(parked);
    return;
  }
  auto decoded = decoder_.decode(parked.delivery.body);
  const auto named = each_id_once(decoded.lines);
  std::optional<UnixTime> oldest;
  for (const auto& line : decoded.lines) {
    if (line.attempt == 0) oldest = earlier(oldest, line.received_at);
  }
  const auto handle = deliveries_.hold(parked.delivery.tag, parked.arrived, oldest,
                                       named.size() + decoded.bad.size());
  if (!handle) return;
  for (auto& bad : decoded.bad) {
    publications_.dead_letter(std::move(bad.line), std::move(bad.reason), {*handle});
  }
  send_on(named, *handle, now);
}

void Admission::split(const Backlog::Parked& parked) {
  const auto lines = lines_of(parked.delivery.body);
  const auto handle =
      deliveries_.hold(parked.delivery.tag, parked.arrived, parked.oldest, lines.size());
  if (!handle) return;
  for (const auto line : lines) publications_.callback(std::string(line) + "\n", *handle);
}

std::vector<Admission::Named> Admission::each_id_once(const std::vector<CallbackLine>& lines) {
  std::vector<Named> named;
  for (const auto& line : lines) {
    for (const int64_t id : line.object_ids) {
      named.push_back({id, line.received_at, line.attempt, line.not_before});
    }
  }
  std::ranges::sort(named, {}, &Named::id);
  auto last = named.begin();
  for (auto it = named.begin(); it != named.end(); ++it) {
    if (it == last) continue;
    if (it->id != last->id) {
      *++last = *it;
      continue;
    }
    last->received_at = std::max(last->received_at, it->received_at);
    last->attempt = std::min(last->attempt, it->attempt);
    last->not_before = last->not_before && it->not_before
                           ? std::min(last->not_before, it->not_before)
                           : std::nullopt;
  }
  if (!named.empty()) named.erase(last + 1, named.end());
  return named;
}

void Admission::send_on(const std::vector<Named>& named, DeliveryHandle delivery, UnixTime now) {
  namings_.clear();
  for (const Named& each : named) {
    const Naming naming{each.id, each.received_at, each.attempt, delivery};
    if (each.attempt == 0 || !each.not_before || *each.not_before <= now) {
      namings_.push_back(naming);
    } else if (*each.not_before - now <= options_.longest_wait &&
               later_.size() < options_.most_waiting) {
      later_.push_back({*each.not_before, naming});
      std::ranges::push_heap(later_, kLaterFirst);
    } else {
      publications_.retry({each.id, each.received_at, each.attempt, *each.not_before}, {delivery});
    }
  }
  queue_.add(namings_);
}

void Admission::release_due(UnixTime now) {
  namings_.clear();
  while (!later_.empty() && later_.front().not_before <= now) {
    std::ranges::pop_heap(later_, kLaterFirst);
    if (deliveries_.holds(later_.back().naming.delivery)) {
      namings_.push_back(later_.back().naming);
    }
    later_.pop_back();
  }
  if (!namings_.empty()) queue_.add(namings_);
}

std::vector<DeliveryHandle> Admission::waiting() const {
  std::vector<DeliveryHandle> waiting;
  for (const Later& later : later_) waiting.push_back(later.naming.delivery);
  return waiting;
}

}  // namespace postoffice
