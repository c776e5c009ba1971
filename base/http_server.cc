#include "base/http_server.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include "base/http_problem.h"
#include "base/http_routes.h"
#include "base/listening_socket.h"
#include "base/thread.h"

namespace postoffice {
namespace {

// Files kept for everything that is no client: log, broker, database, outbox.
constexpr rlim_t kOtherFiles = 128;
constexpr rlim_t kMostConnections = 1'000'000;
// cpp-httplib matches paths with std::regex, which recurses for each character: 8 KB of them
// overflow 2 MiB, what threads get with `ulimit -s 2048`, with `unlimited`, and on other systems.
constexpr size_t kStackBytes = 16 << 20;

size_t max_connections(const HttpServer::Options& options) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const rlim_t most =
      std::min(std::max(files.rlim_cur - std::min(kOtherFiles, files.rlim_cur), files.rlim_cur / 2),
               kMostConnections);
  return options.max_connections == 0 ? most : std::min(options.max_connections, most);
}

size_t max_connections_per_address(const HttpServer::Options& options) {
  if (options.max_connections_per_address > 0) return options.max_connections_per_address;
  const size_t all = max_connections(options);
  return all - all / 4;
}

}  // namespace

void answer_problem(httplib::Response& response, int status, const std::string& detail) {
  response.status = status;
  response.set_content(problem_json(status, detail), kProblemType);
}

// The event loop and the threads that answer.
class HttpServer::Listener {
 public:
  Listener(Options options, HttpRoutes& routes) : options_(std::move(options)), routes_(routes) {}

  void start(HttpDirect* direct) {
    auto sockets = listen_on({.host = options_.host,
                              .port = options_.port,
                              .host_setting = options_.host_setting,
                              .port_setting = options_.port_setting});
    port_ = bound_port(sockets.front());
    loop_ = std::make_unique<HttpLoop>(
        HttpLoop::Options{
            .max_body_bytes = options_.max_body_bytes,
            .max_body_setting = options_.max_body_setting,
            .max_connections = max_connections(options_),
            .max_connections_per_address = max_connections_per_address(options_),
            .max_connections_per_address_setting = options_.max_connections_per_address_setting,
            .max_buffered_bytes = options_.max_buffered_bytes,
            .read_timeout = options_.read_timeout,
            .body_timeout = options_.body_timeout,
            .keep_alive_timeout = options_.keep_alive_timeout},
        std::move(sockets), [this](HttpConnection& connection) { enqueue(connection); }, direct);
    add_thread();
    loop_->start();
  }

  void stop(SteadyClock::time_point deadline) {
    if (loop_ == nullptr) return;
    routes_.closing = true;
    loop_->stop(deadline);
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    waiting_changed_.notify_all();
    pool_.clear();  // Joins.
  }

  uint16_t port() const { return port_; }
  void post(std::function<void()> task) { loop_->post(std::move(task)); }
  void answer_direct(HttpConnection& connection, const HttpAnswer& answer) {
    const bool close = routes_.closing;
    loop_->answer_direct(connection, answer.text(close), close);
  }

 private:
  // Bounded by the number of connections: each has one request at a time. Threads are started when
  // they are needed for the first time: one that never was costs memory.
  void enqueue(HttpConnection& connection) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(&connection);
      if (waiting_.size() > idle_ && pool_.size() < options_.threads) try_add_thread();
    }
    waiting_changed_.notify_one();
  }

  void add_thread() {
    pool_.emplace_back(
        "http-" + std::to_string(pool_.size()), [this] { answer_requests(); }, kStackBytes);
  }

  // Those that are there go on without it.
  void try_add_thread() {
    try {
      add_thread();
    } catch (const std::system_error& error) {
      spdlog::warn("HTTP: {} threads, no more can be started: {}", pool_.size(), error.what());
    }
  }

  void answer_requests() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      waiting_changed_.wait(lock, [this] { return stopped_ || !waiting_.empty(); });
      --idle_;
      if (stopped_) return;
      HttpConnection& connection = *waiting_.front();
      waiting_.pop_front();
      lock.unlock();
      answer(connection);
      lock.lock();
    }
  }

  void answer(HttpConnection& connection) {
    const bool close = !connection.keep_alive() || routes_.closing;
    try {
      std::string answer = routes_.answer(connection, close);
      const bool none = answer.empty();
      loop_->answer(connection, std::move(answer), close || none || routes_.closing);
    } catch (const std::exception& error) {  // cpp-httplib throws outside of handlers, e.g. for
                                             // numbers in headers that are out of range.
      spdlog::warn("HTTP request from {}: {}", connection.remote_ip(), error.what());
      loop_->answer(connection,
                    HttpAnswer::problem(400, "the headers of the request cannot be understood")
                        .text(/*close=*/true),
                    /*close=*/true);
    }
  }

  const Options options_;
  HttpRoutes& routes_;
  uint16_t port_ = 0;
  std::unique_ptr<HttpLoop> loop_;

  std::mutex mutex_;
  std::condition_variable waiting_changed_;
  std::deque<HttpConnection*> waiting_;  // Guarded by mutex_.
  size_t idle_ = 0;                      // Threads that wait; guarded by mutex_.
  bool stopped_ = false;                 // Guarded by mutex_.

  std::vector<Thread> pool_;  // Guarded by mutex_ while loop_ runs.
};

HttpServer::HttpServer(Options options)
    : routes_(std::make_unique<HttpRoutes>(options.max_body_bytes)),
      listener_(std::make_unique<Listener>(std::move(options), *routes_)) {}

HttpServer::~HttpServer() { stop(SteadyClock::now()); }

httplib::Server& HttpServer::routes() { return *routes_; }

void HttpServer::set_direct(HttpDirect& direct) { direct_ = &direct; }

void HttpServer::start() { listener_->start(direct_); }

void HttpServer::post(std::function<void()> task) { listener_->post(std::move(task)); }

void HttpServer::answer_direct(HttpConnection& connection, const HttpAnswer& answer) {
  listener_->answer_direct(connection, answer);
}

void HttpServer::stop(SteadyClock::time_point deadline) { listener_->stop(deadline); }

SteadyClock::time_point HttpServer::request_arrived_at() {
  return HttpRoutes::request_arrived_at();
}

uint16_t HttpServer::port() const { return listener_->port(); }

}  // namespace postoffice
