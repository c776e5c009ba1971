#include "server/routes.h"

#include "base/http_server.h"

namespace postoffice {

void refuse_other_methods(httplib::Server& routes, const std::string& pattern,
                          const std::string& allowed) {
  const httplib::Server::Handler refuse = [allowed](const httplib::Request& request,
                                                    httplib::Response& response) {
    response.set_header("Allow", allowed);
    answer_problem(response, 405, request.path + " takes " + allowed + ", not " + request.method);
  };
  const auto is_allowed = [&](const char* method) {
    return allowed.find(method) != std::string::npos;
  };
  if (!is_allowed("GET")) routes.Get(pattern, refuse);
  if (!is_allowed("POST")) routes.Post(pattern, refuse);
  if (!is_allowed("PUT")) routes.Put(pattern, refuse);
  if (!is_allowed("PATCH")) routes.Patch(pattern, refuse);
  if (!is_allowed("DELETE")) routes.Delete(pattern, refuse);
  if (!is_allowed("OPTIONS")) routes.Options(pattern, refuse);
}

}  // namespace postoffice
