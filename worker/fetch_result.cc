#include "worker/fetch_result.h"

namespace postoffice {

const char* name_of(const FetchResult& result) {
  switch (result.kind) {
    case FetchResult::Kind::kAnswered:
      return result.online ? "online" : "offline";
    case FetchResult::Kind::kGone:
      return "gone";
    case FetchResult::Kind::kUnreachable:
      return "unreachable";
    case FetchResult::Kind::kRetryable:
      return "retryable";
    case FetchResult::Kind::kUnauthorised:
      return "unauthorised";
    case FetchResult::Kind::kRejected:
      return "rejected";
    case FetchResult::Kind::kAbandoned:
      break;
  }
  return "abandoned";
}

}  // namespace postoffice
