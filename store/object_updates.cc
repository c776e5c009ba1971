#include "store/object_updates.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace postoffice {
namespace {

using Kind = ObjectUpdate::Kind;

constexpr std::array kKinds = {Kind::kAnswered, Kind::kGone, Kind::kNamed};

// Of two updates of one kind, `next` after `merged`. Equal times of fetching: the later one counts.
void merge(ObjectUpdate& merged, const ObjectUpdate& next) {
  merged.received_at = std::max(merged.received_at, next.received_at);
  if (next.checked_at >= merged.checked_at) {
    merged.checked_at = next.checked_at;
    merged.online = next.online;
  }
}

void check(const ObjectUpdate& update) {
  const std::string object = "object " + std::to_string(update.id) + ": ";
  check_time(update.received_at, object + "received_at");
  if (update.kind != Kind::kNamed) check_time(update.checked_at, object + "checked_at");
}

}  // namespace

void check_time(UnixTime time, const std::string& what) {
  using std::chrono::sys_days;
  using std::chrono::year;
  constexpr UnixTime kFirst = sys_days(year(-4713) / 11 / 24);
  // Beyond the years that std::chrono::year can hold: 294277-01-01.
  constexpr UnixTime kEnd{Millis(9'224'318'016'000'000)};
  if (time >= kFirst && time < kEnd) return;
  throw Permanent(what + " is out of range: " + std::to_string(to_unix_millis(time)) + " ms");
}

std::vector<UpdateGroup> group_updates(std::vector<ObjectUpdate> updates) {
  std::stable_sort(updates.begin(), updates.end(),
                   [](const auto& a, const auto& b) { return a.id < b.id; });
  // Round n holds the n-th run of one kind of each id. Within a round the order of kinds does not
  // matter, because no id is there twice.
  std::vector<std::array<UpdateGroup, kKinds.size()>> rounds;
  size_t round = 0;
  const ObjectUpdate* last = nullptr;
  for (const auto& update : updates) {
    check(update);
    if (last != nullptr && last->id == update.id && last->kind == update.kind) {
      auto& group = rounds[round][static_cast<size_t>(update.kind)];
      merge(group.updates.back(), update);
    } else {
      round = last != nullptr && last->id == update.id ? round + 1 : 0;
      if (round == rounds.size()) rounds.emplace_back();
      rounds[round][static_cast<size_t>(update.kind)].updates.push_back(update);
    }
    last = &update;
  }
  std::vector<UpdateGroup> groups;
  for (auto& kinds : rounds) {
    for (const Kind kind : kKinds) {
      auto& group = kinds[static_cast<size_t>(kind)];
      if (group.updates.empty()) continue;
      group.kind = kind;
      groups.push_back(std::move(group));
    }
  }
  return groups;
}

}  // namespace postoffice
