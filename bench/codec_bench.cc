// The embedded broker's codec and librabbitmq's at the same work: a message that comes in, one that
// goes out, and a table. The figures are in ARCHITECTURE.md.

#include <amqp.h>
#include <amqp_framing.h>
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>
#include <string_view>

#include "broker/embedded/field_table.h"
#include "broker/embedded/frame.h"
#include "broker/embedded/properties.h"

namespace postoffice::embedded {
namespace {

amqp_bytes_t bytes_of(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};
}

// Both sides' input has to be read without an error.
void require(bool holds) {
  if (!holds) std::abort();
}

class Pool {
 public:
  Pool() { init_amqp_pool(&pool_, 4096); }
  ~Pool() { empty_amqp_pool(&pool_); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // As clients do between frames.
  amqp_pool_t* recycled() {
    recycle_amqp_pool(&pool_);
    return &pool_;
  }

 private:
  amqp_pool_t pool_{};
};

FieldTable typical_headers() {
  FieldTable headers;
  headers.set("content-version", FieldValue::of("2024-11-21"));
  headers.set("attempt", FieldValue::of(int64_t{3}));
  headers.set("sent-at", FieldValue::timestamp(1'700'000'000));
  headers.set("urgent", {'t', int64_t{1}});
  headers.set("trace-id", FieldValue::of("4bf92f3577b34da6a3ce929d0e0e4736"));
  return headers;
}

// Queue arguments and the record of two deaths: what a dead letter carries.
FieldTable nested_table() {
  FieldTable table = typical_headers();
  FieldArray deaths;
  for (const auto* const queue : {"callbacks", "callbacks.retry"}) {
    FieldTable death;
    death.set("count", FieldValue::of(int64_t{1}));
    death.set("reason", FieldValue::of("rejected"));
    death.set("queue", FieldValue::of(queue));
    death.set("time", FieldValue::timestamp(1'700'000'000));
    death.set("exchange", FieldValue::of(""));
    death.set("routing-keys", FieldValue::of(FieldArray{FieldValue::of("callbacks")}));
    deaths.push_back(FieldValue::of(std::move(death)));
  }
  table.set("x-death", FieldValue::of(std::move(deaths)));
  return table;
}

std::string written(const FieldTable& table) {
  std::string out;
  WireWriter writer(out);
  table.write(writer);
  return out;
}

// --- A message comes in: basic.publish, then the properties of its content header

struct Published {
  Published() {
    WireWriter(method).u16(0).short_string("postoffice").short_string("callbacks").octet(1);
    const std::string table = written(typical_headers());
    Properties given;
    given.content_type = "application/x-ndjson";
    given.headers = table;
    given.delivery_mode = uint8_t{2};
    given.message_id = "0b6f4a7e-8d1c-4f53-9a55-1d2f0f6f3c11";
    given.timestamp = uint64_t{1'700'000'000};
    properties = given.write();
  }
  std::string method;
  std::string properties;
};

void parse_publish_ours(benchmark::State& state) {
  const Published published;
  for (auto unused : state) {
    WireReader reader(published.method);
    reader.u16();
    auto exchange = reader.short_string();
    auto key = reader.short_string();
    auto bits = reader.octet();
    auto properties = Properties::read(published.properties);
    benchmark::DoNotOptimize(exchange);
    benchmark::DoNotOptimize(key);
    benchmark::DoNotOptimize(bits);
    benchmark::DoNotOptimize(properties);
  }
}
BENCHMARK(parse_publish_ours);

// The same with the header table, which the broker reads for headers exchanges and dead letters.
void parse_publish_and_headers_ours(benchmark::State& state) {
  const Published published;
  for (auto unused : state) {
    WireReader reader(published.method);
    reader.u16();
    auto exchange = reader.short_string();
    auto key = reader.short_string();
    auto bits = reader.octet();
    auto headers = Properties::read(published.properties).header_table();
    benchmark::DoNotOptimize(exchange);
    benchmark::DoNotOptimize(key);
    benchmark::DoNotOptimize(bits);
    benchmark::DoNotOptimize(headers);
  }
}
BENCHMARK(parse_publish_and_headers_ours);

void parse_publish_librabbitmq(benchmark::State& state) {
  const Published published;
  Pool pool;
  for (auto unused : state) {
    auto* const used = pool.recycled();
    void* method = nullptr;
    void* properties = nullptr;
    require(amqp_decode_method(AMQP_BASIC_PUBLISH_METHOD, used, bytes_of(published.method),
                               &method) == 0);
    require(amqp_decode_properties(AMQP_BASIC_CLASS, used, bytes_of(published.properties),
                                   &properties) == 0);
    benchmark::DoNotOptimize(method);
    benchmark::DoNotOptimize(properties);
  }
}
BENCHMARK(parse_publish_librabbitmq);

// --- One goes out: the frame of basic.deliver

constexpr std::string_view kTag = "amq.ctag-5dXnZk3cQ0mB";
constexpr std::string_view kExchange = "postoffice";
constexpr std::string_view kKey = "callbacks";

void write_deliver_ours(benchmark::State& state) {
  std::string out;
  for (auto unused : state) {
    out.clear();
    {
      MethodWriter writer(out, 1, AMQP_BASIC_DELIVER_METHOD);
      writer->short_string(kTag).u64(123'456).octet(0).short_string(kExchange).short_string(kKey);
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(write_deliver_ours);

// It writes the arguments only; frame and method number around them are written as above.
void write_deliver_librabbitmq(benchmark::State& state) {
  std::string out;
  std::string arguments(4096, '\0');
  for (auto unused : state) {
    amqp_basic_deliver_t deliver{bytes_of(kTag), 123'456, 0, bytes_of(kExchange), bytes_of(kKey)};
    const int size = amqp_encode_method(AMQP_BASIC_DELIVER_METHOD, &deliver, bytes_of(arguments));
    require(size >= 0);
    out.clear();
    {
      MethodWriter writer(out, 1, AMQP_BASIC_DELIVER_METHOD);
      writer->bytes({arguments.data(), static_cast<size_t>(size)});
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
}
BENCHMARK(write_deliver_librabbitmq);

// --- A nested table

void read_table_ours(benchmark::State& state) {
  const std::string bytes = written(nested_table());
  for (auto unused : state) {
    WireReader reader(bytes);
    auto table = FieldTable::read(reader);
    benchmark::DoNotOptimize(table);
  }
}
BENCHMARK(read_table_ours);

// What every message's headers go through: checked, and left where they are.
void skip_table_ours(benchmark::State& state) {
  const std::string bytes = written(nested_table());
  for (auto unused : state) {
    WireReader reader(bytes);
    auto skipped = FieldTable::skip(reader);
    benchmark::DoNotOptimize(skipped);
  }
}
BENCHMARK(skip_table_ours);

void read_table_librabbitmq(benchmark::State& state) {
  const std::string bytes = written(nested_table());
  Pool pool;
  for (auto unused : state) {
    amqp_table_t table{};
    size_t offset = 0;
    require(amqp_decode_table(bytes_of(bytes), pool.recycled(), &table, &offset) == 0);
    benchmark::DoNotOptimize(table);
  }
}
BENCHMARK(read_table_librabbitmq);

}  // namespace
}  // namespace postoffice::embedded
