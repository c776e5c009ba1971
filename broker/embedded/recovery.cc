// MessageStore::recover(): what the log's records leave behind.

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>

#include "broker/embedded/message_store.h"

namespace postoffice::embedded {
namespace {

class Replay {
 public:
  using Enter = std::function<void(Logged&, LogPosition, uint32_t bytes)>;

  explicit Replay(Enter enter) : enter_(std::move(enter)) {}

  void record(LogPosition position, std::string_view bytes) {
    WireReader reader(bytes);
    const Recovered::Place place{position, static_cast<uint32_t>(bytes.size())};
    switch (static_cast<RecordType>(reader.octet())) {
      case RecordType::kMessage:
        message(reader, place);
        break;
      case RecordType::kTransient:
        break;
      case RecordType::kSettled:
        settled(reader);
        break;
      case RecordType::kReturned: {
        auto& queue = recovered_.queues[reader.u64()];
        auto& waiting = add(queue.messages);
        waiting.seq = reader.u64();
        waiting.returns = reader.u32();
        waiting.published_at = kOnlyReturns;
        break;
      }
      case RecordType::kQueue: {
        auto properties = QueueRecord::read(reader);
        auto& queue = recovered_.queues[properties.id];
        queue.properties = std::move(properties);
        queue.place = place;
        break;
      }
      case RecordType::kQueueDeleted:
        recovered_.queues[reader.u64()] = {};
        break;
      case RecordType::kExchange: {
        auto properties = ExchangeRecord::read(reader);
        auto key = std::pair(properties.vhost, properties.name);
        recovered_.exchanges.insert_or_assign(std::move(key), std::pair(properties, place));
        break;
      }
      case RecordType::kExchangeDeleted: {
        std::string vhost(reader.short_string());
        recovered_.exchanges.erase({std::move(vhost), std::string(reader.short_string())});
        break;
      }
      case RecordType::kBinding: {
        auto binding = BindingRecord::read(reader);
        auto key = binding.write(RecordType::kBinding);
        recovered_.bindings.insert_or_assign(std::move(key), std::pair(binding, place));
        break;
      }
      case RecordType::kUnbound:
        recovered_.bindings.erase(BindingRecord::read(reader).write(RecordType::kBinding));
        break;
      default:
        spdlog::warn(
            "broker: log segment {} has a record of an unknown type at {}: written by a newer "
            "version?",
            position.segment, position.offset);
    }
  }

  Recovered finish() {
    for (const auto& [id, queue] : recovered_.queues) {
      recovered_.last_queue_id = std::max(recovered_.last_queue_id, id);
    }
    std::erase_if(recovered_.queues, [](const auto& queue) { return !queue.second.properties; });
    for (auto& [id, queue] : recovered_.queues) settle(queue.messages);
    return std::move(recovered_);
  }

 private:
  static constexpr int64_t kOnlyReturns = -1;
  static constexpr size_t kSettleFrom = 1 << 14;

  void message(WireReader& reader, const Recovered::Place& place) {
    const uint32_t places = reader.u32();
    const std::string_view at = reader.take(size_t{places} * 20);
    const auto content_bytes = static_cast<uint32_t>(reader.rest().size());
    const auto content = Content::read(reader.rest());
    const auto properties = Properties::read(content.properties);
    const MessagePtr message(
        new Message(content_bytes, static_cast<uint32_t>(content.body.size()), true));
    enter_(*message, place.position, place.bytes);
    Recovered::Waiting waiting;
    waiting.message = message;
    waiting.published_at = to_unix_millis(content.published_at);
    waiting.priority = properties.priority.value_or(0);
    if (properties.expiration) {
      const auto text = *properties.expiration;
      std::from_chars(text.data(), text.data() + text.size(), waiting.expiration_ms);
    }
    WireReader each(at);
    for (uint32_t i = 0; i < places; ++i) {
      auto& queue = recovered_.queues[each.u64()];
      waiting.seq = each.u64();
      waiting.returns = each.u32();
      queue.last_seq = std::max(queue.last_seq, waiting.seq);
      add(queue.messages) = waiting;
    }
  }

  void settled(WireReader& reader) {
    auto& queue = recovered_.queues[reader.u64()];
    queue.delivered = std::max(queue.delivered, reader.u64());
    const uint32_t count = reader.u32();
    for (uint32_t i = 0; i < count; ++i) {
      auto& settled = add(queue.messages);
      settled.seq = reader.u64();
      queue.last_seq = std::max(queue.last_seq, settled.seq);
    }
  }

  // Where they would take more memory, what is settled goes first. A settlement never precedes its
  // message, so that nothing later needs it.
  static Recovered::Waiting& add(std::vector<Recovered::Waiting>& messages) {
    if (messages.size() == messages.capacity() && messages.size() >= kSettleFrom) {
      settle(messages);
      messages.reserve(2 * messages.size());
    }
    return messages.emplace_back();
  }

  // Leaves the messages that were not settled, each once, by seq.
  static void settle(std::vector<Recovered::Waiting>& messages) {
    std::ranges::stable_sort(messages, {}, &Recovered::Waiting::seq);
    size_t kept = 0;
    for (size_t i = 0; i < messages.size();) {
      const uint64_t seq = messages[i].seq;
      Recovered::Waiting last;
      for (; i < messages.size() && messages[i].seq == seq; ++i) {
        if (messages[i].published_at == kOnlyReturns) {
          last.returns = std::max(last.returns, messages[i].returns);
        } else {
          last = std::move(messages[i]);
        }
      }
      if (!last.message) continue;
      last.seq = seq;
      messages[kept++] = std::move(last);
    }
    messages.resize(kept);
  }

  const Enter enter_;
  Recovered recovered_;
};

}  // namespace

Recovered MessageStore::recover() {
  Replay replay([this](Logged& logged, LogPosition position, uint32_t bytes) {
    place(logged, {position, bytes});
  });
  log_.recover([&replay](LogPosition position, std::string_view record) {
    try {
      replay.record(position, record);
    } catch (const ConnectionError& error) {
      spdlog::error("broker: log segment {}: the record at {} cannot be read: {}", position.segment,
                    position.offset, error.what());
    }
  });
  return replay.finish();
}

}  // namespace postoffice::embedded
