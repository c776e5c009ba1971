#include "bench/load/amqp_load.h"

#include <sys/epoll.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <stdexcept>

#include "base/file_descriptor.h"
#include "bench/load/amqp_connection.h"
#include "bench/load/frame_socket.h"
#include "bench/load/thread_cpu.h"

namespace postoffice::bench {
namespace {

using embedded::Frame;
using embedded::MethodWriter;
using embedded::WireReader;

constexpr uint16_t kChannel = 1;
constexpr size_t kRepeatedBytes = 128 << 10;
// Room for what is in flight at a rate.
constexpr uint32_t kMostInFlight = 1 << 20;
// At a rate, what is due within one tick is sent together; a consumer acknowledges at least so
// often.
constexpr Micros kTick{1000};
constexpr auto kSilence = std::chrono::seconds(30);

uint32_t method_of(const Frame& frame) {
  return frame.type == embedded::kMethodFrame ? WireReader(frame.payload).u32() : 0;
}

[[noreturn]] void refuse(const Frame& frame) {
  const uint32_t method = method_of(frame);
  throw std::runtime_error("the broker sent method " + std::to_string(method >> 16) + "." +
                           std::to_string(method & 0xffff));
}

// Publishes one message over and over: bytes of many copies are sent, wherever they are cut.
class Publisher {
 public:
  Publisher(const LoadOptions& options, uint32_t window)
      : connection_(options.port),
        socket_(prepared()),
        window_(window),
        // More than are in flight, since they may be confirmed in any order.
        slots_(std::bit_ceil(options.rate > 0 ? kMostInFlight : 4 * window)) {
    std::string message;
    MethodWriter(message, kChannel, AMQP_BASIC_PUBLISH_METHOD)
        ->u16(0)
        .short_string("")
        .short_string(options.queue)
        .octet(0);
    const std::string persistent = {char(AMQP_BASIC_DELIVERY_MODE_FLAG >> 8),
                                    char(AMQP_BASIC_DELIVERY_MODE_FLAG & 0xff), 2};
    embedded::write_content(message, kChannel, 131'072, persistent,
                            std::string(options.body_bytes, 'x'));
    message_bytes_ = message.size();
    while (repeated_.size() < kRepeatedBytes) repeated_ += message;
  }

  bool is_watched = false;  // Until the socket takes more.

  FrameSocket& socket() { return socket_; }
  bool is_blocked() const { return sent_bytes_ < taken_ * message_bytes_; }
  uint64_t taken() const { return taken_; }
  uint64_t confirmed() const { return confirmed_; }
  uint64_t unsettled() const { return taken_ - confirmed_; }
  uint64_t room() const {
    return std::min(window_ - unsettled(), slots_.size() - (taken_ - first_));
  }

  // `count` more messages, sent, or due, at `time`.
  void publish(uint64_t count, Micros time) {
    if (taken_ + count - first_ > slots_.size()) {
      throw std::runtime_error("the broker does not keep up with the rate");
    }
    for (uint64_t i = 0; i < count; ++i) {
      slot(taken_++) = {static_cast<uint32_t>(time.count()), false};
    }
    send();
  }

  void send() {
    const uint64_t end = taken_ * message_bytes_;
    while (sent_bytes_ < end) {
      const size_t offset = sent_bytes_ % message_bytes_;
      const auto most = std::min<uint64_t>(end - sent_bytes_, repeated_.size() - offset);
      const size_t sent = socket_.send({repeated_.data() + offset, most});
      sent_bytes_ += sent;
      if (sent < most) return;
    }
  }

  // Calls `confirmed(latency_us)` for each message that is.
  template <typename Confirmed>
  void read(const Confirmed& confirmed, Micros now) {
    socket_.read([&](const Frame& frame) {
      if (frame.type == embedded::kHeartbeatFrame) return;
      if (method_of(frame) != AMQP_BASIC_ACK_METHOD) refuse(frame);
      WireReader reader(frame.payload.substr(4));
      const uint64_t tag = reader.u64();
      const bool multiple = (reader.octet() & 1) != 0;
      // Tags count from 1, slots from 0.
      for (uint64_t each = multiple ? first_ : tag - 1; each < tag; ++each) {
        auto& settled = slot(each);
        if (settled.is_settled) continue;
        settled.is_settled = true;
        ++confirmed_;
        confirmed(static_cast<uint32_t>(now.count()) - settled.time_us);
      }
      while (first_ < taken_ && slot(first_).is_settled) ++first_;
    });
  }

 private:
  struct Slot {
    uint32_t time_us = 0;
    bool is_settled = false;
  };

  Slot& slot(uint64_t message) { return slots_[message & (slots_.size() - 1)]; }

  int prepared() {
    connection_.select_confirms();
    return connection_.take_socket();
  }

  AmqpConnection connection_;
  FrameSocket socket_;
  const uint64_t window_;
  std::vector<Slot> slots_;  // Message n is at n modulo its size, a power of two.
  std::string repeated_;
  size_t message_bytes_ = 0;
  uint64_t sent_bytes_ = 0;
  uint64_t taken_ = 0;
  uint64_t first_ = 0;  // The first that is not settled.
  uint64_t confirmed_ = 0;
};

// Acknowledges many at once, as good clients do.
class Consumer {
 public:
  explicit Consumer(const LoadOptions& options)
      : connection_(options.port),
        socket_(prepared(options.prefetch)),
        acknowledge_at_(std::max(1, options.prefetch / 10)) {
    constexpr uint8_t kNoWait = 8;
    MethodWriter writer(output_, kChannel, AMQP_BASIC_CONSUME_METHOD);
    writer->u16(0).short_string(options.queue).short_string("bench").octet(kNoWait).u32(0);
  }

  FrameSocket& socket() { return socket_; }
  bool is_blocked() const { return !output_.empty(); }
  uint64_t acknowledged() const { return acknowledged_; }

  void read() {
    socket_.read([this](const Frame& frame) {
      if (frame.type != embedded::kMethodFrame) return;
      if (method_of(frame) != AMQP_BASIC_DELIVER_METHOD) refuse(frame);
      WireReader reader(frame.payload.substr(4));
      reader.short_string();
      tag_ = reader.u64();
      if (tag_ - acknowledged_ >= acknowledge_at_) acknowledge();
    });
    send();
  }

  void acknowledge() {
    if (tag_ == acknowledged_) return;
    MethodWriter(output_, kChannel, AMQP_BASIC_ACK_METHOD)->u64(tag_).octet(1);
    acknowledged_ = tag_;
  }

  void send() { output_.erase(0, output_.empty() ? 0 : socket_.send(output_)); }

 private:
  int prepared(uint16_t prefetch) {
    connection_.set_prefetch(prefetch);
    return connection_.take_socket();
  }

  AmqpConnection connection_;
  FrameSocket socket_;
  const uint64_t acknowledge_at_;
  std::string output_;
  uint64_t tag_ = 0;
  uint64_t acknowledged_ = 0;
};

class Poller {
 public:
  // `id` is even for a publisher, odd for a consumer.
  void add(int fd, uint64_t id) { control(EPOLL_CTL_ADD, fd, id, EPOLLIN); }
  void watch(int fd, uint64_t id, bool blocked) {
    control(EPOLL_CTL_MOD, fd, id, blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
  }
  template <typename Ready>
  void wait(Micros timeout, const Ready& ready) {
    epoll_event events[64];
    const timespec time{0, timeout.count() * 1000};
    const int count = epoll_pwait2(fd_.get(), events, std::size(events), &time, nullptr);
    for (int i = 0; i < count; ++i) ready(events[i].data.u64);
  }

 private:
  void control(int operation, int fd, uint64_t id, uint32_t what) const {
    epoll_event event{};
    event.events = what;
    event.data.u64 = id;
    epoll_ctl(fd_.get(), operation, fd, &event);
  }

  FileDescriptor fd_{epoll_create1(EPOLL_CLOEXEC)};
};

class Load {
 public:
  explicit Load(const LoadOptions& options) : options_(options) {
    const uint32_t window = std::max(1U, options.in_flight / options.connections);
    for (uint32_t i = 0; i < options.connections; ++i) {
      publishers_.push_back(std::make_unique<Publisher>(options, window));
      poller_.add(publishers_.back()->socket().fd(), 2 * i);
      if (!options.consume) continue;
      consumers_.push_back(std::make_unique<Consumer>(options));
      poller_.add(consumers_.back()->socket().fd(), 2 * i + 1);
      consumers_.back()->send();
    }
    if (options.messages == 0 && options.rate == 0) latencies_.reserve(8 << 20);
    began_ = Clock::now();
  }

  LoadResult run() {
    const Micros warm_up = options_.messages > 0 ? Micros(0) : Micros(options_.warm_up);
    while (now() < warm_up) turn(true);
    measuring_ = true;
    const uint64_t confirmed = this->confirmed();
    const uint64_t acknowledged = this->acknowledged();
    const Micros cpu = thread_cpu();
    const Micros from = now();
    while (goes_on(from)) turn(true);
    measuring_ = false;
    const double seconds = std::chrono::duration<double>(now() - from).count();

    LoadResult result;
    result.confirmed_per_second = static_cast<double>(this->confirmed() - confirmed) / seconds;
    result.acknowledged_per_second =
        static_cast<double>(this->acknowledged() - acknowledged) / seconds;
    result.busy = std::chrono::duration<double>(thread_cpu() - cpu).count() / seconds;
    while (unsettled() > 0) turn(false);
    result.latencies_us = std::move(latencies_);
    result.messages = this->confirmed();
    return result;
  }

 private:
  Micros now() const { return std::chrono::duration_cast<Micros>(Clock::now() - began_); }

  bool goes_on(Micros from) const {
    if (options_.messages > 0) return confirmed() < options_.messages;
    return now() < from + Micros(options_.duration);
  }

  void turn(bool publishes) {
    if (publishes) publish();
    const Micros since_tick = Micros(now() % kTick);
    poller_.wait(kTick - since_tick, [this](uint64_t id) {
      if (id % 2 == 1) {
        consumers_[id / 2]->read();
        return;
      }
      auto& publisher = *publishers_[id / 2];
      publisher.send();
      publisher.read(
          [this](uint32_t latency_us) {
            if (measuring_) latencies_.push_back(latency_us);
          },
          now());
      watch(id / 2);
    });
    if (now() - ticked_ >= kTick) tick();
  }

  void tick() {
    ticked_ = now();
    for (const auto& consumer : consumers_) {
      consumer->acknowledge();
      consumer->send();
    }
    if (confirmed() != confirmed_before_ || unsettled() == 0) {
      confirmed_before_ = confirmed();
      confirmed_at_ = ticked_;
    }
    if (ticked_ - confirmed_at_ > kSilence) {
      throw std::runtime_error("the broker did not confirm anything for 30 s");
    }
  }

  void publish() {
    if (options_.rate > 0) {
      // A tick that was missed is made up for, and its messages count from when they were due.
      for (; due_ <= now(); due_ += kTick) {
        for (size_t i = 0; i < publishers_.size(); ++i) publish_due(i);
      }
      return;
    }
    const uint64_t share = options_.messages / publishers_.size();
    for (size_t i = 0; i < publishers_.size(); ++i) {
      auto& publisher = *publishers_[i];
      if (publisher.is_blocked()) continue;
      uint64_t count = publisher.room();
      if (share > 0) count = std::min(count, share - publisher.taken());
      if (count == 0) continue;
      publisher.publish(count, now());
      watch(i);
    }
  }

  void publish_due(size_t i) {
    const double each = options_.rate / static_cast<double>(publishers_.size()) / 1e6;
    const auto target = static_cast<uint64_t>(static_cast<double>(due_.count()) * each);
    publishers_[i]->publish(target - publishers_[i]->taken(), due_);
    watch(i);
  }

  // To send on when the socket takes more.
  void watch(size_t i) {
    auto& publisher = *publishers_[i];
    if (publisher.is_watched == publisher.is_blocked()) return;
    publisher.is_watched = publisher.is_blocked();
    poller_.watch(publisher.socket().fd(), 2 * i, publisher.is_watched);
  }

  uint64_t confirmed() const {
    uint64_t sum = 0;
    for (const auto& publisher : publishers_) sum += publisher->confirmed();
    return sum;
  }
  uint64_t unsettled() const {
    uint64_t sum = 0;
    for (const auto& publisher : publishers_) sum += publisher->unsettled();
    return sum;
  }
  uint64_t acknowledged() const {
    uint64_t sum = 0;
    for (const auto& consumer : consumers_) sum += consumer->acknowledged();
    return sum;
  }

  const LoadOptions options_;
  Poller poller_;
  std::vector<std::unique_ptr<Publisher>> publishers_;
  std::vector<std::unique_ptr<Consumer>> consumers_;
  std::vector<uint32_t> latencies_;
  bool measuring_ = false;
  Clock::time_point began_;
  Micros due_{0};  // The next tick, at a rate.
  Micros ticked_{0};
  uint64_t confirmed_before_ = 0;
  Micros confirmed_at_{0};
};

}  // namespace

LoadResult run_load(const LoadOptions& options) { return Load(options).run(); }

}  // namespace postoffice::bench
