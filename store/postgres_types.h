#pragma once

#include <libpq-fe.h>

#include <cstdint>

namespace postoffice {

// Object ids of built-in types, fixed in PostgreSQL's src/include/catalog/pg_type.dat.
inline constexpr Oid kBool = 16;
inline constexpr Oid kInt8 = 20;
inline constexpr Oid kText = 25;
inline constexpr Oid kTimestamptz = 1184;
inline constexpr Oid kBoolArray = 1000;
inline constexpr Oid kInt8Array = 1016;
inline constexpr Oid kTimestamptzArray = 1185;

// A timestamptz is a count of microseconds since 2000-01-01T00:00:00Z.
inline constexpr int64_t kPostgresEpochMillis = 946'684'800'000;

}  // namespace postoffice
