#include <spdlog/spdlog.h>

#include <iostream>
#include <memory>

#include "base/error.h"
#include "base/log.h"
#include "base/open_files.h"
#include "base/signals.h"
#include "base/wakeup.h"
#include "tester/answer_loop.h"
#include "tester/object_service.h"
#include "tester/options.h"
#include "tester/sender.h"

namespace postoffice::tester {
namespace {

constexpr int kExitBadConfig = 2;

constexpr const char* kUsage =
    "usage: tester_server [settings]\n"
    "Sends callbacks to Postoffice and is the object service that Postoffice asks.\n"
    "\nSettings, each a flag or an environment variable (a flag wins):\n";

std::string sending_text(const Options& options) {
  if (options.count == 0) return "sending no callbacks";
  std::string text = options.count ? std::to_string(*options.count) + " callbacks" : "callbacks";
  text += " to " + mask_passwords(options.callback_url);
  if (options.burst) {
    text += " as fast as they are taken";
  } else if (options.rate) {
    text += fmt::format(", {} a second", *options.rate);
  } else {
    text += ", every " + format_duration(options.interval);
  }
  const auto& [least, most] = options.ids_per_callback;
  text += ", " + std::to_string(least) + (least == most ? "" : " to " + std::to_string(most)) +
          " " + options.id_mode + " ids out of " + std::to_string(options.id_space);
  return text;
}

int run(const Options& options, Signals& signals) {
  const auto sent_log =
      options.sent_log.empty() ? nullptr : std::make_unique<SentLog>(options.sent_log);
  CallbackIds ids(
      options.id_mode == "random" ? CallbackIds::Mode::kRandom : CallbackIds::Mode::kSequential,
      options.id_space, options.ids_per_callback);
  Schedule schedule(options.period(), options.count);
  const Wakeup done;
  Sender sender({.url = options.callback(),
                 .connections = options.sender_connections(),
                 .timeout = options.timeout,
                 .resend = options.resend},
                schedule, ids, sent_log.get(), [&] {
                  if (options.exit_when_done) done.ring();
                });
  ObjectService service(options.behaviour, {.stop = [&] { sender.stop_sending(); },
                                            .sending = [&] { return sender.sending(); },
                                            .stats = [&] { return sender.stats(); }});
  AnswerLoop objects(options.objects_host, options.objects_port, service);

  spdlog::info("objects on http://{}:{}/objects; {}", options.objects_host, objects.port(),
               sending_text(options));
  objects.start();
  sender.start();
  signals.wait(done.fd());
  sender.stop();
  objects.stop();

  if (options.summary) std::cout << summary(sender.stats(), service.stats()) << std::flush;
  return sent_log == nullptr || sent_log->complete() ? 0 : 1;
}

int run_command_line(const std::vector<std::string>& arguments) {
  try {
    for (const auto& argument : arguments) {
      if (argument != "--help" && argument != "-h") continue;
      Options options;
      std::cout << kUsage << tester_settings(options).help();
      return 0;
    }
    const Options options = read_options({.arguments = arguments,
                                          .environment = process_environment(),
                                          .env_file = {},
                                          .foreign_env_names = {}});
    set_up_log("info");
    Signals signals;
    raise_open_files();
    return run(options, signals);
  } catch (const BadConfig& error) {
    for (const auto& mistake : error.mistakes()) std::cerr << "tester_server: " << mistake << "\n";
    return kExitBadConfig;
  } catch (const std::exception& error) {
    spdlog::critical("{}", error.what());
    return 1;
  }
}

}  // namespace
}  // namespace postoffice::tester

int main(int argc, char** argv) {
  return postoffice::tester::run_command_line(
      std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
