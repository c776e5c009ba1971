#include "tester/object_service.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/url.h"
#include "tester/object_id.h"

namespace postoffice::tester {
namespace {

constexpr std::string_view kObjects = "/objects/";
constexpr uint64_t kGarbageForms = 8;

HttpAnswer text_answer(int status, std::string text) {
  HttpAnswer answer;
  answer.status = status;
  answer.content_type = "text/plain; charset=utf-8";
  answer.body = std::move(text);
  return answer;
}

HttpAnswer method_not_allowed(std::string allowed) {
  HttpAnswer answer = text_answer(405, "this path takes " + allowed + "\n");
  answer.headers = "Allow: " + std::move(allowed) + "\r\n";
  return answer;
}

bool is_get(const HttpRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

std::string object_json(int64_t id, bool online) {
  std::string json = R"({"id":)" + std::to_string(id);
  json += online ? R"(,"online":true})" : R"(,"online":false})";
  return json;
}

}  // namespace

ObjectService::ObjectService(ObjectBehaviour behaviour, Sender sender)
    : behaviour_(std::move(behaviour)),
      sender_(std::move(sender)),
      random_(std::random_device{}()) {}

HttpAnswer ObjectService::answer(const HttpRequest& request) {
  const auto path = request.path.find('%') == std::string_view::npos ? std::string(request.path)
                                                                     : percent_decode(request.path);
  if (!path) return text_answer(400, "a % in the path must begin two hexadecimal digits\n");
  if (path->starts_with(kObjects)) return answer_object(request, path->substr(kObjects.size()));
  if (path == "/stats") return answer_stats(request);
  if (path == "/control") return answer_control(request);
  if (path == "/control/stop-sending") return answer_stop(request);
  return text_answer(404, "there are /objects/{id}, /stats, /control and /control/stop-sending\n");
}

void ObjectService::finished(const HttpAnswer& answer, bool delivered) {
  if (!answer.counts) return;
  --stats_.in_flight;
  if (!delivered) {
    ++stats_.abandoned;
  } else if (answer.delivery == HttpAnswer::Delivery::kReset) {
    ++stats_.refused;
  } else {
    ++stats_.by_status[answer.status];
  }
}

HttpAnswer ObjectService::answer_object(const HttpRequest& request,
                                        std::string_view id_as_written) {
  if (!is_get(request)) return method_not_allowed("GET, HEAD");
  const auto id = parse_object_id(id_as_written);
  HttpAnswer answer;
  if (id) {
    answer.body = object_json(*id, behaviour_.online(*id, unix_now()));
    const double probability = behaviour_.failure_probability(*id);
    if (probability > 0 && std::bernoulli_distribution(probability)(random_)) fail(*id, answer);
  } else {
    answer = text_answer(400, "invalid id\n");
  }
  const std::chrono::microseconds least = behaviour_.latency_min;
  const std::chrono::microseconds most = behaviour_.latency_max;
  answer.delay = std::chrono::microseconds(
      std::uniform_int_distribution<int64_t>(least.count(), most.count())(random_));
  answer.counts = true;
  stats_.most_at_once = std::max(stats_.most_at_once, ++stats_.in_flight);
  return answer;
}

void ObjectService::fail(int64_t id, HttpAnswer& answer) {
  switch (behaviour_.failure.kind) {
    case Failure::Kind::kStatus:
      answer = text_answer(behaviour_.failure.status, "this failure was asked for\n");
      if (answer.status == 429 || answer.status == 503) {
        answer.headers = "Retry-After: " + std::to_string(behaviour_.retry_after_seconds) + "\r\n";
      }
      break;
    case Failure::Kind::kHang:
      answer.delivery = HttpAnswer::Delivery::kHang;
      break;
    case Failure::Kind::kGarbage:
      set_garbage(id, answer);
      break;
    case Failure::Kind::kRefuse:
      answer.delivery = HttpAnswer::Delivery::kReset;
      break;
  }
}

// None of these answers the question, each for a reason of its own.
void ObjectService::set_garbage(int64_t id, HttpAnswer& answer) {
  const std::string as_text = std::to_string(id);
  switch (garbage_count_++ % kGarbageForms) {
    case 0:
      answer.body = "<html><body>It works!</body></html>";
      break;
    case 1:
      answer.body = object_json(id ^ 1, id % 2 != 0);  // Another object's.
      break;
    case 2:
      answer.body.resize(answer.body.size() / 2);
      break;
    case 3:
      answer.body = R"({"id":)" + as_text + R"(,"online":"yes"})";
      break;
    case 4:
      answer.body = R"({"id":)" + as_text + "}";
      break;
    case 5:
      answer.body.clear();
      break;
    case 6:
      answer.body = R"([")" + as_text + R"(",true])";
      break;
    default:
      answer.body = "\x16\x03\x01 this is no HTTP\r\n\r\n";
      answer.delivery = HttpAnswer::Delivery::kRaw;
      break;
  }
}

HttpAnswer ObjectService::answer_control(const HttpRequest& request) {
  if (is_get(request)) return control_state();
  if (request.method != "PUT") return method_not_allowed("GET, HEAD, PUT");
  ObjectBehaviour changed = behaviour_;
  std::vector<std::string> mistakes;
  // The body is where curl -d puts them.
  const std::string query = std::string(request.query) + "&" + std::string(request.body);
  apply_query(query, changed, mistakes);
  if (!mistakes.empty()) {
    std::string text;
    for (const auto& mistake : mistakes) text += mistake + "\n";
    return text_answer(400, std::move(text));
  }
  behaviour_ = std::move(changed);
  return control_state();
}

HttpAnswer ObjectService::answer_stop(const HttpRequest& request) {
  if (request.method != "POST") return method_not_allowed("POST");
  sender_.stop();
  return control_state();
}

HttpAnswer ObjectService::answer_stats(const HttpRequest& request) const {
  if (!is_get(request)) return method_not_allowed("GET, HEAD");
  HttpAnswer answer;
  answer.body = stats_json(sender_.stats(), stats_) + "\n";
  return answer;
}

HttpAnswer ObjectService::control_state() const {
  const nlohmann::ordered_json failure_rate =
      behaviour_.failure_rate ? nlohmann::ordered_json(*behaviour_.failure_rate) : nullptr;
  const nlohmann::ordered_json state = {{"latency_min", format_duration(behaviour_.latency_min)},
                                        {"latency_max", format_duration(behaviour_.latency_max)},
                                        {"failure_rate", failure_rate},
                                        {"failure_kind", behaviour_.failure.text()},
                                        {"fail_ids", behaviour_.fail_ids},
                                        {"retry_after", behaviour_.retry_after_seconds},
                                        {"flip_every", format_duration(behaviour_.flip_every)},
                                        {"sending", sender_.sending()}};
  HttpAnswer answer;
  answer.body = state.dump() + "\n";
  return answer;
}

}  // namespace postoffice::tester
