// Plain cpp-httplib with nothing behind it: what its HTTP alone costs.
//
//   httplib_server PORT

#include <httplib.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstdlib>
#include <limits>

namespace {

constexpr size_t kThreads = 64;
constexpr time_t kKeepAliveSeconds = 60;

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: httplib_server PORT\n");
    return 2;
  }
  httplib::Server server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_keep_alive_max_count(std::numeric_limits<size_t>::max());
  server.set_keep_alive_timeout(kKeepAliveSeconds);
  server.set_tcp_nodelay(true);
  server.Post("/callback", [](const httplib::Request&, httplib::Response& response) {
    response.status = 202;
    response.set_content("{\"accepted\":20}", "application/json");
  });
  return server.listen("127.0.0.1", std::atoi(argv[1])) ? 0 : 1;
}
