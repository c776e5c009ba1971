// The codec against librabbitmq's, which most C clients have: what one writes the other reads the
// same, over tables and properties made from a fixed seed.

#include <amqp.h>
#include <amqp_framing.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "broker/embedded/field_table.h"
#include "broker/embedded/frame.h"
#include "broker/embedded/handshake.h"
#include "broker/embedded/properties.h"
#include "tests/embedded/librabbitmq_table.h"
#include "tests/embedded/table_maker.h"

namespace postoffice::embedded {
namespace {

constexpr size_t kMostBytes = 1 << 20;

// --- librabbitmq's side

std::string written_by_them(const FieldTable& table) {
  Pool pool;
  auto theirs = to_theirs(table, pool);
  std::string out(kMostBytes, '\0');
  size_t size = 0;
  EXPECT_EQ(amqp_encode_table(bytes_of(out), &theirs, &size), 0);
  out.resize(size);
  return out;
}

bool they_read(std::string_view bytes, FieldTable& table) {
  Pool pool;
  amqp_table_t theirs{};
  size_t offset = 0;
  if (amqp_decode_table(bytes_of(bytes), pool.get(), &theirs, &offset) < 0) return false;
  EXPECT_EQ(offset, bytes.size());
  table = to_ours(theirs);
  return true;
}

// --- Ours

std::string written_by_us(const FieldTable& table) {
  std::string out;
  WireWriter writer(out);
  table.write(writer);
  return out;
}

FieldTable we_read(std::string_view bytes) {
  WireReader reader(bytes);
  auto table = FieldTable::read(reader);
  EXPECT_TRUE(reader.at_end());
  WireReader skipping(bytes);
  EXPECT_EQ(FieldTable::skip(skipping), bytes);
  return table;
}

bool we_refuse(std::string_view bytes) {
  try {
    WireReader reader(bytes);
    FieldTable::read(reader);
    return false;
  } catch (const ConnectionError&) {
    return true;
  }
}

// --- Tables

// The same bytes both ways, and the same values.
void expect_same(const FieldTable& table) {
  const std::string ours = written_by_us(table);
  ASSERT_EQ(ours, written_by_them(table));
  FieldTable read_by_them;
  ASSERT_TRUE(they_read(ours, read_by_them));
  ASSERT_EQ(written_by_us(read_by_them), ours);
  ASSERT_TRUE(read_by_them == table);
  ASSERT_TRUE(we_read(ours) == table);
}

TEST(Codec, TablesAreLibrabbitmqs) {
  for (uint32_t seed = 0; seed < 3'000; ++seed) {
    SCOPED_TRACE(seed);
    expect_same(TableMaker(seed).table(0));
    if (HasFatalFailure()) return;
  }
}

TEST(Codec, EachTypeIsLibrabbitmqs) {
  for (const char type : kTypes) {
    SCOPED_TRACE(type);
    for (uint32_t seed = 0; seed < 50; ++seed) {
      TableMaker maker(seed);
      FieldTable table;
      table.append("alone", maker.value(type, 0));
      FieldArray array;
      array.push_back(maker.value(type, 1));
      array.push_back(maker.value(type, 1));
      table.append("in an array", FieldValue::of(std::move(array)));
      expect_same(table);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Codec, TablesAtTheirLimitsAreLibrabbitmqs) {
  FieldTable long_ones;
  long_ones.append("", FieldValue::of(""));
  long_ones.append(std::string(255, 'n'), FieldValue::of(std::string(130'000, 's')));
  expect_same(long_ones);
  FieldTable many;
  for (int i = 0; i < 10'000; ++i) many.append("same name", FieldValue::of(int64_t{i}));
  expect_same(many);
  FieldTable deep;
  for (int i = 1; i < FieldTable::kMostNesting; ++i) {
    FieldTable outer;
    outer.append("in", FieldValue::of(std::move(deep)));
    deep = std::move(outer);
  }
  expect_same(deep);
}

// Both refuse what is cut anywhere, and neither reads beyond it.
TEST(Codec, CutTablesAreRefusedAsByLibrabbitmq) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    const std::string whole = written_by_us(TableMaker(seed).table(0));
    for (size_t size = 0; size < whole.size(); size += 1 + whole.size() / 100) {
      FieldTable ignored;
      const std::string cut = whole.substr(0, size);
      ASSERT_TRUE(we_refuse(cut)) << seed << ' ' << size;
      ASSERT_FALSE(they_read(cut, ignored)) << seed << ' ' << size;
    }
  }
}

// On changed bytes both read the same or refuse, but for what the tests below name.
TEST(Codec, ChangedTablesAreReadAsByLibrabbitmq) {
  int refused = 0;
  for (uint32_t seed = 0; seed < 3'000; ++seed) {
    TableMaker maker(seed);
    std::string bytes = written_by_us(maker.table(3));
    // The table's own length stays.
    if (bytes.size() == 4) continue;
    bytes[4 + maker.below(bytes.size() - 4)] = static_cast<char>(maker.below(256));
    FieldTable theirs;
    const bool they_do = they_read(bytes, theirs);
    ASSERT_EQ(we_refuse(bytes), !they_do) << seed;
    if (!they_do) {
      ++refused;
      continue;
    }
    ASSERT_EQ(written_by_us(we_read(bytes)).size(), written_by_us(theirs).size()) << seed;
  }
  EXPECT_GT(refused, 100);
}

// --- Where they differ on purpose

// It follows a client's nesting on the stack however deep it is; here there is an end.
TEST(Codec, NestingEndsWhereLibrabbitmqGoesOn) {
  std::string table = written_by_us({});
  for (int i = 0; i < FieldTable::kMostNesting; ++i) {
    std::string outer;
    WireWriter(outer).u32(static_cast<uint32_t>(table.size() + 2)).octet(0).octet('F').bytes(table);
    table = std::move(outer);
  }
  FieldTable theirs;
  EXPECT_TRUE(they_read(table, theirs));
  WireReader reader(table);
  try {
    FieldTable::read(reader);
    FAIL();
  } catch (const ConnectionError& error) {
    EXPECT_EQ(error.code, ReplyCode::kSyntaxError);
  }
}

// A boolean's octet comes back as it was sent; librabbitmq makes a 1 of it.
TEST(Codec, BooleansKeepTheirOctet) {
  const std::string bytes(
      "\0\0\0\x04\x01n"
      "t\x07",
      8);
  EXPECT_EQ(written_by_us(we_read(bytes)), bytes);
  FieldTable theirs;
  ASSERT_TRUE(they_read(bytes, theirs));
  EXPECT_EQ(std::get<int64_t>(theirs.find("n")->value), 1);
}

// --- Properties

struct AllProperties {
  Properties ours;
  amqp_basic_properties_t theirs{};
};

// Each property is there or not. What it refers to lives in `texts` and `pool`.
AllProperties make_properties(TableMaker& maker, std::vector<std::string>& texts, Pool& pool,
                              const FieldTable& headers) {
  AllProperties made;
  auto& ours = made.ours;
  auto& theirs = made.theirs;
  texts.reserve(20);
  const auto has = [&](amqp_flags_t flag) {
    if (maker.below(2) == 0) return false;
    theirs._flags |= flag;
    return true;
  };
  const auto text = [&](std::optional<std::string_view>& our, amqp_bytes_t& their,
                        amqp_flags_t flag) {
    if (!has(flag)) return;
    our = texts.emplace_back(maker.text(255));
    their = bytes_of(texts.back());
  };
  text(ours.content_type, theirs.content_type, AMQP_BASIC_CONTENT_TYPE_FLAG);
  text(ours.content_encoding, theirs.content_encoding, AMQP_BASIC_CONTENT_ENCODING_FLAG);
  if (has(AMQP_BASIC_HEADERS_FLAG)) {
    ours.headers = texts.emplace_back(written_by_us(headers));
    theirs.headers = to_theirs(headers, pool);
  }
  if (has(AMQP_BASIC_DELIVERY_MODE_FLAG)) {
    ours.delivery_mode = theirs.delivery_mode = static_cast<uint8_t>(maker.below(256));
  }
  if (has(AMQP_BASIC_PRIORITY_FLAG)) {
    ours.priority = theirs.priority = static_cast<uint8_t>(maker.below(256));
  }
  text(ours.correlation_id, theirs.correlation_id, AMQP_BASIC_CORRELATION_ID_FLAG);
  text(ours.reply_to, theirs.reply_to, AMQP_BASIC_REPLY_TO_FLAG);
  text(ours.expiration, theirs.expiration, AMQP_BASIC_EXPIRATION_FLAG);
  text(ours.message_id, theirs.message_id, AMQP_BASIC_MESSAGE_ID_FLAG);
  if (has(AMQP_BASIC_TIMESTAMP_FLAG)) {
    theirs.timestamp = maker.below(std::numeric_limits<uint64_t>::max());
    ours.timestamp = theirs.timestamp;
  }
  text(ours.type, theirs.type, AMQP_BASIC_TYPE_FLAG);
  text(ours.user_id, theirs.user_id, AMQP_BASIC_USER_ID_FLAG);
  text(ours.app_id, theirs.app_id, AMQP_BASIC_APP_ID_FLAG);
  text(ours.cluster_id, theirs.cluster_id, AMQP_BASIC_CLUSTER_ID_FLAG);
  return made;
}

std::string written_by_them(amqp_basic_properties_t& properties) {
  std::string out(kMostBytes, '\0');
  const int size = amqp_encode_properties(AMQP_BASIC_CLASS, &properties, bytes_of(out));
  EXPECT_GE(size, 0);
  out.resize(static_cast<size_t>(std::max(size, 0)));
  return out;
}

TEST(Codec, PropertiesAreLibrabbitmqs) {
  for (uint32_t seed = 0; seed < 3'000; ++seed) {
    SCOPED_TRACE(seed);
    TableMaker maker(seed);
    const auto headers = maker.table(2);
    std::vector<std::string> texts;
    Pool pool;
    auto made = make_properties(maker, texts, pool, headers);
    const std::string bytes = made.ours.write();
    ASSERT_EQ(bytes, written_by_them(made.theirs));
    void* decoded = nullptr;
    ASSERT_EQ(amqp_decode_properties(AMQP_BASIC_CLASS, pool.get(), bytes_of(bytes), &decoded), 0);
    auto& theirs = *static_cast<amqp_basic_properties_t*>(decoded);
    EXPECT_EQ(theirs._flags, made.theirs._flags);
    ASSERT_EQ(written_by_them(theirs), bytes);
    const auto ours = Properties::read(bytes);
    ASSERT_EQ(ours.write(), bytes);
    ASSERT_TRUE(ours.header_table() == (ours.headers ? headers : FieldTable()));
  }
}

// Bytes after the last property, and flags that continue and name more, are errors here;
// librabbitmq reads on as if they were not there.
TEST(Codec, PropertiesEndWithTheLast) {
  const std::string none("\0\0", 2);
  const std::string more_flags("\0\x01\x80\0", 4);
  for (const auto& bytes : {none + "x", more_flags}) {
    Pool pool;
    void* decoded = nullptr;
    EXPECT_EQ(amqp_decode_properties(AMQP_BASIC_CLASS, pool.get(), bytes_of(bytes), &decoded), 0);
    EXPECT_THROW(Properties::read(bytes), ConnectionError);
  }
}

// --- Methods

// What the frame holds, as a client reads it.
template <typename Wire>
const Wire& they_read_method(const std::string& bytes, uint32_t method, Pool& pool) {
  const auto frame = parse_frame(bytes, 131'072);
  EXPECT_EQ(frame.bytes, bytes.size());
  EXPECT_EQ(frame.type, kMethodFrame);
  EXPECT_EQ(frame.channel, 7);
  WireReader reader(frame.payload);
  EXPECT_EQ(reader.u32(), method);
  void* decoded = nullptr;
  EXPECT_EQ(amqp_decode_method(method, pool.get(), bytes_of(reader.rest()), &decoded), 0);
  return *static_cast<const Wire*>(decoded);
}

TEST(Codec, MethodsAreReadByLibrabbitmq) {
  Pool pool;
  const std::string longest(255, 'k');
  std::string out;
  {
    MethodWriter writer(out, 7, AMQP_BASIC_DELIVER_METHOD);
    writer->short_string("tag").u64(1ULL << 63).octet(1).short_string("").short_string(longest);
  }
  const auto& deliver =
      they_read_method<amqp_basic_deliver_t>(out, AMQP_BASIC_DELIVER_METHOD, pool);
  EXPECT_EQ(view_of(deliver.consumer_tag), "tag");
  EXPECT_EQ(deliver.delivery_tag, 1ULL << 63);
  EXPECT_EQ(deliver.redelivered, 1);
  EXPECT_EQ(view_of(deliver.exchange), "");
  EXPECT_EQ(view_of(deliver.routing_key), longest);
  out.clear();
  MethodWriter(out, 7, AMQP_CONNECTION_CLOSE_METHOD)
      ->u16(320)
      .short_string(longest + "cut")
      .u32(AMQP_BASIC_GET_METHOD);
  const auto& close =
      they_read_method<amqp_connection_close_t>(out, AMQP_CONNECTION_CLOSE_METHOD, pool);
  EXPECT_EQ(close.reply_code, 320);
  EXPECT_EQ(view_of(close.reply_text), longest);
  EXPECT_EQ(close.class_id, 60);
  EXPECT_EQ(close.method_id, 70);
}

TEST(Codec, StartIsReadByLibrabbitmq) {
  std::string out;
  write_start(out);
  const auto frame = parse_frame(out, 131'072);
  ASSERT_EQ(frame.bytes, out.size());
  Pool pool;
  void* decoded = nullptr;
  const auto arguments = frame.payload.substr(4);
  ASSERT_EQ(
      amqp_decode_method(AMQP_CONNECTION_START_METHOD, pool.get(), bytes_of(arguments), &decoded),
      0);
  const auto& start = *static_cast<const amqp_connection_start_t*>(decoded);
  EXPECT_EQ(start.version_major, 0);
  EXPECT_EQ(start.version_minor, 9);
  EXPECT_EQ(view_of(start.mechanisms), "PLAIN AMQPLAIN");
  EXPECT_EQ(view_of(start.locales), "en_US");
  EXPECT_EQ(to_ours(start.server_properties).text("product"), "Postoffice");
}

TEST(Codec, MethodsOfLibrabbitmqAreRead) {
  Pool pool;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    TableMaker maker(seed);
    const auto arguments = maker.table(1);
    const std::string name = maker.text(255);
    amqp_queue_declare_t declare{};
    declare.queue = bytes_of(name);
    declare.durable = static_cast<amqp_boolean_t>(maker.below(2));
    declare.auto_delete = static_cast<amqp_boolean_t>(maker.below(2));
    declare.arguments = to_theirs(arguments, pool);
    std::string bytes(kMostBytes, '\0');
    const int size = amqp_encode_method(AMQP_QUEUE_DECLARE_METHOD, &declare, bytes_of(bytes));
    ASSERT_GE(size, 0);
    bytes.resize(static_cast<size_t>(size));
    WireReader reader(bytes);
    EXPECT_EQ(reader.u16(), 0);
    EXPECT_EQ(reader.short_string(), name);
    EXPECT_EQ(reader.octet(), (declare.durable != 0 ? 2 : 0) | (declare.auto_delete != 0 ? 8 : 0));
    EXPECT_TRUE(FieldTable::read(reader) == arguments);
    EXPECT_TRUE(reader.at_end());
  }
}

// Content headers have the length of the body before the properties; librabbitmq leaves both to
// whoever reads frames.
TEST(Codec, ContentIsCutIntoFrames) {
  const std::string body(10'000, 'b');
  Properties given;
  given.content_type = "text/plain";
  const std::string properties = given.write();
  std::string out;
  write_content(out, 7, 4096, properties, body);
  std::string_view left = out;
  auto frame = parse_frame(left, 4096);
  ASSERT_EQ(frame.type, kHeaderFrame);
  WireReader header(frame.payload);
  EXPECT_EQ(header.u16(), AMQP_BASIC_CLASS);
  EXPECT_EQ(header.u16(), 0);
  EXPECT_EQ(header.u64(), body.size());
  EXPECT_EQ(header.rest(), properties);
  std::string received;
  for (left.remove_prefix(frame.bytes); !left.empty(); left.remove_prefix(frame.bytes)) {
    frame = parse_frame(left, 4096);
    ASSERT_EQ(frame.type, kBodyFrame);
    ASSERT_GT(frame.bytes, 0U);
    received += frame.payload;
  }
  EXPECT_EQ(received, body);
}

}  // namespace
}  // namespace postoffice::embedded
