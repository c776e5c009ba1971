#include "server/store_pool.h"

#include "base/error.h"

namespace postoffice {
namespace {

constexpr size_t kMostWaiting = 2;  // For each store.

}  // namespace

StorePool::StorePool(const StoreFactory& stores, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    stores_.push_back(stores());
    free_.push_back(stores_.back().get());
  }
}

StorePool::Lease StorePool::lease(Millis wait) {
  std::unique_lock lock(mutex_);
  if (free_.empty()) {
    bool free = false;
    if (waiting_ < kMostWaiting * stores_.size()) {
      ++waiting_;
      free = changed_.wait_for(lock, wait, [this] { return !free_.empty(); });
      --waiting_;
    }
    if (!free) throw Transient("the database answers too slowly for so many requests");
  }
  Store* const store = free_.back();
  free_.pop_back();
  return {store, [this](Store* used) {
            const std::lock_guard giving_back(mutex_);
            free_.push_back(used);
            changed_.notify_one();
          }};
}

}  // namespace postoffice
