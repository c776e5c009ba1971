#pragma once

#include <httplib.h>

#include "base/http_server.h"
#include "base/time.h"
#include "server/store_pool.h"
#include "store/store.h"

namespace postoffice {

// The table of objects, read only:
//
// | GET /objects?online=&limit=&after= | {"objects":[...],"next":<id or null>}, by id |
// | GET /objects/{id} | one object, or 404 |
//
// Parameters that are unknown, repeated or malformed are refused, all of them at once. While the
// database is away the answer is 503 with Retry-After.
class ObjectsHandler {
 public:
  struct Options {
    size_t stores = 4;  // Requests that read the database at once; the rest wait.
    Millis wait{2000};  // For one of them.
  };

  ObjectsHandler(Options options, const StoreFactory& stores);

  // The handler outlives the server.
  void add_routes(HttpServer& server);

 private:
  void list(const httplib::Request& request, httplib::Response& response);
  void find(const httplib::Request& request, httplib::Response& response);

  const Options options_;
  StorePool stores_;
};

}  // namespace postoffice
