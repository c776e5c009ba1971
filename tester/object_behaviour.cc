#include "tester/object_behaviour.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/url.h"
#include "tester/assign.h"

namespace postoffice::tester {
namespace {

constexpr int kLeastFailureStatus = 300;
constexpr int kMostFailureStatus = 599;
constexpr int64_t kMostRetryAfterSeconds = 86'400;
constexpr Millis kMostLatency = std::chrono::hours(1);
constexpr Millis kMostFlipEvery = std::chrono::hours(1);

std::optional<Failure> parse_failure(std::string_view text) {
  if (text == "hang") return Failure{Failure::Kind::kHang, 0};
  if (text == "garbage") return Failure{Failure::Kind::kGarbage, 0};
  if (text == "refuse") return Failure{Failure::Kind::kRefuse, 0};
  Failure failure;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, failure.status);
  if (error != std::errc() || rest != end || failure.status < kLeastFailureStatus ||
      failure.status > kMostFailureStatus) {
    return std::nullopt;
  }
  return failure;
}

Assign to_failure(Failure* target) {
  return [target](std::string_view text) -> std::optional<std::string> {
    const auto failure = parse_failure(text);
    if (!failure) {
      return "a status, " + std::to_string(kLeastFailureStatus) + " to " +
             std::to_string(kMostFailureStatus) + ", or hang, garbage or refuse";
    }
    *target = *failure;
    return std::nullopt;
  };
}

std::string lower(std::string_view name) {
  std::string text(name);
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

void apply_pair(std::string_view pair, const std::vector<Settings::Declaration>& settings,
                std::vector<std::string>& mistakes) {
  const size_t equals = pair.find('=');
  const std::string name(pair.substr(0, equals));
  const auto setting = std::ranges::find_if(
      settings, [&](const Settings::Declaration& known) { return lower(known.name) == name; });
  if (setting == settings.end()) {
    std::string known;
    for (const auto& each : settings) known += (known.empty() ? "" : ", ") + lower(each.name);
    mistakes.push_back("unknown setting " + name + ": it must be one of " + known);
    return;
  }
  const auto value =
      equals == std::string_view::npos ? std::nullopt : percent_decode(pair.substr(equals + 1));
  if (!value) {
    mistakes.push_back(name + " must be given as " + name + "=value, percent-encoded");
    return;
  }
  const auto wanted = setting->assign(value->empty() ? setting->default_value : *value);
  if (wanted) mistakes.push_back(name + " must be " + *wanted + ", not \"" + *value + "\"");
}

}  // namespace

std::string Failure::text() const {
  switch (kind) {
    case Kind::kHang:
      return "hang";
    case Kind::kGarbage:
      return "garbage";
    case Kind::kRefuse:
      return "refuse";
    case Kind::kStatus:
      break;
  }
  return std::to_string(status);
}

bool ObjectBehaviour::online(int64_t id, UnixTime asked_at) const {
  const bool flipped = flip_every > Millis(0) && asked_at.time_since_epoch() / flip_every % 2 != 0;
  return (id % 2 == 0) != flipped;
}

double ObjectBehaviour::failure_probability(int64_t id) const {
  if (fail_ids.empty()) return failure_rate.value_or(0);
  return std::ranges::binary_search(fail_ids, id) ? failure_rate.value_or(1) : 0;
}

void ObjectBehaviour::check(std::vector<std::string>& mistakes) const {
  if (latency_min > latency_max) {
    mistakes.push_back("LATENCY_MIN must be at most LATENCY_MAX, not " +
                       format_duration(latency_min) + " with " + format_duration(latency_max));
  }
}

std::vector<Settings::Declaration> behaviour_settings(ObjectBehaviour* behaviour) {
  return {
      {"LATENCY_MIN", "300ms",
       "An object request is answered after a time between this and LATENCY_MAX, all equally "
       "likely.",
       to_duration(&behaviour->latency_min, Millis(0), kMostLatency)},
      {"LATENCY_MAX", "4300ms", "See LATENCY_MIN.",
       to_duration(&behaviour->latency_max, Millis(0), kMostLatency)},
      {"FAILURE_RATE", "",
       "The share of object requests that fail, 0 to 1; unset: 1 when FAIL_IDS is set, else 0.",
       to_optional_number(&behaviour->failure_rate, 0, 1)},
      {"FAILURE_KIND", "500",
       "How they fail: with a status (300 to 599), hang (never answered), garbage (something that "
       "cannot be read), refuse (the connection is reset at once).",
       to_failure(&behaviour->failure)},
      {"FAIL_IDS", "", "Only requests for these ids fail, like 7,8; unset: any.",
       to_ids(&behaviour->fail_ids)},
      {"RETRY_AFTER", "1", "Seconds, the Retry-After of failures with status 429 and 503.",
       to_integer(&behaviour->retry_after_seconds, 0, kMostRetryAfterSeconds)},
      {"FLIP_EVERY", "0s",
       "Every object changes between online and offline this often, at whole multiples of it in "
       "unix "
       "time; what is answered is decided when the request arrives. 0s: never.",
       to_duration(&behaviour->flip_every, Millis(0), kMostFlipEvery)},
  };
}

void apply_query(std::string_view query, ObjectBehaviour& behaviour,
                 std::vector<std::string>& mistakes) {
  const auto settings = behaviour_settings(&behaviour);
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    if (end != 0) apply_pair(query.substr(0, end), settings, mistakes);
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  behaviour.check(mistakes);
}

}  // namespace postoffice::tester
