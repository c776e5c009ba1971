#include "bench/load/plain_upserts.h"

#include <endian.h>

#include <array>
#include <chrono>
#include <stdexcept>
#include <vector>

namespace postoffice::bench {
namespace {

constexpr const char* kStatement =
    "INSERT INTO objects (id, online, last_seen, checked_at)"
    " SELECT id, online, LEAST(received_at, date_trunc('milliseconds', now())),"
    " LEAST(checked_at, date_trunc('milliseconds', now()))"
    " FROM unnest($1::bigint[], $2::boolean[], $3::timestamptz[], $4::timestamptz[])"
    " AS update (id, online, received_at, checked_at)"
    " ON CONFLICT (id) DO UPDATE SET"
    " last_seen = GREATEST(objects.last_seen, excluded.last_seen),"
    " online = CASE WHEN excluded.checked_at >= objects.checked_at"
    " THEN excluded.online ELSE objects.online END,"
    " checked_at = GREATEST(objects.checked_at, excluded.checked_at)";

// Of pg_type.
constexpr uint32_t kBoolean = 16;
constexpr uint32_t kBigint = 20;
constexpr uint32_t kTimestamptz = 1184;
// Seconds from 1970 to 2000, from where PostgreSQL counts microseconds.
constexpr int64_t kEpoch = 946'684'800;

// An array of one dimension as array_recv() reads it: dimensions, whether there are NULLs, the
// type, size and lower bound, and each element behind its length; all big-endian.
class BinaryArray {
 public:
  BinaryArray(uint32_t type, size_t size) {
    for (const uint32_t word : {uint32_t{1}, uint32_t{0}, type, uint32_t(size), uint32_t{1}}) {
      append(htobe32(word));
    }
  }
  void add(int64_t value) {
    append(htobe32(sizeof(value)));
    append(htobe64(static_cast<uint64_t>(value)));
  }
  void add(bool value) {
    append(htobe32(1));
    bytes_ += value ? '\1' : '\0';
  }
  const std::string& bytes() const { return bytes_; }

 private:
  template <typename Word>
  void append(Word word) {
    bytes_.append(reinterpret_cast<const char*>(&word), sizeof(word));
  }
  std::string bytes_;
};

int64_t postgres_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count() - kEpoch * 1'000'000;
}

}  // namespace

PlainUpserts::PlainUpserts(const std::string& url) : connection_(PQconnectdb(url.c_str())) {
  if (PQstatus(connection_.get()) != CONNECTION_OK) {
    throw std::runtime_error(PQerrorMessage(connection_.get()));
  }
  check(PQexec(connection_.get(), "SET synchronous_commit = on"), PGRES_COMMAND_OK);
  check(PQprepare(connection_.get(), "upsert", kStatement, 0, nullptr), PGRES_COMMAND_OK);
}

void PlainUpserts::check(PGresult* result, ExecStatusType wanted) const {
  const auto status = PQresultStatus(result);
  PQclear(result);
  if (status != wanted) throw std::runtime_error(PQerrorMessage(connection_.get()));
}

void PlainUpserts::apply(std::span<const int64_t> ids) {
  BinaryArray id(kBigint, ids.size());
  BinaryArray online(kBoolean, ids.size());
  BinaryArray time(kTimestamptz, ids.size());
  const int64_t now = postgres_now();
  for (const int64_t each : ids) {
    id.add(each);
    online.add(true);
    time.add(now);
  }
  std::vector<const char*> values;
  std::vector<int> lengths;
  for (const auto* const array : {&id, &online, &time, &time}) {
    values.push_back(array->bytes().data());
    lengths.push_back(static_cast<int>(array->bytes().size()));
  }
  constexpr std::array<int, 4> kBinary = {1, 1, 1, 1};
  check(PQexecPrepared(connection_.get(), "upsert", 4, values.data(), lengths.data(),
                       kBinary.data(), 0),
        PGRES_COMMAND_OK);
}

}  // namespace postoffice::bench
