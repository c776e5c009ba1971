// Whole connections to a broker in this process. Whatever clients send, it neither crashes nor
// hangs, answers with frames that can be read, and takes the next client.

#include <spdlog/spdlog.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "broker/embedded/broker.h"
#include "tests/fuzz/client.h"
#include "tests/fuzz/input.h"

// NOLINTBEGIN(readability-identifier-naming): libFuzzer's.
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace postoffice::fuzz {
namespace {

constexpr uint32_t kFrameMax = 131'072;
constexpr uint32_t kLeastFrameMax = 4096;

// A broker whose memory and segments are so small that it reads messages from disk and drops
// segments. It keeps its folder until it is emptied.
class FuzzedBroker {
 public:
  FuzzedBroker() {
    spdlog::set_level(spdlog::level::off);
    std::string folder =
        (std::filesystem::temp_directory_path() / "postoffice-fuzz.XXXXXX").string();
    if (mkdtemp(folder.data()) == nullptr) std::abort();
    options_.folder = folder;
    options_.port = 0;
    options_.addresses = {"127.0.0.1"};
    options_.free_bytes = [] { return uint64_t{1} << 40U; };
    options_.memory_bytes = 1 << 10;
    options_.segment_bytes = 64 << 10;
    start();
  }
  ~FuzzedBroker() {
    broker_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(options_.folder, ignored);
  }
  FuzzedBroker(const FuzzedBroker&) = delete;
  FuzzedBroker& operator=(const FuzzedBroker&) = delete;

  void restart() {
    broker_.reset();
    start();
  }
  void restart_empty() {
    broker_.reset();
    std::filesystem::remove_all(options_.folder);
    start();
  }
  uint16_t port() const { return broker_->port(); }
  void require_answer() const {
    Client client(port());
    client.open(true, kFrameMax);
    client.finish();
  }

 private:
  void start() {
    metrics_ = std::make_unique<Metrics>();
    broker_ = std::make_unique<embedded::Broker>(options_, *metrics_);
    broker_->start();
  }

  embedded::Broker::Options options_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<embedded::Broker> broker_;
};

// The two clients of an input.
class Clients {
 public:
  Clients(const Input& input, uint16_t port) : options_(input.options), port_(port) {}

  void run(const Part& part) {
    auto& client = clients_[part.client()];
    if (client == nullptr) client = connect();
    if (part.settles()) client->settle();
    switch (part.action()) {
      case Action::kFrame:
        client->send_frame(part.type(), part.channel(), part.content);
        break;
      case Action::kBytes:
        client->has_sent_bytes();
        client->send(part.content);
        break;
      case Action::kReconnect:
        client->finish();
        client = connect();
        break;
      case Action::kOddFrame:
        if (part.content.size() >= 3) {
          const auto channel =
              static_cast<uint8_t>(part.content[1]) << 8 | static_cast<uint8_t>(part.content[2]);
          client->send_frame(static_cast<uint8_t>(part.content[0]), static_cast<uint16_t>(channel),
                             std::string_view(part.content).substr(3));
        }
        break;
    }
  }

  void finish() {
    for (const auto& client : clients_) {
      if (client == nullptr) continue;
      client->settle();
      client->finish();
    }
  }

 private:
  std::unique_ptr<Client> connect() const {
    auto client = std::make_unique<Client>(port_);
    if ((options_ & Input::kNoHandshake) == 0) {
      const bool small = (options_ & Input::kSmallFrames) != 0;
      client->open((options_ & Input::kNoCapabilities) == 0, small ? kLeastFrameMax : kFrameMax);
    }
    return client;
  }

  const uint8_t options_;
  const uint16_t port_;
  std::unique_ptr<Client> clients_[2];
};

size_t copy(const std::string& from, uint8_t* to, size_t max_size) {
  const size_t size = std::min(from.size(), max_size);
  from.copy(reinterpret_cast<char*>(to), size);
  return size;
}

std::string_view view(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace
}  // namespace postoffice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace postoffice::fuzz;  // NOLINT(google-build-using-namespace)
  static FuzzedBroker broker;
  const auto input = Input::read(view(data, size));
  Clients clients(input, broker.port());
  for (const auto& part : input.parts) clients.run(part);
  clients.finish();
  broker.require_answer();
  if ((input.options & Input::kRestarts) != 0) {
    broker.restart();
    broker.require_answer();
  }
  broker.restart_empty();  // What an input does depends on no other.
  return 0;
}

// Half of the time one part is changed, otherwise their order.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned int seed) {
  using namespace postoffice::fuzz;  // NOLINT(google-build-using-namespace)
  std::minstd_rand random(seed);
  auto input = Input::read(view(data, size));
  auto& parts = input.parts;
  if (parts.empty() || random() % 16 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const auto any = [&] { return parts.begin() + static_cast<ptrdiff_t>(random() % parts.size()); };
  const auto part = any();
  switch (random() % 10) {
    case 0:
      parts.erase(part);
      break;
    case 1: {
      const Part copy = *part;
      parts.insert(any(), copy);
      break;
    }
    case 2:
      std::iter_swap(part, any());
      break;
    case 3:
      part->head ^= static_cast<uint8_t>(1U << random() % 8);
      break;
    case 4:
      part->head ^= Part::kSettles;
      break;
    default: {
      const size_t room = max_size > size ? max_size - size : 0;
      std::string content = part->content;
      content.resize(content.size() + room);
      const size_t changed = LLVMFuzzerMutate(reinterpret_cast<uint8_t*>(content.data()),
                                              part->content.size(), content.size());
      content.resize(changed);
      part->content = std::move(content);
    }
  }
  return copy(input.write(), data, max_size);
}

// Parts of the second input, in the order they have there, anywhere in the first.
extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* first, size_t first_size,
                                            const uint8_t* second, size_t second_size, uint8_t* out,
                                            size_t max_size, unsigned int seed) {
  using namespace postoffice::fuzz;  // NOLINT(google-build-using-namespace)
  std::minstd_rand random(seed);
  auto input = Input::read(view(first, first_size));
  const auto other = Input::read(view(second, second_size));
  if (other.parts.empty()) return copy(input.write(), out, max_size);
  const size_t from = random() % other.parts.size();
  const size_t count = 1 + random() % (other.parts.size() - from);
  const auto begin = other.parts.begin() + static_cast<ptrdiff_t>(from);
  const size_t at = random() % (input.parts.size() + 1);
  input.parts.insert(input.parts.begin() + static_cast<ptrdiff_t>(at), begin,
                     begin + static_cast<ptrdiff_t>(count));
  return copy(input.write(), out, max_size);
}
// NOLINTEND(readability-identifier-naming)
