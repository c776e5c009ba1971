#include "worker/object_answer.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <ctime>

namespace postoffice {
namespace {

// An answer is one flat object; the default depth of 1,024 would cost each of ten thousand threads
// 10 KiB.
constexpr size_t kMostDepth = 32;
constexpr size_t kUsualBytes = 256;
// Above it the parser's buffers are not kept: they are twelve times as large as the answer.
constexpr size_t kMostKeptBytes = 4096;
constexpr Millis kMostRetryAfter = std::chrono::hours(24);

}  // namespace

struct ObjectAnswer::Parser {
  simdjson::dom::parser json;
};

ObjectAnswer::ObjectAnswer() : parser_(std::make_unique<Parser>()) {}
ObjectAnswer::~ObjectAnswer() = default;

std::optional<bool> ObjectAnswer::read_online(std::string& body, int64_t id, std::string& why) {
  const auto online = parse_online(body, id, why);
  auto& json = parser_->json;
  if (json.capacity() > kMostKeptBytes) json = simdjson::dom::parser();
  return online;
}

std::optional<bool> ObjectAnswer::parse_online(std::string& body, int64_t id, std::string& why) {
  auto& json = parser_->json;
  if (json.capacity() == 0 && json.allocate(kUsualBytes, kMostDepth) != simdjson::SUCCESS) {
    why = "no memory for the answer";
    return std::nullopt;
  }
  body.reserve(body.size() + simdjson::SIMDJSON_PADDING);
  simdjson::dom::element document;
  const auto error = json.parse(body.data(), body.size(), false).get(document);
  if (error != simdjson::SUCCESS) {
    why = std::string("the answer is not JSON: ") + simdjson::error_message(error);
    return std::nullopt;
  }
  simdjson::dom::object object;
  if (document.get(object) != simdjson::SUCCESS) {
    why = "the answer is no JSON object";
    return std::nullopt;
  }
  int64_t answered_id = 0;
  if (object["id"].get(answered_id) != simdjson::SUCCESS) {
    why = "the answer has no integer `id`";
    return std::nullopt;
  }
  if (answered_id != id) {
    why = "the answer is for object " + std::to_string(answered_id);
    return std::nullopt;
  }
  bool online = false;
  if (object["online"].get(online) != simdjson::SUCCESS) {
    why = "the answer has no boolean `online`";
    return std::nullopt;
  }
  return online;
}

std::optional<Millis> parse_retry_after(const std::string& value, UnixTime now) {
  int64_t seconds = 0;
  const char* end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, seconds);
  if (error == std::errc() && rest == end && seconds >= 0) {
    constexpr int64_t kMostSeconds = kMostRetryAfter / std::chrono::seconds(1);
    return std::chrono::seconds(std::min(seconds, kMostSeconds));
  }
  for (const char* form :
       {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"}) {
    std::tm date{};
    const char* parsed = strptime(value.c_str(), form, &date);
    if (parsed == nullptr || *parsed != '\0') continue;
    const UnixTime at{std::chrono::seconds(timegm(&date))};
    return std::clamp(Millis(at - now), Millis(0), kMostRetryAfter);
  }
  return std::nullopt;
}

}  // namespace postoffice
