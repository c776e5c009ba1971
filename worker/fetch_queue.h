#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "worker/deliveries.h"

namespace postoffice {

// An id as one delivery names it.
struct Naming {
  int64_t id = 0;
  UnixTime received_at;
  int attempt = 0;  // Attempts made so far; 0 for a callback as it came in.
  DeliveryHandle delivery;
};

// An id to be fetched, for all deliveries that had named it when it was taken.
struct Fetch {
  int64_t id = 0;
  UnixTime received_at;  // Of the newest callback that named it.
  int attempt = 0;       // The fewest attempts made, of those who named it.
  bool is_probe = false;
  std::vector<DeliveryHandle> deliveries;
};

// The ids that wait to be fetched, first come, first served, each once whoever waits for it. An id
// that is named while its fetch is under way waits again when that fetch has ended: it is fetched
// once more, whatever the number of those who named it meanwhile.
//
// A naming costs 8 to 16 bytes, an id about 130 more. Unbounded: who adds looks at
// Deliveries::parts() first.
//
// Thread-safe. Threads that find nothing to fetch sleep, and the one that fell asleep last is woken
// first: its connection and its stack are warm, and the surplus of threads costs nothing.
class FetchQueue {
 public:
  // Why nothing is handed out. The reasons are independent of each other.
  enum class Pause {
    kOutage,  // The object service is down; allow_probe() lets single ids through.
    kStore,   // As much waits to be stored as may wait.
  };

  void add(std::span<const Naming> namings);

  // Waits for the next id. It is under way until finished() or give_back(). Nothing: closed.
  std::optional<Fetch> take();
  // Its fetch ended.
  void finished(int64_t id);
  // Its fetch ended and is to be made again: it waits with all who wait for it. False when the
  // queue is closed: it was not taken back.
  bool give_back(const Fetch& fetch);

  void set_paused(Pause pause, bool paused);
  // One id is handed out although the service is down. Ids that were given back and ids that were
  // not tried yet take turns.
  void allow_probe();

  // Drops namings by deliveries for which `holds` is false, and ids that nobody names any more.
  void drop_unless(const std::function<bool(DeliveryHandle)>& holds);

  // Hands out nothing any more. Returns the deliveries for which an id waits, some perhaps twice.
  std::vector<DeliveryHandle> close();

  size_t waiting() const;

 private:
  struct Entry {
    UnixTime received_at;
    std::vector<DeliveryHandle> deliveries;
    int attempt = 0;
    bool is_under_way = false;  // `deliveries` named it since its fetch began.
  };
  struct Sleeper {
    std::condition_variable called;
    bool is_called = false;
  };

  static void name(Entry& entry, UnixTime received_at, int attempt,
                   std::span<const DeliveryHandle> deliveries);
  bool may_hand_out() const;
  std::deque<int64_t>& next_line();
  void wake_one();
  void end_fetch(int64_t id);

  mutable std::mutex mutex_;  // Guards what follows.
  std::unordered_map<int64_t, Entry> entries_;
  // Each id that waits is in one of them, once.
  std::deque<int64_t> fresh_;
  std::deque<int64_t> given_back_;
  std::vector<Sleeper*> sleepers_;
  bool is_paused_by_outage_ = false;
  bool is_paused_by_store_ = false;
  bool is_probe_allowed_ = false;
  bool is_fresh_next_ = true;  // To be probed.
  bool is_closed_ = false;
};

}  // namespace postoffice
