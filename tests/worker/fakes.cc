#include "tests/worker/fakes.h"

#include <algorithm>
#include <sstream>
#include <thread>

#include "base/error.h"

namespace postoffice::testing {

bool eventually(const std::function<bool()>& condition, Millis deadline) {
  const auto until = SteadyClock::now() + deadline;
  while (!condition()) {
    if (SteadyClock::now() >= until) return false;
    std::this_thread::sleep_for(Millis(1));
  }
  return true;
}

// --- FakeSettler

void FakeSettler::ack(DeliveryTag tag) {
  const std::lock_guard lock(mutex_);
  const Key key{tag.connection, tag.tag};
  if (!acked_.insert(key).second || requeued_.contains(key)) settled_twice_ = true;
}

void FakeSettler::requeue(DeliveryTag tag) {
  const std::lock_guard lock(mutex_);
  const Key key{tag.connection, tag.tag};
  if (!requeued_.insert(key).second || acked_.contains(key)) settled_twice_ = true;
}

void FakeSettler::set_reading(bool reading) {
  const std::lock_guard lock(mutex_);
  reading_ = reading;
}

bool FakeSettler::acked(uint64_t tag, uint64_t connection) const {
  const std::lock_guard lock(mutex_);
  return acked_.contains({connection, tag});
}

bool FakeSettler::requeued(uint64_t tag, uint64_t connection) const {
  const std::lock_guard lock(mutex_);
  return requeued_.contains({connection, tag});
}

size_t FakeSettler::acks() const {
  const std::lock_guard lock(mutex_);
  return acked_.size();
}

size_t FakeSettler::requeues() const {
  const std::lock_guard lock(mutex_);
  return requeued_.size();
}

bool FakeSettler::reading() const {
  const std::lock_guard lock(mutex_);
  return reading_;
}

bool FakeSettler::settled_twice() const {
  const std::lock_guard lock(mutex_);
  return settled_twice_;
}

// --- FakePublisher

FakePublisher::FakePublisher() : thread_("fake-publisher", [this] { run(); }) {}

FakePublisher::~FakePublisher() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void FakePublisher::publish(Message message, Settled settled) {
  {
    const std::lock_guard lock(mutex_);
    ++published_;
    if (available_) {
      sent_.emplace_back(std::move(message), std::move(settled));
      changed_.notify_all();
      return;
    }
  }
  settled(PublishOutcome::kUnavailable);
}

bool FakePublisher::available() const {
  const std::lock_guard lock(mutex_);
  return available_;
}

void FakePublisher::on_availability(AvailabilityChanged /*changed*/) {}

void FakePublisher::set_judge(Judge judge) {
  const std::lock_guard lock(mutex_);
  judge_ = std::move(judge);
}

void FakePublisher::set_available(bool available) {
  const std::lock_guard lock(mutex_);
  available_ = available;
}

void FakePublisher::hold(bool held) {
  const std::lock_guard lock(mutex_);
  held_ = held;
  changed_.notify_all();
}

std::vector<Message> FakePublisher::confirmed(const std::string& prefix) const {
  const std::lock_guard lock(mutex_);
  std::vector<Message> found;
  std::ranges::copy_if(confirmed_, std::back_inserter(found), [&](const Message& message) {
    return message.routing_key.starts_with(prefix);
  });
  return found;
}

size_t FakePublisher::published() const {
  const std::lock_guard lock(mutex_);
  return published_;
}

void FakePublisher::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stopped_ || (!held_ && !sent_.empty()); });
    if (stopped_) break;
    auto [message, settled] = std::move(sent_.front());
    sent_.pop_front();
    const auto outcome = judge_ ? judge_(message) : PublishOutcome::kConfirmed;
    if (outcome == PublishOutcome::kConfirmed) confirmed_.push_back(std::move(message));
    lock.unlock();
    settled(outcome);
    lock.lock();
  }
  auto rest = std::move(sent_);
  lock.unlock();
  for (auto& [message, settled] : rest) settled(PublishOutcome::kUnknown);
}

// --- FakeDatabase

namespace {

class FakeStore final : public Store {
 public:
  explicit FakeStore(FakeDatabase& database) : database_(database) {}

  void apply(std::vector<ObjectUpdate> updates) override { database_.apply(updates); }
  std::optional<ObjectRow> find(int64_t id) override { return database_.row(id); }
  std::vector<ObjectRow> list(std::optional<bool> /*online*/, std::optional<int64_t> /*after*/,
                              size_t /*limit*/) override {
    return {};
  }
  ObjectCounts counts() override { return {}; }
  std::optional<size_t> expire(std::optional<UnixTime> /*watermark*/, Millis /*ttl*/,
                               size_t /*limit*/) override {
    return std::nullopt;
  }
  UnixTime now() override { return unix_now(); }
  void report(const WatermarkReport& report) override { database_.report(report); }
  std::vector<WatermarkReport> reports() override { return {}; }
  void forget(const std::string& /*process*/) override {}
  std::string description() const override { return "a fake database"; }

 private:
  FakeDatabase& database_;
};

}  // namespace

StoreFactory FakeDatabase::factory() {
  return [this] { return std::make_unique<FakeStore>(*this); };
}

void FakeDatabase::set_fault(Fault fault) {
  const std::lock_guard lock(mutex_);
  fault_ = std::move(fault);
}

void FakeDatabase::set_report_fault(std::optional<std::string> transient) {
  const std::lock_guard lock(mutex_);
  report_fault_ = std::move(transient);
}

void FakeDatabase::apply(const std::vector<ObjectUpdate>& updates) {
  Fault fault;
  {
    const std::lock_guard lock(mutex_);
    ++attempts_;
    fault = fault_;
  }
  if (fault) fault(updates);
  const std::lock_guard lock(mutex_);
  batches_.push_back(updates.size());
  for (const auto& update : updates) {
    updates_.push_back(update);
    const auto found = rows_.find(update.id);
    const bool exists = found != rows_.end();
    switch (update.kind) {
      case ObjectUpdate::Kind::kAnswered: {
        auto& row = rows_[update.id];
        row.id = update.id;
        row.last_seen = std::max(row.last_seen, update.received_at);
        if (exists && row.checked_at > update.checked_at) break;
        row.online = update.online;
        row.checked_at = update.checked_at;
        break;
      }
      case ObjectUpdate::Kind::kGone:
        if (exists && found->second.checked_at <= update.checked_at) rows_.erase(found);
        break;
      case ObjectUpdate::Kind::kNamed:
        if (exists) found->second.last_seen = std::max(found->second.last_seen, update.received_at);
        break;
    }
  }
}

void FakeDatabase::report(const WatermarkReport& report) {
  const std::lock_guard lock(mutex_);
  if (report_fault_) throw Transient(*report_fault_);
  reports_.push_back(report);
}

std::optional<ObjectRow> FakeDatabase::row(int64_t id) const {
  const std::lock_guard lock(mutex_);
  const auto found = rows_.find(id);
  if (found == rows_.end()) return std::nullopt;
  return found->second;
}

void FakeDatabase::put(const ObjectRow& row) {
  const std::lock_guard lock(mutex_);
  rows_[row.id] = row;
}

size_t FakeDatabase::rows() const {
  const std::lock_guard lock(mutex_);
  return rows_.size();
}

std::vector<ObjectUpdate> FakeDatabase::updates() const {
  const std::lock_guard lock(mutex_);
  return updates_;
}

size_t FakeDatabase::batches() const {
  const std::lock_guard lock(mutex_);
  return batches_.size();
}

size_t FakeDatabase::largest_batch() const {
  const std::lock_guard lock(mutex_);
  return batches_.empty() ? 0 : *std::ranges::max_element(batches_);
}

size_t FakeDatabase::attempts() const {
  const std::lock_guard lock(mutex_);
  return attempts_;
}

std::optional<WatermarkReport> FakeDatabase::last_report() const {
  const std::lock_guard lock(mutex_);
  if (reports_.empty()) return std::nullopt;
  return reports_.back();
}

size_t FakeDatabase::reports() const {
  const std::lock_guard lock(mutex_);
  return reports_.size();
}

// --- Gate

void Gate::open() {
  const std::lock_guard lock(mutex_);
  is_open_ = true;
  opened_.notify_all();
}

bool Gate::wait() {
  std::unique_lock lock(mutex_);
  return opened_.wait_for(lock, std::chrono::seconds(30), [&] { return is_open_; });
}

double metric(const Metrics& metrics, const std::string& name) {
  std::istringstream lines(metrics.text());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + " ")) return std::stod(line.substr(name.size() + 1));
  }
  return 0;
}

}  // namespace postoffice::testing
