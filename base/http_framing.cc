#include "base/http_framing.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/text.h"

namespace postoffice {
namespace {

constexpr size_t kMaxHeadBytes = 32 * 1024;
constexpr size_t kMaxChunkLineBytes = 256;
constexpr size_t kMaxPlainLineBytes = 4096;
constexpr std::string_view kHiddenName = "-----";  // As long as "Range", so that nothing moves.

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return lower(x) == lower(y); });
}

// Whether the comma-separated list holds `word`.
bool lists(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    if (same_word(trim(list.substr(0, comma)), word)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

bool is_plain_value(std::string_view value) {
  return !value.empty() &&
         std::ranges::all_of(value, [](char c) { return (c >= ' ' && c <= '~') || c == '\t'; });
}

// RFC 9110 section 5.6.2.
bool is_token(std::string_view text) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    const char l = lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') ||
           kMarks.find(c) != std::string_view::npos;
  });
}

// What stands before the colon of "Name: value"; nothing where that is no name.
std::optional<std::string_view> name_in(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return std::nullopt;
  return line.substr(0, colon);
}

bool has_cr_or_nul(std::string_view line) {
  return line.find('\r') != std::string_view::npos || line.find('\0') != std::string_view::npos;
}

}  // namespace

HttpFraming::Progress HttpFraming::refuse(int status, std::string detail) {
  refusal_ = {.status = status, .detail = std::move(detail)};
  return Progress::kRefused;
}

void HttpFraming::reset() {
  state_ = State::kHead;
  skipped_bytes_ = scanned_ = line_start_ = head_bytes_ = body_bytes_ = trailer_bytes_ = 0;
  http_1_0_ = closes_ = asks_keep_alive_ = expects_continue_ = chunked_ = false;
  is_plain_ = true;
  content_length_.reset();
  chunk_left_ = 0;
}

HttpFraming::Progress HttpFraming::advance(std::string& input) {
  if (state_ == State::kHead) {
    const Progress progress = find_head(input);
    if (progress != Progress::kComplete) return progress;
  }
  return state_ == State::kBody ? find_body(input) : decode_chunks(input);
}

// Complete when the whole head is there and says what body follows.
HttpFraming::Progress HttpFraming::find_head(std::string& input) {
  // Section 2.2: empty lines before the request line are skipped.
  size_t empty_bytes = 0;
  while (line_start_ == 0 && input.compare(empty_bytes, 2, "\r\n") == 0) empty_bytes += 2;
  if (empty_bytes > 0) {
    input.erase(0, empty_bytes);
    scanned_ = 0;
    skipped_bytes_ += empty_bytes;
    if (skipped_bytes_ > kMaxHeadBytes) return refuse(431, "too many empty lines");
  }
  const std::string_view bytes = input;
  while (scanned_ < bytes.size()) {
    const size_t line_end = bytes.find('\n', scanned_);
    scanned_ = std::min(line_end, bytes.size() - 1) + 1;
    if (scanned_ > kMaxHeadBytes) {
      return refuse(431, "request line and headers together may have " +
                             std::to_string(kMaxHeadBytes) + " bytes");
    }
    if (line_end == std::string_view::npos) break;
    if (line_end == line_start_ || bytes[line_end - 1] != '\r') {
      return refuse(400, "lines of the request must end in CR LF");
    }
    const bool blank = line_end == line_start_ + 1;
    line_start_ = line_end + 1;
    if (blank) {
      head_bytes_ = line_start_;
      return read_head(input);
    }
  }
  return Progress::kMore;
}

HttpFraming::Progress HttpFraming::read_head(std::string& input) {
  std::string_view head = std::string_view(input).substr(0, head_bytes_ - 2);
  bool first = true;
  while (!head.empty()) {
    const size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    if (has_cr_or_nul(line)) {
      return refuse(400, "the head of the request must not contain CR or NUL within a line");
    }
    const Progress progress = first ? read_request_line(line) : read_header(line);
    if (progress != Progress::kComplete) return progress;
    if (!first && same_word(line.substr(0, line.find(':')), "Range")) {
      const auto at = static_cast<size_t>(line.data() - input.data());
      input.replace(at, kHiddenName.size(), kHiddenName);
    }
    first = false;
    head.remove_prefix(end + 2);
  }
  return choose_body();
}

HttpFraming::Progress HttpFraming::read_request_line(std::string_view line) {
  const size_t version_at = line.rfind(' ');
  const std::string_view version =
      version_at == std::string_view::npos ? line : line.substr(version_at + 1);
  http_1_0_ = version == "HTTP/1.0";
  if (!http_1_0_ && version != "HTTP/1.1") {
    if (version.starts_with("HTTP/")) return refuse(505, "HTTP/1.1 and HTTP/1.0 are spoken here");
    return refuse(400, "the request line must be: METHOD /path HTTP/1.1");
  }
  if (std::ranges::count(line, ' ') != 2 || !is_token(line.substr(0, line.find(' ')))) {
    return refuse(400, "the request line must be: METHOD /path HTTP/1.1");
  }
  return Progress::kComplete;
}

HttpFraming::Progress HttpFraming::read_header(std::string_view line) {
  const auto named = name_in(line);
  if (!named) return refuse(400, "each header must be a line of its own: Name: value");
  const std::string_view name = *named;
  const std::string_view value = trim(line.substr(name.size() + 1));
  is_plain_ &= line.size() <= kMaxPlainLineBytes && is_plain_value(value);
  if (same_word(name, "Content-Length")) {
    const auto length = parse_integer<uint64_t>(value);
    if (!length || content_length_) {
      return refuse(400, "Content-Length must be one whole number of bytes");
    }
    content_length_ = length;
  } else if (same_word(name, "Transfer-Encoding")) {
    if (chunked_ || !same_word(value, "chunked")) {
      return refuse(501, "of the transfer encodings only chunked is understood");
    }
    chunked_ = true;
    is_plain_ = false;
  } else if (same_word(name, "Content-Encoding")) {
    if (!value.empty() && !same_word(value, "identity")) {
      return refuse(415, "send the body without Content-Encoding");
    }
  } else if (same_word(name, "Connection")) {
    is_plain_ &= same_word(value, "keep-alive");  // Which is what HTTP/1.1 does anyway.
    closes_ |= lists(value, "close");
    asks_keep_alive_ |= lists(value, "keep-alive");
  } else if (same_word(name, "Expect")) {
    is_plain_ = false;
    expects_continue_ = !http_1_0_ && same_word(value, "100-continue");
  }
  return Progress::kComplete;
}

// Section 6.3.
HttpFraming::Progress HttpFraming::choose_body() {
  if (chunked_ && content_length_) {
    return refuse(400, "a request has Content-Length or Transfer-Encoding, not both");
  }
  if (chunked_ && http_1_0_) return refuse(400, "HTTP/1.0 has no chunked bodies");
  state_ = chunked_ ? State::kChunkSize : State::kBody;
  if (!chunked_) {
    const uint64_t length = content_length_.value_or(0);
    if (length > max_body_bytes_) {
      return refuse(413, "the body may have " + std::to_string(max_body_bytes_) + " bytes, not " +
                             std::to_string(length));
    }
    body_bytes_ = length;
  }
  return Progress::kComplete;
}

HttpFraming::Progress HttpFraming::find_body(const std::string& input) {
  return input.size() >= head_bytes_ + body_bytes_ ? Progress::kComplete : Progress::kMore;
}

// Section 7.1. Between calls `input` is head, decoded body, undecoded rest.
HttpFraming::Progress HttpFraming::decode_chunks(std::string& input) {
  const size_t undecoded = head_bytes_ + body_bytes_;
  size_t at = undecoded;
  Progress progress = Progress::kMore;
  // Takes one line off the rest; nothing when it has not arrived as a whole.
  const auto take_line = [&](size_t most) -> std::optional<std::string_view> {
    const std::string_view rest = std::string_view(input).substr(at);
    const size_t end = rest.find("\r\n");
    if (end == std::string_view::npos ? rest.size() > most : end > most) {
      progress = refuse(400, "the chunked body is malformed: a line is too long");
      return std::nullopt;
    }
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view line = rest.substr(0, end);
    if (has_cr_or_nul(line) || line.find('\n') != std::string_view::npos) {
      progress = refuse(400, "the chunked body is malformed: CR, LF or NUL within a line");
      return std::nullopt;
    }
    at += end + 2;
    return line;
  };

  bool stuck = false;
  while (!stuck && progress == Progress::kMore) {
    switch (state_) {
      case State::kChunkSize: {
        const auto line = take_line(kMaxChunkLineBytes);
        stuck = !line;
        if (line) progress = read_chunk_size(*line);
        break;
      }
      case State::kChunk: {
        const auto count = static_cast<size_t>(std::min<uint64_t>(chunk_left_, input.size() - at));
        std::memmove(input.data() + head_bytes_ + body_bytes_, input.data() + at, count);
        at += count;
        body_bytes_ += count;
        chunk_left_ -= count;
        stuck = chunk_left_ > 0;
        if (!stuck) state_ = State::kChunkEnd;
        break;
      }
      case State::kChunkEnd:
        stuck = input.size() - at < 2;
        if (stuck) break;
        if (input.compare(at, 2, "\r\n") != 0) {
          progress = refuse(400, "the chunked body is malformed: a chunk is longer than it says");
        }
        at += 2;
        state_ = State::kChunkSize;
        break;
      default: {  // Trailers: read and dropped.
        const auto line = take_line(kMaxHeadBytes);
        stuck = !line;
        if (!line) break;
        trailer_bytes_ += line->size() + 2;
        if (line->empty()) {
          progress = Progress::kComplete;
        } else if (trailer_bytes_ > kMaxHeadBytes) {
          progress = refuse(431, "the trailers are too long");
        } else if (!name_in(*line)) {
          progress = refuse(400, "each trailer must be a line of its own: Name: value");
        }
      }
    }
  }
  input.erase(head_bytes_ + body_bytes_, at - (head_bytes_ + body_bytes_));
  return progress;
}

HttpFraming::Progress HttpFraming::read_chunk_size(std::string_view line) {
  const auto size = parse_integer<uint64_t>(trim(line.substr(0, line.find(';'))), 16);
  if (!size) {
    return refuse(400, "the chunked body is malformed: a chunk must start with its size");
  }
  if (*size > max_body_bytes_ - body_bytes_) {
    return refuse(413, "the body may have " + std::to_string(max_body_bytes_) + " bytes");
  }
  chunk_left_ = *size;
  state_ = *size == 0 ? State::kTrailers : State::kChunk;
  return Progress::kMore;
}

}  // namespace postoffice
