#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "store/store.h"

namespace postoffice {

// A table of objects in memory that is away or stalls when the test says so. Its clock is the
// system's.
class FakeDatabase {
 public:
  void put(ObjectRow row) {
    const std::lock_guard lock(mutex_);
    rows[row.id] = row;
  }
  void put_report(WatermarkReport report) {
    const std::lock_guard lock(mutex_);
    reports[report.process] = std::move(report);
  }
  void refuse_counts(bool refuse) {
    const std::lock_guard lock(mutex_);
    refuses_counts_ = refuse;
  }
  void take_away(bool away) {
    const std::lock_guard lock(mutex_);
    away_ = away;
    changed_.notify_all();
  }
  // While stalled, no call returns.
  void stall(bool stalled) {
    const std::lock_guard lock(mutex_);
    stalled_ = stalled;
    changed_.notify_all();
  }
  // Waits until the database satisfies `holds`; false after 10 s.
  bool wait_until(const std::function<bool(const FakeDatabase&)>& holds) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return holds(*this); });
  }

  StoreFactory stores() {
    return [this] { return std::make_unique<FakeStore>(*this); };
  }

  // For wait_until only.
  std::map<int64_t, ObjectRow> rows;
  std::map<std::string, WatermarkReport> reports;
  std::vector<size_t> expired;  // Rows of each batch.
  size_t calls = 0;
  size_t counted = 0;
  size_t stalled_calls = 0;

 private:
  class FakeStore final : public Store {
   public:
    explicit FakeStore(FakeDatabase& database) : database_(database) {}

    void apply(std::vector<ObjectUpdate>) override {}
    std::optional<ObjectRow> find(int64_t id) override {
      const auto lock = database_.call();
      const auto row = database_.rows.find(id);
      if (row == database_.rows.end()) return std::nullopt;
      return row->second;
    }
    std::vector<ObjectRow> list(std::optional<bool> online, std::optional<int64_t> after,
                                size_t limit) override {
      const auto lock = database_.call();
      std::vector<ObjectRow> rows;
      for (const auto& [id, row] : database_.rows) {
        if (rows.size() == limit) break;
        if ((!online || row.online == *online) && (!after || id > *after)) rows.push_back(row);
      }
      return rows;
    }
    ObjectCounts counts() override {
      const auto lock = database_.call();
      ++database_.counted;
      if (database_.refuses_counts_) throw Transient("counting takes too long");
      ObjectCounts counts;
      for (const auto& [id, row] : database_.rows) ++(row.online ? counts.online : counts.offline);
      return counts;
    }
    std::optional<size_t> expire(std::optional<UnixTime> watermark, Millis ttl,
                                 size_t limit) override {
      const auto lock = database_.call();
      const UnixTime before = std::min(watermark.value_or(unix_now()), unix_now()) - ttl;
      size_t deleted = 0;
      for (auto at = database_.rows.begin(); at != database_.rows.end() && deleted < limit;) {
        if (at->second.last_seen < before) {
          at = database_.rows.erase(at);
          ++deleted;
        } else {
          ++at;
        }
      }
      database_.expired.push_back(deleted);
      return deleted;
    }
    UnixTime now() override {
      const auto lock = database_.call();
      return unix_now();
    }
    void report(const WatermarkReport& report) override {
      const auto lock = database_.call();
      auto& stored = database_.reports[report.process];
      stored = report;
      stored.reported_at = unix_now();
    }
    std::vector<WatermarkReport> reports() override {
      const auto lock = database_.call();
      std::vector<WatermarkReport> reports;
      for (const auto& [process, report] : database_.reports) reports.push_back(report);
      return reports;
    }
    void forget(const std::string& process) override {
      const auto lock = database_.call();
      database_.reports.erase(process);
    }
    std::string description() const override { return "a database in memory"; }

   private:
    FakeDatabase& database_;
  };

  // Holds the database for one call.
  std::unique_lock<std::mutex> call() {
    std::unique_lock lock(mutex_);
    ++calls;
    ++stalled_calls;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !stalled_; });
    --stalled_calls;
    if (away_) throw Transient("the fake database is away");
    return lock;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool away_ = false;
  bool refuses_counts_ = false;
  bool stalled_ = false;
};

}  // namespace postoffice
