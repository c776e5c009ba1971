#include "worker/outage.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace postoffice {

using Kind = FetchResult::Kind;

Outage::Outage(const Options& options, std::string service, Changed changed, Metrics& metrics)
    : options_(options),
      service_(std::move(service)),
      changed_(std::move(changed)),
      up_gauge_(metrics.gauge("postoffice_object_service_up",
                              "1 while the object service answers, 0 while it counts as down.")) {
  up_gauge_.Set(1);
}

Outage::Verdict Outage::note(const FetchResult& result, int64_t id, bool is_probe,
                             SteadyClock::time_point now) {
  const std::lock_guard lock(mutex_);
  switch (result.kind) {
    case Kind::kAnswered:
    case Kind::kGone:
    case Kind::kRejected:
      note_good(now);
      return Verdict::kCounts;
    case Kind::kUnreachable:
    case Kind::kUnauthorised:
      note_bad(result, id, now);
      break;
    case Kind::kRetryable:
    case Kind::kAbandoned:
      break;
  }
  if (is_probe && down_) {
    is_probing_ = false;
    probe_pause_ = std::min(2 * probe_pause_, options_.probe_most);
    next_probe_ = now + probe_pause_;
  }
  if (down_) return Verdict::kPaused;
  const bool suspected =
      unauthorised_.size() >= options_.ids ||
      (unreachable_.size() >= options_.ids && now - failing_since_ >= suspicion_after());
  return suspected ? Verdict::kUncounted : Verdict::kCounts;
}

void Outage::note_good(SteadyClock::time_point now) {
  unreachable_.clear();
  unauthorised_.clear();
  if (!std::exchange(down_, false)) return;
  spdlog::info(
      "{}: answers again after {}; fetching goes on", service_,
      format_duration(std::chrono::duration_cast<std::chrono::seconds>(now - down_since_)));
  up_gauge_.Set(1);
  changed_(false);
}

void Outage::note_bad(const FetchResult& result, int64_t id, SteadyClock::time_point now) {
  if (unreachable_.empty() && unauthorised_.empty()) failing_since_ = now;
  auto& failed = result.kind == Kind::kUnauthorised ? unauthorised_ : unreachable_;
  if (failed.size() < options_.ids) failed.insert(id);
  if (down_) return;
  if (unauthorised_.size() >= options_.ids && now - failing_since_ >= suspicion_after()) {
    go_down(result.reason + " to everything; let this worker in, fetching goes on by itself", now);
  } else if (unreachable_.size() >= options_.ids && now - failing_since_ >= options_.window) {
    go_down(result.reason, now);
  }
}

void Outage::go_down(const std::string& why, SteadyClock::time_point now) {
  spdlog::warn("{}: down: {}; fetching pauses until it answers", service_, why);
  down_ = true;
  why_ = why;
  down_since_ = now;
  probe_pause_ = options_.probe_least;
  next_probe_ = now + probe_pause_;
  is_probing_ = false;
  up_gauge_.Set(0);
  changed_(true);
}

bool Outage::probe_due(SteadyClock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (!down_ || is_probing_ || now < next_probe_) return false;
  is_probing_ = true;
  return true;
}

bool Outage::down() const {
  const std::lock_guard lock(mutex_);
  return down_;
}

std::string Outage::status() const {
  const std::lock_guard lock(mutex_);
  return down_ ? service_ + ": down: " + why_ : service_ + ": answers";
}

}  // namespace postoffice
