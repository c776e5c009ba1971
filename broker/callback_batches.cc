#include "broker/callback_batches.h"

#include <algorithm>
#include <utility>

#include "broker/callback_message.h"

namespace postoffice {
namespace {

const char* describe(PublishOutcome outcome) {
  switch (outcome) {
    case PublishOutcome::kConfirmed:
      return "confirmed";
    case PublishOutcome::kReturned:
      return "it returned a message";
    case PublishOutcome::kNacked:
      return "it refused a message";
    case PublishOutcome::kUnavailable:
      return "it is not available";
    case PublishOutcome::kUnknown:
      return "the connection was lost";
  }
  return "";
}

}  // namespace

void CallbackBatches::add(SteadyClock::time_point now, SteadyClock::time_point arrived_at,
                          bool broker_available, const Lines& lines, Intake::Done done) {
  // Requests queue up behind those that wait for confirms, although each of these comes in time.
  if (now - arrived_at >= deadline_) open_breaker(now, "it is slower than callbacks come");
  // A line that goes to the broker in place of the outbox has no other way to go after it.
  const auto deadline = (breaker_.is_open() ? now : arrived_at) + deadline_;
  const bool to_broker = broker_first(now, broker_available);
  auto& batches = to_broker ? waiting_ : for_outbox_;
  const auto state = to_broker ? CallbackBatch::State::kWaiting : CallbackBatch::State::kForOutbox;
  const auto has_room = [&](const CallbackBatch& batch) {
    return batch.state == state && !batch.closed &&
           batch.body.size() + lines.text.size() <= kMessageBytes;
  };
  if (batches.empty() || !has_room(*batches.back())) {
    auto batch = std::make_shared<CallbackBatch>();
    batch->state = state;
    batch->deadline = deadline;
    batch->oldest_received_at = lines.oldest_received_at;
    batches.push_back(std::move(batch));
  }
  CallbackBatch& batch = *batches.back();
  batch.body += lines.text;
  batch.bytes += lines.text.size();
  batch.callbacks += lines.callbacks;
  batch.done.push_back(std::move(done));
  batch.deadline = std::min(batch.deadline, deadline);
  batch.oldest_received_at = std::min(batch.oldest_received_at, lines.oldest_received_at);
  bytes_ += lines.text.size();
}

// The broker, unless the breaker is open; then too, if the outbox takes nothing or takes too long.
bool CallbackBatches::broker_first(SteadyClock::time_point now, bool broker_available) const {
  if (!breaker_.is_open()) return true;
  const bool outbox_stuck = committing_since_ && now - *committing_since_ > deadline_;
  return (outbox_refused_ || outbox_stuck) && may_try_broker(broker_available);
}

// A broker that hangs is given only so many messages beyond those that it has missed.
bool CallbackBatches::may_try_broker(bool broker_available) const {
  return broker_available && late_ < max_outstanding_;
}

CallbackBatches::Batch CallbackBatches::next_to_send(SteadyClock::time_point now) {
  if (waiting_.empty()) return nullptr;
  const bool full = waiting_.size() > 1;  // Lines went on to the next.
  if (in_flight_.size() >= (full ? max_outstanding_ : most_not_full_)) return nullptr;
  Batch batch = std::move(waiting_.front());
  waiting_.pop_front();
  batch->state = CallbackBatch::State::kInFlight;
  batch->closed = batch->tried = true;
  batch->sent_at = now;
  in_flight_.push_back(batch);
  return batch;
}

CallbackBatches::Answer CallbackBatches::settled(const Batch& batch, PublishOutcome outcome,
                                                 SteadyClock::time_point now) {
  if (batch->state != CallbackBatch::State::kInFlight) return settled_late(*batch, outcome);
  std::erase(in_flight_, batch);
  if (outcome == PublishOutcome::kConfirmed) {
    breaker_.confirmed(batch->sent_at, now);
    return answer(*batch, Accepted::kByBroker);
  }
  to_outbox(batch);
  open_breaker(now, describe(outcome));
  return {};
}

CallbackBatches::Answer CallbackBatches::settled_late(CallbackBatch& batch,
                                                      PublishOutcome outcome) {
  if (std::exchange(batch.late, false)) --late_;
  if (outcome != PublishOutcome::kConfirmed) return {};
  if (batch.state == CallbackBatch::State::kForOutbox) return answer(batch, Accepted::kByBroker);
  batch.confirmed = true;
  if (batch.entry_id != 0) confirmed_late(batch);
  return {};
}

void CallbackBatches::confirmed_late(const CallbackBatch& batch) {
  oldest_confirmed_late_ = earlier(oldest_confirmed_late_, batch.oldest_received_at);
  removals_.push_back(batch.entry_id);
}

std::optional<UnixTime> CallbackBatches::take_confirmed_late() {
  return std::exchange(oldest_confirmed_late_, std::nullopt);
}

void CallbackBatches::to_outbox(Batch batch) {
  batch->state = CallbackBatch::State::kForOutbox;
  for_outbox_.push_back(std::move(batch));
}

void CallbackBatches::open_breaker(SteadyClock::time_point now, const char* why) {
  breaker_.open(now, why);
  for (auto& batch : waiting_) to_outbox(std::move(batch));
  waiting_.clear();
}

void CallbackBatches::expire(SteadyClock::time_point now) {
  bool missed =
      std::ranges::any_of(waiting_, [now](const Batch& batch) { return batch->deadline <= now; });
  for (auto& batch : in_flight_) {
    if (batch->deadline > now) continue;
    missed = batch->late = true;
    ++late_;
    to_outbox(std::move(batch));
  }
  std::erase(in_flight_, nullptr);
  if (missed) open_breaker(now, "it is slower than the deadline");
}

std::optional<SteadyClock::time_point> CallbackBatches::next_deadline() const {
  std::optional<SteadyClock::time_point> next;
  const auto allow = [&next](const Batch& batch) {
    next = std::min(next.value_or(batch->deadline), batch->deadline);
  };
  std::ranges::for_each(waiting_, allow);
  std::ranges::for_each(in_flight_, allow);
  return next;
}

CallbackBatches::Transaction CallbackBatches::begin(SteadyClock::time_point now) {
  Transaction transaction;
  transaction.removals = std::exchange(removals_, {});
  for (auto& batch : std::exchange(for_outbox_, {})) {
    if (batch->state != CallbackBatch::State::kForOutbox) continue;
    batch->state = CallbackBatch::State::kCommitting;
    batch->closed = true;
    transaction.entries.push_back(
        {0, std::move(batch->body), batch->callbacks, batch->oldest_received_at});
    transaction.batches.push_back(std::move(batch));
  }
  committing_since_ = now;
  return transaction;
}

std::vector<CallbackBatches::Answer> CallbackBatches::finish(Transaction transaction,
                                                             std::optional<OutboxRefusal> refusal,
                                                             bool broker_available,
                                                             SteadyClock::time_point now) {
  committing_since_.reset();
  if (!transaction.batches.empty()) outbox_refused_ = refusal.has_value();
  std::vector<Answer> answers;
  for (size_t i = 0; i < transaction.batches.size(); ++i) {
    const Batch& batch = transaction.batches[i];
    if (!refusal) {
      batch->entry_id = transaction.entries[i].id;
      if (batch->confirmed) confirmed_late(*batch);
      answers.push_back(answer(*batch, Accepted::kByOutbox));
    } else if (batch->confirmed) {
      answers.push_back(answer(*batch, Accepted::kByBroker));
    } else if (!batch->tried && may_try_broker(broker_available)) {
      batch->body = std::move(transaction.entries[i].body);
      batch->state = CallbackBatch::State::kWaiting;
      batch->deadline = now + deadline_;
      batch->tried = true;
      waiting_.push_back(batch);
    } else {
      answers.push_back(answer(*batch, Accepted::kRefused));
    }
  }
  return answers;
}

CallbackBatches::Answer CallbackBatches::answer(CallbackBatch& batch, Accepted accepted) {
  batch.state = CallbackBatch::State::kAnswered;
  batch.body = {};
  bytes_ -= batch.bytes;
  return {std::exchange(batch.done, {}), accepted};
}

}  // namespace postoffice
