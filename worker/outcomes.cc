#include "worker/outcomes.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "broker/callback_message.h"

namespace postoffice {
namespace {

using Kind = FetchResult::Kind;

bool may_be_retried(Kind kind) {
  return kind == Kind::kUnreachable || kind == Kind::kRetryable || kind == Kind::kUnauthorised;
}

ObjectUpdate::Kind update_kind_of(Kind kind) {
  if (kind == Kind::kAnswered) return ObjectUpdate::Kind::kAnswered;
  if (kind == Kind::kGone) return ObjectUpdate::Kind::kGone;
  return ObjectUpdate::Kind::kNamed;
}

std::string object_name(int64_t id) { return "object " + std::to_string(id); }

}  // namespace

Outcomes::Outcomes(const RetryPolicy::Options& options, FetchQueue& queue, Outage& outage,
                   Publications& publications, Deliveries& deliveries)
    : policy_(options),
      queue_(queue),
      outage_(outage),
      publications_(publications),
      deliveries_(deliveries) {}

void Outcomes::fetched(Fetch fetch, const FetchResult& result) {
  const auto verdict = outage_.note(result, fetch.id, fetch.is_probe);
  if (result.kind == Kind::kAbandoned) {
    queue_.finished(fetch.id);  // Its deliveries are not acknowledged: the broker requeues them.
    return;
  }
  if (verdict == Outage::Verdict::kPaused && may_be_retried(result.kind)) {
    if (!queue_.give_back(fetch)) deliveries_.requeue(fetch.deliveries);
    return;
  }
  const int64_t id = fetch.id;
  writer_->put(finding_of(fetch, result, verdict));
  queue_.finished(id);
}

Finding Outcomes::finding_of(Fetch& fetch, const FetchResult& result, Outage::Verdict verdict) {
  Finding finding;
  finding.update = {fetch.id, update_kind_of(result.kind), result.online, fetch.received_at,
                    result.checked_at};
  finding.deliveries = std::move(fetch.deliveries);
  if (finding.update.kind != ObjectUpdate::Kind::kNamed) return finding;
  finding.failure = std::make_unique<Failure>();
  Failure& failure = *finding.failure;
  const bool counts = verdict == Outage::Verdict::kCounts;
  failure.attempts = std::max(1, fetch.attempt + (counts ? 1 : 0));
  failure.reason = object_name(fetch.id) + ": " + result.reason;
  failure.is_final = true;
  if (!may_be_retried(result.kind)) return finding;
  failure.is_final = counts && policy_.is_last(failure.attempts);
  if (failure.is_final) {
    failure.reason += " after " + std::to_string(failure.attempts) + " attempts";
  } else {
    failure.not_before = unix_now() + policy_.delay(failure.attempts, result.retry_after);
  }
  return finding;
}

void Outcomes::stored(std::vector<Finding> findings) {
  std::vector<DeliveryHandle> done;
  for (Finding& finding : findings) {
    if (finding.failure) {
      publish(std::move(finding));
    } else {
      done.insert(done.end(), finding.deliveries.begin(), finding.deliveries.end());
    }
  }
  deliveries_.done(done);
}

void Outcomes::publish(Finding finding) {
  const Failure& failure = *finding.failure;
  const ObjectUpdate& update = finding.update;
  if (failure.is_final) {
    publications_.dead_letter(
        encode_retry_line(update.received_at, update.id, failure.attempts, unix_now()),
        failure.reason, std::move(finding.deliveries));
  } else {
    publications_.retry({update.id, update.received_at, failure.attempts, failure.not_before},
                        std::move(finding.deliveries));
  }
}

void Outcomes::refused(Finding finding, const std::string& why) {
  const ObjectUpdate& update = finding.update;
  const int attempts = finding.failure ? finding.failure->attempts : 1;
  publications_.dead_letter(encode_retry_line(update.received_at, update.id, attempts, unix_now()),
                            object_name(update.id) + ": the database refuses it: " + why,
                            std::move(finding.deliveries));
}

}  // namespace postoffice
