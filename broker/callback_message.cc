#include "broker/callback_message.h"

#include <simdjson.h>

#include <algorithm>
#include <charconv>

namespace postoffice {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

constexpr int64_t kLatestMillis = 253402300799999;  // 9999-12-31T23:59:59.999Z
constexpr int64_t kMostAttempts = 1'000'000;
constexpr size_t kMostIntegerChars = 20;  // "-9223372036854775808"

void append(std::string& text, int64_t value) {
  char digits[kMostIntegerChars];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  text.append(digits, end);
}

void start_line(std::string& text, UnixTime received_at) {
  text += "{\"received_at\":";
  append(text, to_unix_millis(received_at));
  text += ",\"object_ids\":[";
}

// Sets `value` and returns true when `member` is an integer from `least` to `most`.
bool read_integer(element member, int64_t least, int64_t most, int64_t& value) {
  return member.get(value) == simdjson::SUCCESS && value >= least && value <= most;
}

// The readers return what is wrong, or "".
std::string read_ids(element member, std::vector<int64_t>& ids) {
  array elements;
  if (member.get(elements) != simdjson::SUCCESS) return "object_ids is no array";
  ids.clear();
  ids.reserve(elements.size());
  for (const element id : elements) {
    int64_t value = 0;
    if (id.get(value) != simdjson::SUCCESS)
      return "object_ids[" + std::to_string(ids.size()) + "] is no 64-bit integer";
    ids.push_back(value);
  }
  return "";
}

std::string read_time(const char* name, element member, UnixTime& time) {
  int64_t millis = 0;
  if (!read_integer(member, 0, kLatestMillis, millis))
    return std::string(name) + " is no time in Unix milliseconds from 0 to " +
           std::to_string(kLatestMillis);
  time = from_unix_millis(millis);
  return "";
}

std::string read_attempt(element member, int& attempt) {
  int64_t value = 0;
  if (!read_integer(member, 1, kMostAttempts, value))
    return "attempt is no integer from 1 to " + std::to_string(kMostAttempts);
  attempt = static_cast<int>(value);
  return "";
}

std::string read_line(object members, CallbackLine& line) {
  bool has_received_at = false;
  bool has_object_ids = false;
  for (const auto& [key, member] : members) {
    std::string wrong;
    if (key == "received_at") {
      wrong = read_time("received_at", member, line.received_at);
      has_received_at = true;
    } else if (key == "object_ids") {
      wrong = read_ids(member, line.object_ids);
      has_object_ids = true;
    } else if (key == "attempt") {
      wrong = read_attempt(member, line.attempt);
    } else if (key == "not_before") {
      wrong = read_time("not_before", member, line.not_before.emplace());
    }
    if (!wrong.empty()) return wrong;
  }
  if (!has_received_at) return "received_at is missing";
  if (!has_object_ids) return "object_ids is missing";
  return "";
}

}  // namespace

std::string encode_callback_line(UnixTime received_at, std::span<const int64_t> object_ids) {
  std::string line;
  line.reserve(64 + object_ids.size() * (kMostIntegerChars + 1));
  append_callback_line(line, received_at, object_ids);
  return line;
}

void append_callback_line(std::string& text, UnixTime received_at,
                          std::span<const int64_t> object_ids) {
  start_line(text, received_at);
  for (const int64_t id : object_ids) {
    append(text, id);
    text += ',';
  }
  if (!object_ids.empty()) text.pop_back();
  text += "]}\n";
}

std::string encode_retry_line(UnixTime received_at, int64_t object_id, int attempt,
                              UnixTime not_before) {
  std::string line;
  start_line(line, received_at);
  append(line, object_id);
  line += "],\"attempt\":";
  append(line, attempt);
  line += ",\"not_before\":";
  append(line, to_unix_millis(not_before));
  line += "}\n";
  return line;
}

struct CallbackDecoder::Parser {
  simdjson::dom::parser json;
  std::string padded;  // The body, and behind it the bytes that simdjson may read past the end.
};

CallbackDecoder::CallbackDecoder() : parser_(std::make_unique<Parser>()) {}
CallbackDecoder::~CallbackDecoder() = default;

CallbackDecoder::Result CallbackDecoder::decode(std::string_view body) {
  Result result;
  parser_->padded.assign(body);
  parser_->padded.append(simdjson::SIMDJSON_PADDING, '\0');
  for (size_t start = 0; start < body.size();) {
    const size_t end = std::min(body.find('\n', start), body.size());
    const std::string_view text = body.substr(start, end - start);
    const auto* bytes = parser_->padded.data() + start;
    start = end + 1;
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;

    CallbackLine line;
    std::string wrong;
    object members;
    element document;
    const auto error = parser_->json.parse(bytes, text.size(), false).get(document);
    if (error != simdjson::SUCCESS) {
      wrong = std::string("not JSON: ") + simdjson::error_message(error);
    } else if (document.get(members) != simdjson::SUCCESS) {
      wrong = "no JSON object";
    } else {
      wrong = read_line(members, line);
    }
    if (wrong.empty()) {
      result.lines.push_back(std::move(line));
    } else {
      result.bad.push_back({std::string(text), std::move(wrong)});
    }
  }
  return result;
}

}  // namespace postoffice
