#include "server/objects_handler.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "server/routes.h"

namespace postoffice {
namespace {

constexpr int64_t kDefaultLimit = 100;
constexpr int64_t kMostLimit = 1000;

struct Page {
  std::optional<bool> online;
  int64_t limit = kDefaultLimit;
  std::optional<int64_t> after;
};

std::string quoted(const std::string& text) {
  constexpr size_t kShownBytes = 40;
  return "\"" + (text.size() > kShownBytes ? text.substr(0, kShownBytes) + "..." : text) + "\"";
}

// Nothing when the parameter is right.
std::optional<std::string> read_parameter(const std::string& name, const std::string& value,
                                          Page& page) {
  if (name == "online") {
    if (value != "true" && value != "false") {
      return "online must be true or false, not " + quoted(value);
    }
    page.online = value == "true";
  } else if (name == "limit") {
    const auto limit = parse_integer<int64_t>(value);
    if (!limit || *limit < 1 || *limit > kMostLimit) {
      return "limit must be a whole number, 1 to " + std::to_string(kMostLimit) + ", not " +
             quoted(value);
    }
    page.limit = *limit;
  } else if (name == "after") {
    page.after = parse_integer<int64_t>(value);
    if (!page.after) return "after must be a 64-bit integer, not " + quoted(value);
  } else {
    return "unknown parameter " + quoted(name) + ": there are online, limit and after";
  }
  return std::nullopt;
}

// Every mistake, in one sentence; empty when there is none.
std::string read_parameters(const httplib::Params& parameters, Page& page) {
  std::string mistakes;
  const auto add = [&](const std::string& mistake) {
    mistakes += (mistakes.empty() ? "" : "; ") + mistake;
  };
  for (auto at = parameters.begin(); at != parameters.end();) {
    const auto& [name, value] = *at;
    const auto next = parameters.upper_bound(name);
    if (std::next(at) == next) {
      if (const auto mistake = read_parameter(name, value, page)) add(*mistake);
    } else {
      add(quoted(name) + " must be given once");
    }
    at = next;
  }
  return mistakes;
}

std::string to_json(const ObjectRow& row) {
  return "{\"id\":" + std::to_string(row.id) + ",\"online\":" + (row.online ? "true" : "false") +
         ",\"last_seen\":\"" + format_rfc3339(row.last_seen) + "\"}";
}

std::string to_json(const std::vector<ObjectRow>& rows, bool more) {
  std::string json = "{\"objects\":[";
  for (const auto& row : rows) {
    if (&row != &rows.front()) json += ",";
    json += to_json(row);
  }
  return json + "],\"next\":" + (more ? std::to_string(rows.back().id) : "null") + "}";
}

// Runs `read`, which uses the database, and answers 503 when that is away.
template <typename Read>
void answer_from_database(httplib::Response& response, Read read) {
  try {
    read();
  } catch (const Transient& error) {
    response.set_header("Retry-After", "1");
    answer_problem(response, 503, std::string("the database is away: ") + error.what());
  }
}

}  // namespace

ObjectsHandler::ObjectsHandler(Options options, const StoreFactory& stores)
    : options_(options), stores_(stores, options.stores) {}

void ObjectsHandler::add_routes(HttpServer& server) {
  auto& routes = server.routes();
  routes.Get("/objects", [this](const httplib::Request& request, httplib::Response& response) {
    list(request, response);
  });
  routes.Get("/objects/([^/]+)", [this](const httplib::Request& request,
                                        httplib::Response& response) { find(request, response); });
  refuse_other_methods(routes, "/objects", "GET");
  refuse_other_methods(routes, "/objects/([^/]+)", "GET");
}

void ObjectsHandler::list(const httplib::Request& request, httplib::Response& response) {
  Page page;
  const std::string mistakes = read_parameters(request.params, page);
  if (!mistakes.empty()) return answer_problem(response, 400, mistakes);
  answer_from_database(response, [&] {
    const auto limit = static_cast<size_t>(page.limit);
    // One more tells whether there is a next page.
    auto rows = stores_.lease(options_.wait)->list(page.online, page.after, limit + 1);
    const bool more = rows.size() > limit;
    if (more) rows.resize(limit);
    response.set_content(to_json(rows, more), "application/json");
  });
}

void ObjectsHandler::find(const httplib::Request& request, httplib::Response& response) {
  const std::string text = request.matches[1];
  const auto id = parse_integer<int64_t>(text);
  if (!id) return answer_problem(response, 400, quoted(text) + " must be a 64-bit integer");
  if (!request.params.empty()) {
    return answer_problem(response, 400, "/objects/{id} has no parameters");
  }
  answer_from_database(response, [&] {
    const auto row = stores_.lease(options_.wait)->find(*id);
    if (!row) return answer_problem(response, 404, "object " + text + " is not in the table");
    response.set_content(to_json(*row), "application/json");
  });
}

}  // namespace postoffice
