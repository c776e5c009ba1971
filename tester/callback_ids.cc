#include "tester/callback_ids.h"

namespace postoffice::tester {

CallbackIds::CallbackIds(Mode mode, int64_t id_space, std::pair<int64_t, int64_t> count)
    : mode_(mode),
      id_space_(id_space),
      random_(std::random_device{}()),
      count_(count.first, count.second) {}

std::vector<int64_t> CallbackIds::next() {
  const std::lock_guard lock(mutex_);
  std::vector<int64_t> ids(static_cast<size_t>(count_(random_)));
  std::uniform_int_distribution<int64_t> any(0, id_space_ - 1);
  for (auto& id : ids) {
    if (mode_ == Mode::kRandom) {
      id = any(random_);
    } else {
      id = next_id_;
      next_id_ = next_id_ == id_space_ - 1 ? 0 : next_id_ + 1;
    }
  }
  return ids;
}

}  // namespace postoffice::tester
