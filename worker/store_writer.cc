#include "worker/store_writer.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace postoffice {

StoreWriter::StoreWriter(const Options& options, StoreFactory factory, Handler handler,
                         DatabaseHealth& health, Metrics& metrics)
    : options_(options),
      factory_(std::move(factory)),
      handler_(std::move(handler)),
      health_(health),
      stored_(metrics.counter("postoffice_objects_stored_total",
                              "Answers of the object service committed to the database.")),
      batch_rows_(metrics.histogram("postoffice_store_batch_rows", "Rows written at once.",
                                    {1, 10, 50, 100, 200, 500, 1000})),
      waiting_gauge_(metrics.gauge("postoffice_results_waiting",
                                   "Results of fetches that wait to be stored.")),
      backoff_(options.backoff_least, options.backoff_most) {}

StoreWriter::~StoreWriter() { stop(SteadyClock::now()); }

void StoreWriter::start() {
  thread_ = running_.start("worker-store", [this] { run(); });
}

bool StoreWriter::stop(SteadyClock::time_point deadline) {
  {
    const std::lock_guard lock(mutex_);
    is_stopped_ = true;
  }
  changed_.notify_all();
  if (!running_.wait_until_none(deadline)) return false;
  thread_.join();
  return true;
}

void StoreWriter::put(Finding finding) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(finding));
  if (waiting_.size() == 1 || waiting_.size() == options_.batch_rows) changed_.notify_one();
  if (!is_full_ && waiting_.size() >= options_.most_waiting) {
    is_full_ = true;
    handler_.full(true);
  }
}

void StoreWriter::run() {
  const auto store = factory_();
  std::deque<Batch> batches;  // More than one while the culprit in one is looked for.
  for (;;) {
    if (batches.size() <= 1) {
      Batch next;
      if (!batches.empty()) next = std::move(batches.front());
      batches.clear();
      if (!top_up(next)) return;
      batches.push_back(std::move(next));
    }
    Batch batch = std::move(batches.front());
    batches.pop_front();
    if (write(*store, std::move(batch), batches)) {
      backoff_.reset();
    } else if (!pause()) {
      return;
    }
  }
}

// Waits until there is something to write. False when stopped.
bool StoreWriter::top_up(Batch& batch) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return is_stopped_ || !batch.empty() || !waiting_.empty(); });
  changed_.wait_until(lock, gathers_until_, [&] {
    return is_stopped_ || batch.size() + waiting_.size() >= options_.batch_rows;
  });
  gathers_until_ = SteadyClock::now() + options_.gather;
  while (batch.size() < options_.batch_rows && !waiting_.empty()) {
    batch.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  waiting_gauge_.Set(static_cast<double>(waiting_.size()));
  if (is_full_ && waiting_.size() <= options_.most_waiting / 2) {
    is_full_ = false;
    handler_.full(false);
  }
  return !is_stopped_;
}

// What could not be written comes first in `rest` then. False when the database is away.
bool StoreWriter::write(Store& store, Batch batch, std::deque<Batch>& rest) {
  std::vector<ObjectUpdate> updates;
  updates.reserve(batch.size());
  for (const Finding& finding : batch) updates.push_back(finding.update);
  try {
    store.apply(std::move(updates));
  } catch (const Transient& error) {
    health_.failed(DatabaseHealth::User::kWriter, error.what());
    rest.push_front(std::move(batch));
    return false;
  } catch (const Permanent& error) {
    if (batch.size() == 1) {
      spdlog::error("database: refuses object {}: {}", batch.front().update.id, error.what());
      handler_.refused(std::move(batch.front()), error.what());
      return true;
    }
    const auto middle = batch.begin() + static_cast<ptrdiff_t>(batch.size() / 2);
    rest.emplace_front(std::make_move_iterator(middle), std::make_move_iterator(batch.end()));
    batch.erase(middle, batch.end());
    rest.push_front(std::move(batch));
    return true;
  }
  health_.answered(DatabaseHealth::User::kWriter, store.description());
  stored(std::move(batch));
  return true;
}

void StoreWriter::stored(Batch batch) {
  const auto answers = std::ranges::count_if(batch, [](const Finding& finding) {
    return finding.update.kind != ObjectUpdate::Kind::kNamed;
  });
  stored_.Increment(static_cast<double>(answers));
  batch_rows_.Observe(static_cast<double>(batch.size()));
  handler_.stored(std::move(batch));
}

// False when stopped.
bool StoreWriter::pause() {
  const auto until = SteadyClock::now() + options_.backoff_least + backoff_.next();
  std::unique_lock lock(mutex_);
  return !changed_.wait_until(lock, until, [&] { return is_stopped_; });
}

}  // namespace postoffice
