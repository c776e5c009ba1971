#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "server/callback_handler.h"
#include "tests/base/raw_connection.h"
#include "tests/broker/memory_outbox.h"
#include "tests/broker/scripted_publisher.h"

namespace postoffice {

// Two servers that take callbacks, one of them without the direct way, and a broker that confirms
// everything.
class CallbackServers {
 public:
  CallbackServers() {
    publisher_.set_script(ScriptedPublisher::always(PublishOutcome::kConfirmed));
    intake_.start();
    direct_.handler.add_routes(direct_.server);
    routed_.handler.add_routes(routed_.server);
    direct_.server.start();
    routed_.server.start();
  }
  ~CallbackServers() { intake_.stop(); }
  CallbackServers(const CallbackServers&) = delete;
  CallbackServers& operator=(const CallbackServers&) = delete;

  // Status and body of every answer, in order, to these bytes and the end of sending after them.
  // They are sent in two pieces, the first of which has `split` bytes.
  std::vector<std::string> answers(bool direct, std::string_view bytes, size_t split = 0) const {
    RawConnection connection((direct ? direct_ : routed_).server.port());
    split = std::min(split, bytes.size());
    if (split > 0) {
      connection.send(bytes.substr(0, split));
      std::this_thread::sleep_for(std::chrono::microseconds(50));  // So that it is read by itself.
    }
    connection.send(bytes.substr(split));
    connection.finish_sending();
    std::vector<std::string> answers;
    while (const auto answer = connection.receive()) {
      if (answer->status == 100) continue;  // Depends on what had arrived.
      answers.push_back(std::to_string(answer->status) + " " + answer->body);
    }
    connection.reset_at_end();
    return answers;
  }

 private:
  struct OneServer {
    OneServer(bool direct, Intake& intake, Metrics& metrics)
        : handler({.max_ids = 300, .direct = direct}, intake, metrics),
          server(HttpServer::Options{.threads = 2, .max_body_bytes = 20'000}) {}

    CallbackHandler handler;
    HttpServer server;
  };

  Metrics metrics_;
  ScriptedPublisher publisher_;
  MemoryOutbox outbox_;
  Intake intake_{{.deadline = Millis(5000)}, publisher_, outbox_, metrics_};
  OneServer direct_{true, intake_, metrics_};
  OneServer routed_{false, intake_, metrics_};
};

}  // namespace postoffice
