#include "server/callback_request.h"

#include <string_view>

namespace postoffice {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;
using Refusal = CallbackRequestParser::Refusal;

constexpr const char* kIds = "object_ids";
// A parser that has read a body of this size keeps fourteen times as much memory: it is let go.
constexpr size_t kLargeBodyBytes = 64 * 1024;
constexpr size_t kShownBytes = 40;

Refusal malformed(std::string detail) { return {.status = 400, .detail = std::move(detail)}; }

// A value as JSON, cut to what fits a sentence.
std::string shown(std::string text) {
  if (text.size() > kShownBytes) text = text.substr(0, kShownBytes) + "...";
  return text;
}

std::string shown(element value) {
  switch (value.type()) {
    case element_type::ARRAY:
      return "an array";
    case element_type::OBJECT:
      return "an object";
    default:
      return shown(simdjson::minify(value));
  }
}

Refusal wrong_id(size_t index, const std::string& found) {
  return malformed(std::string(kIds) + "[" + std::to_string(index) +
                   "] must be a 64-bit integer, not " + found);
}

// simdjson refuses numbers beyond 64 bits without saying where: names the id, if it is one.
Refusal wrong_number(std::string_view body) {
  simdjson::ondemand::parser parser;
  const simdjson::padded_string padded(body);
  simdjson::ondemand::document document;
  simdjson::ondemand::array ids;
  if (parser.iterate(padded).get(document) == simdjson::SUCCESS &&
      document[kIds].get_array().get(ids) == simdjson::SUCCESS) {
    size_t index = 0;
    for (auto id : ids) {
      std::string_view text;
      if (id.get_int64().error() != simdjson::SUCCESS) {
        return wrong_id(
            index, id.raw_json_token().get(text) == simdjson::SUCCESS
                       ? shown(std::string(text.substr(0, text.find_last_not_of(" \t\r\n") + 1)))
                       : "this");
      }
      ++index;
    }
  }
  return malformed("the body must be JSON: a number in it is malformed or out of range");
}

std::optional<Refusal> read_ids(element value, size_t max_ids, std::vector<int64_t>& ids) {
  simdjson::dom::array array;
  if (value.get_array().get(array) != simdjson::SUCCESS) {
    return malformed("object_ids must be an array of 64-bit integers, not " + shown(value));
  }
  if (array.size() > max_ids) {
    return Refusal{.status = 413,
                   .detail = "object_ids has " + std::to_string(array.size()) +
                             " ids and may have " + std::to_string(max_ids) +
                             " (MAX_CALLBACK_IDS): split the callback"};
  }
  ids.reserve(array.size());
  for (const element id : array) {
    if (id.type() != element_type::INT64) return wrong_id(ids.size(), shown(id));
    ids.push_back(id.get_int64().value_unsafe());
  }
  return std::nullopt;
}

std::optional<Refusal> read(element document, size_t max_ids, std::vector<int64_t>& ids) {
  simdjson::dom::object object;
  if (document.get_object().get(object) != simdjson::SUCCESS) {
    return malformed("the body must be an object like {\"object_ids\":[1,2]}, not " +
                     shown(document));
  }
  std::optional<element> value;
  for (const auto& member : object) {
    if (member.key != kIds) continue;
    if (value) return malformed("object_ids must be given once");
    value = member.value;
  }
  if (!value) {
    return malformed("object_ids is missing: the body must be like {\"object_ids\":[1,2]}");
  }
  return read_ids(*value, max_ids, ids);
}

}  // namespace

std::optional<Refusal> CallbackRequestParser::parse(std::string_view body, size_t max_ids,
                                                    std::vector<int64_t>& ids) {
  ids.clear();
  element document;
  const auto error = parser_.parse(body.data(), body.size()).get(document);
  std::optional<Refusal> refusal;
  if (error == simdjson::SUCCESS) {
    refusal = read(document, max_ids, ids);
  } else if (error == simdjson::NUMBER_ERROR) {
    refusal = wrong_number(body);
  } else {
    refusal = malformed(std::string("the body must be JSON: ") + simdjson::error_message(error));
  }
  if (body.size() > kLargeBodyBytes) parser_ = simdjson::dom::parser();
  return refusal;
}

}  // namespace postoffice
