#include "server/direct_callbacks.h"

#include <algorithm>
#include <utility>

#include "broker/callback_message.h"

namespace postoffice {
namespace {

constexpr std::string_view kRequestLine = "POST /callback HTTP/1.1";
// What takes longer to read would hold up everybody else.
constexpr size_t kMostBodyBytes = 16 * 1024;
// Of a group: a part of a message, so that messages get full.
constexpr size_t kGroupBytes = 16 * 1024;

}  // namespace

std::string callback_accepted(size_t ids) { return "{\"accepted\":" + std::to_string(ids) + "}"; }

bool DirectCallbacks::take(HttpConnection& connection) {
  if (connection.body_bytes() > kMostBodyBytes || connection.request_line() != kRequestLine) {
    return false;
  }
  if (parser_.parse(connection.body(), options_.max_ids, ids_) || ids_.empty()) return false;
  const UnixTime received_at = unix_now();
  if (!gathering_) {
    gathering_ = std::make_shared<Group>();
    gathering_->received_at = received_at;
    gathering_->arrived_at = connection.arrived_at();
  }
  append_callback_line(gathering_->lines, received_at, ids_);
  gathering_->received_at = std::min(gathering_->received_at, received_at);
  gathering_->requests.push_back({&connection, ids_.size()});
  if (gathering_->lines.size() >= kGroupBytes) submit();
  return true;
}

void DirectCallbacks::end_of_round() {
  while (!submitted_.empty() && submitted_.front()->requests.empty()) submitted_.pop_front();
  // The intake answers far sooner, unless a disk hangs.
  while (!submitted_.empty() &&
         submitted_.front()->arrived_at <= SteadyClock::now() - options_.wait) {
    const auto group = std::move(submitted_.front());
    submitted_.pop_front();
    answer(*group, Accepted::kRefused);
  }
  if (gathering_) submit();  // Also what was taken behind those.
}

void DirectCallbacks::submit() {
  const auto group = std::exchange(gathering_, nullptr);
  submitted_.push_back(group);
  intake_.accept(
      group->lines, group->received_at,
      [this, group](Accepted accepted) {
        server_.post([this, group, accepted] { answer(*group, accepted); });
      },
      group->arrived_at, static_cast<uint32_t>(group->requests.size()));
  group->lines = {};
}

void DirectCallbacks::answer(Group& group, Accepted accepted) {
  const auto requests = std::exchange(group.requests, {});
  size_t ids = 0;
  for (const auto& request : requests) ids += request.ids;
  metrics_.answered(accepted, requests.size(), ids);
  const auto now = SteadyClock::now();
  for (const auto& request : requests) {
    metrics_.seconds.Observe(
        std::chrono::duration<double>(now - request.connection->arrived_at()).count());
    if (accepted == Accepted::kRefused) {
      server_.answer_direct(*request.connection, HttpAnswer::problem(503, kCallbackUnavailable));
    } else {
      server_.answer_direct(*request.connection, {.status = 202,
                                                  .content_type = "application/json",
                                                  .body = callback_accepted(request.ids),
                                                  .more_headers = ""});
    }
  }
}

}  // namespace postoffice
