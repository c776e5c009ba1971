#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"

namespace postoffice {

// One message body that waits on local disk for the broker: NDJSON of one or many callbacks.
struct OutboxEntry {
  uint64_t id = 0;  // Rising in the order of append.
  std::string body;
  uint32_t callbacks = 0;  // Lines in `body`.
  UnixTime oldest_received_at;
};

struct OutboxDepth {
  uint64_t entries = 0;
  uint64_t callbacks = 0;
  uint64_t bytes = 0;  // On disk.
  std::optional<UnixTime> oldest_received_at;
};

// Why nothing can be written.
enum class OutboxRefusal {
  kFull,  // The limit or the disk (ENOSPC, EDQUOT): refused until there is room again; trying again
          // is right.
  kFailed,  // The disk failed (EIO): nothing is written any more until the process is started anew.
};

// A durable queue of messages on local disk. Thread-safe.
class Outbox {
 public:
  virtual ~Outbox() = default;

  // Commits all entries in one transaction, fsynced before it returns, and sets their ids. On a
  // refusal none was stored. Also removes `removals` in the same transaction (removing what is not
  // there is fine); removals are tried also when the entries were refused.
  virtual std::optional<OutboxRefusal> append(std::span<OutboxEntry> entries,
                                              std::span<const uint64_t> removals) = 0;

  // Up to `limit` entries with id > `after`, in order. Throws Transient when they cannot be read.
  virtual std::vector<OutboxEntry> read(uint64_t after, size_t limit) = 0;

  // Not fsynced: an entry that comes back after a crash is forwarded twice, which is harmless. What
  // a full disk keeps from being removed is not read any more, and its removal is tried again by
  // every later call, also one without ids.
  virtual void remove(std::span<const uint64_t> ids) = 0;

  virtual OutboxDepth depth() const = 0;
  // The refusal that holds now, for /readyz.
  virtual std::optional<OutboxRefusal> refusal() const = 0;
};

}  // namespace postoffice
