#pragma once

#include <vector>

#include "store/store.h"

namespace postoffice {

// Updates of one kind, by id, no id twice: what one statement can apply.
struct UpdateGroup {
  ObjectUpdate::Kind kind = ObjectUpdate::Kind::kAnswered;
  std::vector<ObjectUpdate> updates;
};

// Splits `updates` into groups that, applied in order, leave what the updates leave one by one.
// There are as many groups as kinds, and more only when one id has several kinds. Throws Permanent
// when a time cannot be stored; see check_time().
std::vector<UpdateGroup> group_updates(std::vector<ObjectUpdate> updates);

// Throws Permanent for a time that PostgreSQL's timestamptz cannot hold (4714 BC to 294276 AD);
// `what` names it.
void check_time(UnixTime time, const std::string& what);

}  // namespace postoffice
