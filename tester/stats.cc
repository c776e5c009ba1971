#include "tester/stats.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace postoffice::tester {
namespace {

using Json = nlohmann::ordered_json;

std::string status_name(int status) { return status == 0 ? "unanswered" : std::to_string(status); }

Json by_status_json(const std::map<int, uint64_t>& by_status) {
  Json json = Json::object();
  for (const auto& [status, count] : by_status) json[status_name(status)] = count;
  return json;
}

std::string by_status_text(const std::map<int, uint64_t>& by_status) {
  std::string text;
  for (const auto& [status, count] : by_status) {
    text += (text.empty() ? "" : ", ") + status_name(status) + ": " + std::to_string(count);
  }
  return text.empty() ? "none" : text;
}

std::string millis_text(std::chrono::microseconds time) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f ms", static_cast<double>(time.count()) / 1000);
  return text.data();
}

uint64_t total(const std::map<int, uint64_t>& by_status) {
  uint64_t sum = 0;
  for (const auto& [status, count] : by_status) sum += count;
  return sum;
}

}  // namespace

std::string stats_json(const CallbackStats& callbacks, const ObjectStats& objects) {
  const Json json = {{"callbacks",
                      {{"sent", callbacks.sent},
                       {"by_status", by_status_json(callbacks.by_status)},
                       {"ids", callbacks.ids},
                       {"skipped", callbacks.skipped},
                       {"latency_p50_us", callbacks.latency_p50.count()},
                       {"latency_p99_us", callbacks.latency_p99.count()},
                       {"latency_max_us", callbacks.latency_max.count()}}},
                     {"objects",
                      {{"answered", total(objects.by_status)},
                       {"by_status", by_status_json(objects.by_status)},
                       {"refused", objects.refused},
                       {"abandoned", objects.abandoned},
                       {"in_flight", objects.in_flight},
                       {"most_at_once", objects.most_at_once}}}};
  return json.dump();
}

std::string summary(const CallbackStats& callbacks, const ObjectStats& objects) {
  std::string text = "callbacks sent: " + std::to_string(callbacks.sent) + " (" +
                     by_status_text(callbacks.by_status) + "), " + std::to_string(callbacks.ids) +
                     " ids\n";
  if (callbacks.sent != 0) {
    text += "callback latency: p50 " + millis_text(callbacks.latency_p50) + ", p99 " +
            millis_text(callbacks.latency_p99) + ", max " + millis_text(callbacks.latency_max) +
            "\n";
  }
  if (callbacks.skipped != 0) {
    text += "callbacks skipped, every connection being busy when they were due: " +
            std::to_string(callbacks.skipped) + "\n";
  }
  text += "object requests answered: " + std::to_string(total(objects.by_status)) + " (" +
          by_status_text(objects.by_status) + "), refused: " + std::to_string(objects.refused) +
          ", abandoned: " + std::to_string(objects.abandoned) + "\n";
  text += "most object requests at once: " + std::to_string(objects.most_at_once) + "\n";
  return text;
}

}  // namespace postoffice::tester
