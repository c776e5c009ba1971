#include "broker/embedded/queue_arguments.h"

#include <charconv>
#include <limits>

namespace postoffice::embedded {
namespace {

constexpr int64_t kMostMillis = 0xFFFFFFFF;

[[noreturn]] void refuse(std::string_view name, const std::string& why) {
  throw ChannelError(ReplyCode::kPreconditionFailed,
                     "invalid arg '" + std::string(name) + "' for a queue: " + why);
}

class Reader {
 public:
  explicit Reader(const FieldTable& arguments) : arguments_(arguments) {}

  std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most) const {
    const auto* const value = arguments_.find(name);
    if (value == nullptr) return std::nullopt;
    const auto integer = value->integer();
    if (!integer) refuse(name, "it must be an integer");
    if (*integer < least || *integer > most) {
      refuse(name, "it must be from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return integer;
  }
  std::optional<Millis> millis(std::string_view name, int64_t least) const {
    const auto value = integer(name, least, kMostMillis);
    return value ? std::optional(Millis(*value)) : std::nullopt;
  }
  std::optional<uint64_t> count(std::string_view name) const {
    const auto value = integer(name, 0, std::numeric_limits<int64_t>::max());
    return value ? std::optional(static_cast<uint64_t>(*value)) : std::nullopt;
  }
  std::optional<std::string> text(std::string_view name) const {
    const auto* const value = arguments_.find(name);
    if (value == nullptr) return std::nullopt;
    if (value->text() == nullptr) refuse(name, "it must be a string");
    return *value->text();
  }
  // What goes where the protocol has short strings (AMQP 0-9-1 section 4.2.5.3).
  std::optional<std::string> short_text(std::string_view name) const {
    auto value = text(name);
    if (value && value->size() > 255) refuse(name, "it must be at most 255 bytes long");
    return value;
  }
  bool boolean(std::string_view name) const {
    const auto* const value = arguments_.find(name);
    if (value == nullptr) return false;
    if (value->type != 't') refuse(name, "it must be a boolean");
    return std::get<int64_t>(value->value) != 0;
  }
  void not_with(std::string_view name, std::string_view type) const {
    if (arguments_.find(name) != nullptr) {
      refuse(name, "it is not supported by queues of type " + std::string(type));
    }
  }

 private:
  const FieldTable& arguments_;
};

QueueArguments::Type type_of(const Reader& read) {
  const auto type = read.text("x-queue-type").value_or("classic");
  if (type == "classic") return QueueArguments::Type::kClassic;
  if (type == "quorum") return QueueArguments::Type::kQuorum;
  if (type == "stream") return QueueArguments::Type::kStream;
  refuse("x-queue-type", "it must be classic, quorum or stream");
}

QueueArguments::Overflow overflow_of(const Reader& read) {
  const auto overflow = read.text("x-overflow").value_or("drop-head");
  if (overflow == "drop-head") return QueueArguments::Overflow::kDropHead;
  if (overflow == "reject-publish") return QueueArguments::Overflow::kRejectPublish;
  refuse("x-overflow", "it must be drop-head or reject-publish");
}

void check_type(const QueueArguments& parsed, const Reader& read, bool durable, bool exclusive,
                bool auto_delete) {
  using Type = QueueArguments::Type;
  if (parsed.type == Type::kClassic) return;
  const char* const type = parsed.type == Type::kQuorum ? "quorum" : "stream";
  const auto require = [&](bool holds, const char* what) {
    if (holds) return;
    throw ChannelError(ReplyCode::kPreconditionFailed,
                       std::string("invalid property '") + what + "' for a queue of type " + type);
  };
  require(durable, "non-durable");
  require(!exclusive, "exclusive");
  require(!auto_delete, "auto-delete");
  read.not_with("x-max-priority", type);
  read.not_with("x-queue-mode", type);
  if (parsed.type != Type::kStream) return;
  for (const auto* const name : {"x-message-ttl", "x-expires", "x-max-length",
                                 "x-dead-letter-exchange", "x-dead-letter-routing-key",
                                 "x-overflow", "x-single-active-consumer", "x-delivery-limit"}) {
    read.not_with(name, type);
  }
}

}  // namespace

std::optional<Millis> parse_age(const std::string& text) {
  int64_t amount = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), amount);
  if (error != std::errc() || amount <= 0 || amount > 1'000'000) return std::nullopt;
  const std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  constexpr std::pair<std::string_view, int64_t> kUnits[] = {
      {"Y", 365L * 86'400}, {"M", 30L * 86'400}, {"D", 86'400}, {"h", 3600}, {"m", 60}, {"s", 1}};
  for (const auto& [name, seconds] : kUnits) {
    if (unit == name) return Millis(amount * seconds * 1000);
  }
  return std::nullopt;
}

QueueArguments QueueArguments::read(const FieldTable& arguments, bool durable, bool exclusive,
                                    bool auto_delete) {
  const Reader read(arguments);
  QueueArguments parsed;
  parsed.type = type_of(read);
  check_type(parsed, read, durable, exclusive, auto_delete);
  parsed.message_ttl = read.millis("x-message-ttl", 0);
  parsed.expires = read.millis("x-expires", 1);
  parsed.max_length = read.count("x-max-length");
  parsed.max_length_bytes = read.count("x-max-length-bytes");
  parsed.overflow = overflow_of(read);
  parsed.dead_letter_exchange = read.short_text("x-dead-letter-exchange");
  parsed.dead_letter_routing_key = read.short_text("x-dead-letter-routing-key");
  if (parsed.dead_letter_routing_key && !parsed.dead_letter_exchange) {
    refuse("x-dead-letter-routing-key", "it needs x-dead-letter-exchange too");
  }
  const auto strategy = read.text("x-dead-letter-strategy").value_or("at-most-once");
  if (strategy != "at-most-once" && strategy != "at-least-once") {
    refuse("x-dead-letter-strategy", "it must be at-most-once or at-least-once");
  }
  // As RabbitMQ has it: dropping and never losing exclude each other.
  parsed.dead_letter_at_least_once =
      strategy == "at-least-once" && parsed.overflow == Overflow::kRejectPublish;
  if (const auto most = read.integer("x-max-priority", 0, 255)) {
    parsed.max_priority = static_cast<uint8_t>(*most);
  }
  parsed.single_active_consumer = read.boolean("x-single-active-consumer");
  // -1: no limit.
  if (const auto limit = read.integer("x-delivery-limit", -1, std::numeric_limits<int64_t>::max());
      limit && *limit >= 0) {
    parsed.delivery_limit = static_cast<uint64_t>(*limit);
  }
  if (const auto age = read.text("x-max-age")) {
    parsed.max_age = parse_age(*age);
    if (!parsed.max_age) refuse("x-max-age", "it must be a number and Y, M, D, h, m or s: 7D");
  }
  return parsed;
}

}  // namespace postoffice::embedded
