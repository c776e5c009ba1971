#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/time.h"
#include "store/store.h"

namespace postoffice {

// Some Stores that requests share, one thread at a time each. Thread-safe.
class StorePool {
 public:
  // Does not touch the database.
  StorePool(const StoreFactory& stores, size_t size);

  // A store for the caller alone, given back when it goes. The pool outlives it.
  using Lease = std::unique_ptr<Store, std::function<void(Store*)>>;

  // Throws Transient when none is free within `wait`, or at once when twice as many wait already as
  // there are stores: a database that hangs must not hold every thread that answers requests.
  Lease lease(Millis wait);

 private:
  std::vector<std::unique_ptr<Store>> stores_;  // Constant after construction.

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::vector<Store*> free_;
  size_t waiting_ = 0;
};

}  // namespace postoffice
