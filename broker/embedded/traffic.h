#pragma once

#include <cstdint>

namespace postoffice::embedded {

// Messages of a virtual host so far, counted on the broker's thread.
struct Traffic {
  uint64_t published = 0;
  uint64_t unroutable = 0;  // No queue took them: returned if mandatory, else gone.
  uint64_t refused = 0;     // By a queue that is full, or because the disk has failed.
  uint64_t delivered = 0;   // By basic.deliver and basic.get-ok.
  uint64_t acknowledged = 0;
  uint64_t requeued = 0;
  uint64_t rejected = 0;  // Without requeue.
};

}  // namespace postoffice::embedded
