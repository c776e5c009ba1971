#pragma once

#include <mutex>

#include "base/wakeup.h"

namespace postoffice {

// Lets one thread make what another does on its socket fail at once, also while that one is still
// connecting. Fired once, it stays fired. Thread-safe.
class Interrupt {
 public:
  Interrupt() = default;
  ~Interrupt() { detach(); }
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  void fire() noexcept;
  bool fired() const noexcept;

  // Readable once fired. For poll(2).
  int fd() const { return wakeup_.fd(); }

  // The socket to shut down when this is fired, until detach(). Throws Transient when no file
  // descriptor is left.
  void attach(int socket);
  void detach() noexcept;

 private:
  const Wakeup wakeup_;
  mutable std::mutex mutex_;
  bool fired_ = false;  // Guarded by mutex_, as is socket_.
  // A duplicate: the owner may close its own at any time, and the number may come to mean another.
  int socket_ = -1;
};

}  // namespace postoffice
