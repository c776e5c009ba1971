#include "worker/object_client.h"

#include <fcntl.h>
#include <httplib.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <system_error>
#include <utility>

#include "worker/deadline_stream.h"
#include "worker/object_answer.h"

namespace postoffice {
namespace {

using Kind = FetchResult::Kind;

// What surrounds a body: chunk sizes, the head.
constexpr size_t kMostBytesAroundBody = 64 * 1024;
constexpr size_t kUsualBodyBytes = 1024;

bool is_success(int status) { return status >= 200 && status < 300; }

// RFC 9110, section 15. Statuses that no rule names (1xx, 600) make the answer unreadable.
Kind kind_of_status(int status) {
  if (status == 404 || status == 410) return Kind::kGone;
  if (status == 401 || status == 403) return Kind::kUnauthorised;
  if (status == 408 || status == 429) return Kind::kRetryable;
  if (status >= 500 && status < 600) return Kind::kUnreachable;
  if (status >= 300 && status < 500) return Kind::kRejected;
  return Kind::kRetryable;
}

bool is_same_word(const std::string& left, const char* right) {
  return strcasecmp(left.c_str(), right) == 0;
}

}  // namespace

// cpp-httplib's client writes the request and reads the answer; the socket is our own, because
// cpp-httplib knows no deadline for a whole exchange and cannot be interrupted while it connects.
class ObjectClient::Exchange final : private httplib::ClientImpl {
 public:
  Exchange(const ObjectClient::Options& options, ServiceAddress& address, int stop_fd)
      : ClientImpl(address.host(), address.port()),
        options_(options),
        address_(address),
        stop_fd_(stop_fd) {
    if (!address.user().empty()) set_basic_auth(address.user(), address.password());
    request_.method = "GET";
    request_.headers = {{"Accept", "application/json"}, {"User-Agent", "postoffice"}};
    request_.response_handler = [this](const httplib::Response& response) {
      status_ = response.status;
      stream_->end_head();
      return true;
    };
    request_.content_receiver = [this](const char* bytes, size_t size, uint64_t, uint64_t) {
      if (body_.size() + size > options_.most_body_bytes) {
        is_body_too_large_ = true;
        return false;
      }
      body_.append(bytes, size);
      return true;
    };
  }

  FetchResult fetch(int64_t id) {
    using FirstWait = DeadlineStream::FirstWait;
    const auto deadline = SteadyClock::now() + options_.attempt_timeout;
    FetchResult result;
    request_.path = address_.path_of(id);
    const bool reused = is_connection_good();
    if (!reused && !open_connection(deadline, result)) return result;
    // Connecting takes a part of the time: less is left than the socket would wait.
    const bool answered =
        exchange(deadline, reused ? FirstWait::kBlocks : FirstWait::kPolls, id, result);
    const bool was_closed_meanwhile = reused && !answered;
    if (was_closed_meanwhile && !is_stopping() && open_connection(deadline, result)) {
      exchange(deadline, FirstWait::kPolls, id, result);
    }
    return result;
  }

  void interrupt() {
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
    if (connection_.is_open()) shutdown(connection_.get(), SHUT_RDWR);
  }

 private:
  bool is_connection_good() {
    if (!connection_.is_open()) return false;
    char byte = 0;
    const bool is_silent = recv(connection_.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
                           (errno == EAGAIN || errno == EINTR);
    if (!is_silent) set_connection(FileDescriptor());  // Closed, or it sent what nobody asked for.
    return is_silent;
  }

  // False: interrupted.
  bool set_connection(FileDescriptor connection) {
    const std::lock_guard lock(mutex_);
    connection_ = std::move(connection);
    if (interrupted_) connection_.close();
    return !interrupted_;
  }

  // So that recv(2) waits for an answer, and no longer than an attempt may take.
  void make_blocking(int fd) const {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(options_.attempt_timeout);
    timeval timeout{};
    timeout.tv_sec = seconds.count();
    timeout.tv_usec = std::chrono::microseconds(options_.attempt_timeout - seconds).count();
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  }

  bool open_connection(SteadyClock::time_point deadline, FetchResult& result) {
    auto connection = address_.connect(options_.connect_timeout, deadline, stop_fd_, result.reason);
    if (connection.is_open()) {
      make_blocking(connection.get());
      if (set_connection(std::move(connection))) return true;
    }
    result.kind = is_stopping() ? Kind::kAbandoned : Kind::kUnreachable;
    return false;
  }

  bool is_stopping() const {
    pollfd fd{stop_fd_, POLLIN, 0};
    return poll(&fd, 1, 0) > 0;
  }

  // False: the connection was closed before a byte of the answer came.
  bool exchange(SteadyClock::time_point deadline, DeadlineStream::FirstWait first_wait, int64_t id,
                FetchResult& result) {
    DeadlineStream stream(connection_.get(), stop_fd_, deadline,
                          options_.most_body_bytes + kMostBytesAroundBody, first_wait);
    stream_ = &stream;
    status_ = 0;
    is_body_too_large_ = false;
    body_.clear();
    // Not earlier: waiting for a connection may take seconds, in which the object may change.
    result.checked_at = unix_now();
    httplib::Response response;
    auto error = httplib::Error::Success;
    bool complete = false;
    try {
      complete = process_request(stream, request_, response, false, error);
    } catch (const std::exception&) {
      // Whatever cpp-httplib cannot digest is a malformed answer.
    }
    stream_ = nullptr;
    judge(stream, response, complete, id, result);
    if (!complete || !may_be_kept(stream, response)) set_connection(FileDescriptor());
    if (body_.capacity() > kUsualBodyBytes) body_ = std::string();
    return stream.received_any() || (stream.end() != DeadlineStream::End::kClosed &&
                                     stream.end() != DeadlineStream::End::kBroken);
  }

  void judge(const DeadlineStream& stream, const httplib::Response& response, bool complete,
             int64_t id, FetchResult& result) {
    if (status_ != 0 && !is_success(status_)) {  // The body is of no interest.
      result.kind = kind_of_status(status_);
      result.reason = "answer " + std::to_string(status_);
      if (response.has_header("Retry-After")) {
        result.retry_after =
            parse_retry_after(response.get_header_value("Retry-After"), unix_now());
      }
      return;
    }
    if (!complete) {
      judge_end(stream, result);
      return;
    }
    result.kind = Kind::kRetryable;
    const auto online = answer_.read_online(body_, id, result.reason);
    if (!online) return;
    result.kind = Kind::kAnswered;
    result.online = *online;
    result.reason.clear();
  }

  void judge_end(const DeadlineStream& stream, FetchResult& result) {
    using End = DeadlineStream::End;
    const auto set = [&](Kind kind, std::string reason) {
      result.kind = kind;
      result.reason = std::move(reason);
    };
    if (is_stopping()) {  // Whatever the attempt came to while it was ended.
      set(Kind::kAbandoned, "stopped");
      return;
    }
    if (is_body_too_large_) {
      set(Kind::kRetryable,
          "the answer is larger than " + std::to_string(options_.most_body_bytes / 1024) + " KiB");
      return;
    }
    switch (stream.end()) {
      case End::kStopped:
        set(Kind::kAbandoned, "stopped");
        break;
      case End::kTimeout:
        set(Kind::kUnreachable, "no answer within " + format_duration(options_.attempt_timeout));
        break;
      case End::kClosed:
        set(Kind::kUnreachable, "the connection was closed before the end of the answer");
        break;
      case End::kBroken:
        set(Kind::kUnreachable,
            "the connection broke: " + std::generic_category().message(stream.error()));
        break;
      case End::kTooLarge:
        set(Kind::kRetryable, "the head of the answer is too large");
        break;
      case End::kNone:
        set(Kind::kRetryable, "the answer is malformed");
        break;
    }
  }

  // RFC 9112, section 9.3. Without a length the answer ends with the connection.
  static bool may_be_kept(const DeadlineStream& stream, const httplib::Response& response) {
    return stream.end() == DeadlineStream::End::kNone && stream.is_drained() &&
           response.version == "HTTP/1.1" &&
           !is_same_word(response.get_header_value("Connection"), "close");
  }

  const ObjectClient::Options options_;
  ServiceAddress& address_;
  const int stop_fd_;
  std::mutex mutex_;
  bool interrupted_ = false;   // Guarded by mutex_,
  FileDescriptor connection_;  // as is changing this.
  ObjectAnswer answer_;

  // Of the exchange under way.
  httplib::Request request_;
  DeadlineStream* stream_ = nullptr;
  int status_ = 0;
  bool is_body_too_large_ = false;
  std::string body_;
};

ObjectClient::ObjectClient(const Options& options, ServiceAddress& address, int stop_fd)
    : exchange_(std::make_unique<Exchange>(options, address, stop_fd)) {}

ObjectClient::~ObjectClient() = default;

FetchResult ObjectClient::fetch(int64_t id) { return exchange_->fetch(id); }

void ObjectClient::interrupt() { exchange_->interrupt(); }

}  // namespace postoffice
