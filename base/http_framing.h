#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace postoffice {

// Finds where one HTTP/1.x request ends in the bytes of a connection (RFC 9112), as they arrive.
// Whatever would let two readers of the same bytes see different requests is refused: bare LF,
// folded or malformed lines, several Content-Length, Content-Length beside
// Transfer-Encoding. Not thread-safe.
class HttpFraming {
 public:
  enum class Progress { kMore, kComplete, kRefused };

  // Why the bytes are no request that is taken; the connection cannot be used after it.
  struct Refusal {
    int status = 400;
    std::string detail;
  };

  explicit HttpFraming(size_t max_body_bytes) : max_body_bytes_(max_body_bytes) {}

  // `input` is everything received since the last reset(); to be called again whenever it has
  // grown. A chunked body is decoded in place, and the name of the header Range is replaced by
  // "-----": nobody is to look at it. Once complete, `input` starts with head_bytes() of
  // head and body_bytes() of body; what follows belongs to the next request.
  Progress advance(std::string& input);
  // The next request starts.
  void reset();

  // Known when complete, or when expects_continue().
  size_t head_bytes() const { return head_bytes_; }
  size_t body_bytes() const { return body_bytes_; }
  bool keep_alive() const { return !closes_ && (!http_1_0_ || asks_keep_alive_); }
  // HTTP/1.1 with one Content-Length and no Transfer-Encoding, Expect or Connection but
  // keep-alive, short header lines, and in their values nothing but visible ASCII, spaces and
  // tabs: what every reader reads the same way. When complete.
  bool is_plain() const { return is_plain_ && content_length_ && !http_1_0_; }
  // The client waits for "100 Continue" before it sends its body (RFC 9110 section 10.1.1).
  bool expects_continue() const { return expects_continue_; }

  const Refusal& refusal() const { return refusal_; }

 private:
  enum class State { kHead, kBody, kChunkSize, kChunk, kChunkEnd, kTrailers };

  Progress refuse(int status, std::string detail);
  Progress find_head(std::string& input);
  Progress read_head(std::string& input);
  Progress read_request_line(std::string_view line);
  Progress read_header(std::string_view line);
  Progress choose_body();
  Progress find_body(const std::string& input);
  Progress decode_chunks(std::string& input);
  Progress read_chunk_size(std::string_view line);

  const size_t max_body_bytes_;

  State state_ = State::kHead;
  size_t skipped_bytes_ = 0;  // Empty lines before the request line.
  size_t scanned_ = 0;        // Bytes of the head already searched for line ends.
  size_t line_start_ = 0;
  size_t head_bytes_ = 0;
  size_t body_bytes_ = 0;
  bool http_1_0_ = false;
  bool closes_ = false;
  bool asks_keep_alive_ = false;
  bool expects_continue_ = false;
  bool is_plain_ = true;
  std::optional<uint64_t> content_length_;
  bool chunked_ = false;
  uint64_t chunk_left_ = 0;
  size_t trailer_bytes_ = 0;
  Refusal refusal_;
};

}  // namespace postoffice
