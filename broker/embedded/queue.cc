#include "broker/embedded/queue.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

namespace postoffice::embedded {
namespace {

constexpr Millis kRetryDeadLetters{1000};
constexpr Millis kPause{1000};
// Of dead letters in one turn; more than that wait a little.
constexpr int64_t kDeadLetterBytes = 4 << 20;
constexpr int64_t kDeadLetterOverheadBytes = 500;
// What a byte of properties counts: headers are read, written and read again, bodies are copied.
constexpr int64_t kDeadLetterPropertiesFactor = 8;
constexpr Millis kDeadLetterPause{10};
constexpr Millis kBehindPause{100};  // While the disk takes no more.

int64_t millis_of(UnixTime time) { return to_unix_millis(time); }

}  // namespace

Queue::Queue(QueueHost& host, QueueRecord properties, bool durable)
    : host_(host),
      properties_(std::move(properties)),
      durable_(durable),
      arguments_(QueueArguments::read(properties_.arguments, durable, properties_.exclusive,
                                      properties_.auto_delete)),
      dead_letter_bytes_(kDeadLetterBytes),
      used_at_(SteadyClock::now()) {}

Queue::~Queue() = default;

// --- Levels

Entry& Queue::Level::front() {
  if (returned.empty()) return fresh.front();
  if (fresh.empty() || returned.begin()->first < fresh.front().seq) return returned.begin()->second;
  return fresh.front();
}

Entry Queue::Level::pop() {
  if (!returned.empty() && (fresh.empty() || returned.begin()->first < fresh.front().seq)) {
    return std::move(returned.extract(returned.begin()).mapped());
  }
  Entry entry = std::move(fresh.front());
  fresh.pop_front();
  return entry;
}

Queue::Level* Queue::first_level() {
  const auto level = std::find_if(levels_.rbegin(), levels_.rend(),
                                  [](const Level& each) { return !each.empty(); });
  return level == levels_.rend() ? nullptr : &*level;
}

Queue::Level& Queue::level_of(uint8_t priority) {
  const uint8_t highest = arguments_.max_priority.value_or(0);
  if (levels_.empty()) levels_.resize(size_t{highest} + 1);
  return levels_[std::min(priority, highest)];
}

void Queue::count_in(const Entry& entry) {
  ++ready_;
  ready_bytes_ += entry.message->body_bytes();
}

Entry Queue::pop_from(Level& level) {
  Entry entry = level.pop();
  --ready_;
  ready_bytes_ -= entry.message->body_bytes();
  return entry;
}

// --- Messages in

bool Queue::is_over_limit(uint64_t more_messages, uint64_t more_bytes) const {
  return (arguments_.max_length && ready_ + more_messages > *arguments_.max_length) ||
         (arguments_.max_length_bytes && ready_bytes_ + more_bytes > *arguments_.max_length_bytes);
}

bool Queue::accepts(uint32_t body_bytes) const {
  if (closed_) return false;
  return arguments_.overflow != QueueArguments::Overflow::kRejectPublish ||
         !is_over_limit(1, body_bytes);
}

void Queue::put(const MessagePtr& message, std::optional<Millis> expiration, uint8_t priority,
                UnixTime now) {
  Entry entry{message, next_seq_++, 0, priority, false};
  auto ttl = arguments_.message_ttl;
  if (expiration) ttl = ttl ? std::min(*ttl, *expiration) : *expiration;
  if (ttl) entry.expires_at = millis_of(now + *ttl);
  if (is_stored() && message->is_persistent()) message->add_place(*this, entry.seq);
  count_in(entry);
  level_of(priority).fresh.push_back(std::move(entry));
  host_.wake(*this);
}

void Queue::restore(Entry entry, uint32_t returns) {
  if (returns > 0) returns_.emplace(entry.seq, returns);
  next_seq_ = std::max(next_seq_, entry.seq + 1);
  entry.message->add_place(*this, entry.seq);
  count_in(entry);
  level_of(entry.priority).fresh.push_back(std::move(entry));
}

void Queue::restored(uint64_t delivered, uint64_t last_seq) {
  delivered_ = delivered;
  next_seq_ = std::max({next_seq_, delivered + 1, last_seq + 1});
  offered_ = next_seq_ - 1;
  for (auto& level : levels_) {
    if (!std::ranges::is_sorted(level.fresh, {}, &Entry::seq)) {
      std::ranges::sort(level.fresh, {}, &Entry::seq);
    }
    for (auto& entry : level.fresh) {
      if (entry.seq > delivered) break;
      entry.redelivered = true;
    }
  }
  host_.wake(*this);
}

// --- Messages out

std::shared_ptr<Consumer> Queue::next_consumer() {
  if (arguments_.single_active_consumer && !consumers_.empty()) {
    auto& active = consumers_.front();
    return active->receiver->can_take(*active) ? active : nullptr;
  }
  for (auto it = consumers_.begin(); it != consumers_.end(); ++it) {
    if (!(*it)->receiver->can_take(**it)) continue;
    auto chosen = *it;
    // To the end of those of its priority.
    const auto end = std::find_if(it, consumers_.end(), [&](const auto& other) {
      return other->priority != chosen->priority;
    });
    std::rotate(it, it + 1, end);
    return chosen;
  }
  return nullptr;
}

void Queue::pump() {
  if (closed_) return;
  begin_dead_letters();
  drop_expired(offered_);
  Level* level = nullptr;
  while (ready_ > 0 && !consumers_.empty() && !is_postponed_ && !is_paused_) {
    auto consumer = next_consumer();
    if (!consumer) break;
    if (level == nullptr || level->empty()) level = first_level();
    Entry entry = pop_from(*level);
    delivered_ = std::max(delivered_, entry.seq);
    consumer->receiver->deliver(consumer, std::move(entry));
    drop_expired(offered_);
  }
  offered_ = next_seq_ - 1;
  drop_surplus();
  plan();
}

void Queue::drop_surplus() {
  while (ready_ > 0 && arguments_.overflow == QueueArguments::Overflow::kDropHead &&
         is_over_limit(0, 0)) {
    // The oldest of the lowest priority.
    const auto level =
        std::ranges::find_if(levels_, [](const Level& each) { return !each.empty(); });
    if (!may_dead_letter(level->front())) return;
    dead_letter(pop_from(*level), DeathReason::kMaxLength);
  }
}

void Queue::drop_expired(uint64_t last_seq) {
  if (ready_ == 0) return;
  int64_t now = 0;
  for (auto& level : levels_) {
    while (!level.empty()) {
      const Entry& head = level.front();
      if (head.expires_at == 0 || head.seq > last_seq) break;
      if (now == 0) now = millis_of(unix_now());
      if (head.expires_at > now) break;
      if (!may_dead_letter(head)) return;
      dead_letter(pop_from(level), DeathReason::kExpired);
    }
  }
}

void Queue::begin_dead_letters() {
  is_postponed_ = false;
  dead_letter_bytes_ = kDeadLetterBytes;
}

bool Queue::has_room_for_dead_letter(const Entry& entry) {
  if (!arguments_.dead_letter_exchange) return true;
  if (dead_letter_bytes_ <= 0 || host_.is_behind()) return false;
  const int64_t body = entry.message->body_bytes();
  const int64_t properties = entry.message->content_bytes() - body;
  dead_letter_bytes_ -= kDeadLetterOverheadBytes + body + properties * kDeadLetterPropertiesFactor;
  return true;
}

bool Queue::may_dead_letter(const Entry& entry) {
  if (has_room_for_dead_letter(entry)) return true;
  is_postponed_ = true;
  return false;
}

void Queue::on_time() {
  if (closed_) return;
  if (is_postponed_) host_.wake(*this);  // What is behind the expired ones may be delivered.
  begin_dead_letters();
  const auto now = SteadyClock::now();
  if (arguments_.expires && consumers_.empty() && no_letters_wait() &&
      now >= used_at_ + *arguments_.expires) {
    host_.unused(*this);
    return;
  }
  if (untried_.empty() && now >= retry_dead_letters_at_) untried_.swap(failed_);
  try_dead_letters();
  drop_expired(offered_);
  if (is_paused_ && now >= goes_on_at_) {
    is_paused_ = false;
    host_.wake(*this);
  }
  plan();
}

// One that fails ends it for this turn: where all do, trying them takes little of the time.
void Queue::try_dead_letters() {
  bool goes_on = true;
  while (goes_on && !untried_.empty() && has_room_for_dead_letter(untried_.front().first)) {
    const auto [entry, reason] = std::move(untried_.front());
    untried_.pop_front();
    goes_on = dead_letter(entry, reason);
  }
}

void Queue::plan() {
  std::optional<SteadyClock::time_point> next;
  const auto at = [&next](SteadyClock::time_point when) {
    if (!next || when < *next) next = when;
  };
  if (arguments_.expires && consumers_.empty() && no_letters_wait()) {
    at(used_at_ + *arguments_.expires);
  }
  if (untried_.empty() && !failed_.empty()) at(retry_dead_letters_at_);
  if (is_paused_) at(goes_on_at_);
  if (!untried_.empty() || is_postponed_) {
    at(SteadyClock::now() + (host_.is_behind() ? kBehindPause : kDeadLetterPause));
  }
  if (is_postponed_) {  // What has expired is planned for.
    host_.call_at(*this, *next);
    return;
  }
  int64_t expires_at = 0;
  for (auto& level : levels_) {
    if (level.empty()) continue;
    const int64_t head = level.front().expires_at;
    if (head != 0 && (expires_at == 0 || head < expires_at)) expires_at = head;
  }
  if (expires_at != 0) {
    at(SteadyClock::now() + Millis(std::max<int64_t>(0, expires_at - millis_of(unix_now()))));
  }
  if (next) host_.call_at(*this, *next);
}

std::optional<Entry> Queue::take() {
  touch();
  is_postponed_ = false;  // Unless it still has to be.
  drop_expired(next_seq_);
  Level* const level = first_level();
  if (is_postponed_) host_.wake(*this);
  if (level == nullptr || is_postponed_ || is_paused_) return std::nullopt;
  Entry entry = pop_from(*level);
  delivered_ = std::max(delivered_, entry.seq);
  host_.wake(*this);  // The next one may expire.
  return entry;
}

void Queue::settle(const Entry& entry) {
  returns_.erase(entry.seq);
  host_.settled(*this, entry);
}

void Queue::requeue(Entry entry) {
  if (closed_) {
    settle(entry);
    return;
  }
  entry.redelivered = true;
  if (is_quorum()) {
    const uint32_t count = ++returns_[entry.seq];
    if (arguments_.delivery_limit && count > *arguments_.delivery_limit) {
      reject(entry, DeathReason::kDeliveryLimit);
      return;
    }
    host_.returned(*this, entry, count);
  }
  put_back(std::move(entry));
}

void Queue::put_back(Entry entry) {
  count_in(entry);
  auto& level = level_of(entry.priority);
  const uint64_t seq = entry.seq;
  level.returned.emplace(seq, std::move(entry));
  host_.wake(*this);
}

void Queue::pause(Entry entry, const std::string& why) {
  spdlog::error("broker: messages of queue {} are delivered later: {}", name(), why);
  is_paused_ = true;
  goes_on_at_ = SteadyClock::now() + kPause;
  put_back(std::move(entry));
  plan();
}

void Queue::reject(const Entry& entry, DeathReason reason) {
  if (closed_ || !arguments_.dead_letter_exchange) {
    settle(entry);
    return;
  }
  // Behind those that wait, and no more in a turn than of others.
  if (no_letters_wait() && has_room_for_dead_letter(entry)) {
    dead_letter(entry, reason);
    return;
  }
  (failed_.empty() ? untried_ : failed_).emplace_back(entry, reason);
  host_.wake(*this);
}

// False: it is tried again later.
bool Queue::dead_letter(const Entry& entry, DeathReason reason) {
  if (arguments_.dead_letter_exchange && !host_.dead_letter(*this, entry, reason)) {
    retry_dead_letters_at_ = SteadyClock::now() + kRetryDeadLetters;
    failed_.emplace_back(entry, reason);
    host_.wake(*this);
    return false;
  }
  settle(entry);
  return true;
}

uint64_t Queue::purge() {
  touch();
  const uint64_t count = ready_;
  for (auto& level : levels_) {
    while (!level.empty()) settle(pop_from(level));
  }
  return count;
}

uint32_t Queue::return_count(uint64_t seq) const {
  if (returns_.empty()) return 0;
  const auto found = returns_.find(seq);
  return found == returns_.end() ? 0 : found->second;
}

// --- Consumers

void Queue::add(const std::shared_ptr<Consumer>& consumer) {
  const bool taken =
      std::ranges::any_of(consumers_, [](const auto& each) { return each->exclusive; });
  const bool may_be_alone = consumers_.empty() && !arguments_.single_active_consumer;
  if (taken || (consumer->exclusive && !may_be_alone)) {
    throw ChannelError(ReplyCode::kAccessRefused,
                       "queue '" + name() + "' in vhost '" + vhost() + "' in exclusive use");
  }
  // The single active consumer stays the first whatever the others' priorities.
  auto before = consumers_.begin();
  if (arguments_.single_active_consumer && !consumers_.empty()) ++before;
  consumers_.insert(
      std::find_if(before, consumers_.end(),
                   [&](const auto& each) { return each->priority < consumer->priority; }),
      consumer);
  host_.wake(*this);
}

void Queue::remove(const std::shared_ptr<Consumer>& consumer) {
  if (std::erase(consumers_, consumer) == 0) return;
  touch();
  host_.wake(*this);
  if (consumers_.empty() && properties_.auto_delete && !closed_) host_.unused(*this);
}

void Queue::close() {
  if (closed_) return;
  closed_ = true;
  for (auto& level : levels_) {
    for (auto& entry : level.fresh) entry.message->remove_place(*this, entry.seq);
    for (auto& [seq, entry] : level.returned) entry.message->remove_place(*this, seq);
  }
  for (auto* const letters : {&untried_, &failed_}) {
    for (auto& [entry, reason] : *letters) entry.message->remove_place(*this, entry.seq);
    letters->clear();
  }
  levels_.clear();
  ready_ = ready_bytes_ = 0;
  for (const auto& consumer : std::exchange(consumers_, {})) {
    consumer->receiver->cancelled(*consumer);
  }
}

void Queue::touch() { used_at_ = SteadyClock::now(); }

}  // namespace postoffice::embedded
