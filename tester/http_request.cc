#include "tester/http_request.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace postoffice::tester {
namespace {

constexpr std::string_view kLineEnd = "\r\n";
constexpr std::string_view kHeadEnd = "\r\n\r\n";

ParsedRequest refused(int status) {
  return {.outcome = ParsedRequest::Outcome::kRefused,
          .request = {},
          .size_bytes = 0,
          .status = status};
}

bool equal_ignoring_case(std::string_view text, std::string_view lower) {
  return std::ranges::equal(text, lower, {}, [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Of a comma-separated list, as Connection is (RFC 9110 section 7.6.1).
bool has_token(std::string_view list, std::string_view lower) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (equal_ignoring_case(trim(list.substr(0, comma)), lower)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

// method SP request-target SP HTTP-version (RFC 9112 section 3); false when it is none.
bool parse_request_line(std::string_view line, HttpRequest& request) {
  const size_t method_end = line.find(' ');
  const size_t target_end = line.rfind(' ');
  if (method_end == 0 || method_end == std::string_view::npos || method_end == target_end) {
    return false;
  }
  const std::string_view version = line.substr(target_end + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return false;
  request.keep_alive = version == "HTTP/1.1";
  request.method = line.substr(0, method_end);
  std::string_view target = line.substr(method_end + 1, target_end - method_end - 1);
  if (const size_t scheme_end = target.find("://"); !target.starts_with('/')) {
    // The absolute form, as proxies send it.
    const size_t slash =
        scheme_end == std::string_view::npos ? scheme_end : target.find('/', scheme_end + 3);
    if (slash == std::string_view::npos) return false;
    target.remove_prefix(slash);
  }
  const size_t question = target.find('?');
  request.path = target.substr(0, question);
  if (question != std::string_view::npos) request.query = target.substr(question + 1);
  return true;
}

std::optional<size_t> parse_length(std::string_view text) {
  size_t length = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, length);
  if (error != std::errc() || rest != end) return std::nullopt;
  return length;
}

}  // namespace

ParsedRequest parse_http_request(std::string_view bytes) {
  // Empty lines before a request are to be ignored (RFC 9112 section 2.2).
  size_t skipped = 0;
  while (bytes.substr(skipped).starts_with(kLineEnd)) skipped += kLineEnd.size();
  const std::string_view rest = bytes.substr(skipped);
  const size_t head_size = rest.find(kHeadEnd);
  if (head_size == std::string_view::npos || head_size > kMaxHeadBytes) {
    return bytes.size() > kMaxHeadBytes ? refused(431) : ParsedRequest{};
  }

  ParsedRequest parsed;
  std::string_view head = rest.substr(0, head_size);
  const size_t line_end = std::min(head.find(kLineEnd), head.size());
  if (!parse_request_line(head.substr(0, line_end), parsed.request)) return refused(400);
  head.remove_prefix(std::min(line_end + kLineEnd.size(), head.size()));

  size_t body_size = 0;
  while (!head.empty()) {
    const size_t end = std::min(head.find(kLineEnd), head.size());
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(std::min(end + kLineEnd.size(), head.size()));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return refused(400);
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trim(line.substr(colon + 1));
    if (equal_ignoring_case(name, "connection")) {
      if (has_token(value, "close")) parsed.request.keep_alive = false;
      if (has_token(value, "keep-alive")) parsed.request.keep_alive = true;
    } else if (equal_ignoring_case(name, "content-length")) {
      const auto length = parse_length(value);
      if (!length) return refused(400);
      if (*length > kMaxBodyBytes) return refused(413);
      body_size = *length;
    } else if (equal_ignoring_case(name, "transfer-encoding")) {
      return refused(411);
    }
  }

  const size_t size = skipped + head_size + kHeadEnd.size() + body_size;
  if (bytes.size() < size) return {};
  parsed.request.body = bytes.substr(size - body_size, body_size);
  parsed.size_bytes = size;
  parsed.outcome = ParsedRequest::Outcome::kComplete;
  return parsed;
}

}  // namespace postoffice::tester
