#pragma once

#include <csignal>

#include "base/file_descriptor.h"

namespace postoffice {

// SIGTERM and SIGINT as an event. Construct it before any thread is started, so that all inherit
// the blocked mask; SIGPIPE is ignored from then on. A second signal ends the process at once with
// status 130, whatever hangs.
class Signals {
 public:
  Signals();

  // Blocks until the first signal or until `other_fd` becomes readable. Any signal after that is
  // deadly.
  void wait(int other_fd = -1);

 private:
  sigset_t set_{};
  FileDescriptor fd_;
};

}  // namespace postoffice
