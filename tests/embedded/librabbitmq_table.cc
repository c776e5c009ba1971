#include "tests/embedded/librabbitmq_table.h"

#include <string>
#include <utility>

namespace postoffice::embedded {
namespace {

amqp_field_value_t their_value(const FieldValue& ours, Pool& pool) {
  amqp_field_value_t theirs{};
  theirs.kind = static_cast<uint8_t>(ours.type);
  if (const auto* const integer = std::get_if<int64_t>(&ours.value)) {
    switch (ours.type) {
      case 't':
        theirs.value.boolean = static_cast<amqp_boolean_t>(*integer);
        break;
      case 'b':
        theirs.value.i8 = static_cast<int8_t>(*integer);
        break;
      case 'B':
        theirs.value.u8 = static_cast<uint8_t>(*integer);
        break;
      case 's':
        theirs.value.i16 = static_cast<int16_t>(*integer);
        break;
      case 'u':
        theirs.value.u16 = static_cast<uint16_t>(*integer);
        break;
      case 'I':
        theirs.value.i32 = static_cast<int32_t>(*integer);
        break;
      case 'i':
        theirs.value.u32 = static_cast<uint32_t>(*integer);
        break;
      default:
        theirs.value.i64 = *integer;
    }
  } else if (const auto* const real = std::get_if<double>(&ours.value)) {
    if (ours.type == 'f') {
      theirs.value.f32 = static_cast<float>(*real);
    } else {
      theirs.value.f64 = *real;
    }
  } else if (const auto* const text = std::get_if<std::string>(&ours.value)) {
    if (ours.type == 'D') {
      WireReader reader(*text);
      theirs.value.decimal.decimals = reader.octet();
      theirs.value.decimal.value = reader.u32();
    } else {
      theirs.value.bytes = bytes_of(*text);
    }
  } else if (const auto* const array = std::get_if<FieldArray>(&ours.value)) {
    auto* const items = pool.array<amqp_field_value_t>(array->size());
    for (size_t i = 0; i < array->size(); ++i) items[i] = their_value((*array)[i], pool);
    theirs.value.array = {static_cast<int>(array->size()), items};
  } else if (const auto* const table = std::get_if<FieldTable>(&ours.value)) {
    theirs.value.table = to_theirs(*table, pool);
  }
  return theirs;
}

FieldValue our_value(const amqp_field_value_t& theirs) {
  FieldValue ours{static_cast<char>(theirs.kind), {}};
  const auto& value = theirs.value;
  switch (theirs.kind) {
    case AMQP_FIELD_KIND_BOOLEAN:
      ours.value = int64_t{value.boolean};
      break;
    case AMQP_FIELD_KIND_I8:
      ours.value = int64_t{value.i8};
      break;
    case AMQP_FIELD_KIND_U8:
      ours.value = int64_t{value.u8};
      break;
    case AMQP_FIELD_KIND_I16:
      ours.value = int64_t{value.i16};
      break;
    case AMQP_FIELD_KIND_U16:
      ours.value = int64_t{value.u16};
      break;
    case AMQP_FIELD_KIND_I32:
      ours.value = int64_t{value.i32};
      break;
    case AMQP_FIELD_KIND_U32:
      ours.value = int64_t{value.u32};
      break;
    case AMQP_FIELD_KIND_I64:
    case AMQP_FIELD_KIND_U64:
    case AMQP_FIELD_KIND_TIMESTAMP:
      ours.value = value.i64;
      break;
    case AMQP_FIELD_KIND_F32:
      ours.value = double{value.f32};
      break;
    case AMQP_FIELD_KIND_F64:
      ours.value = value.f64;
      break;
    case AMQP_FIELD_KIND_DECIMAL: {
      std::string decimal;
      WireWriter(decimal).octet(value.decimal.decimals).u32(value.decimal.value);
      ours.value = std::move(decimal);
      break;
    }
    case AMQP_FIELD_KIND_UTF8:
    case AMQP_FIELD_KIND_BYTES:
      ours.value = std::string(view_of(value.bytes));
      break;
    case AMQP_FIELD_KIND_ARRAY: {
      FieldArray items;
      for (int i = 0; i < value.array.num_entries; ++i) {
        items.push_back(our_value(value.array.entries[i]));
      }
      ours.value = std::move(items);
      break;
    }
    case AMQP_FIELD_KIND_TABLE:
      ours.value = to_ours(value.table);
      break;
    default:
      break;
  }
  return ours;
}

}  // namespace

amqp_table_t to_theirs(const FieldTable& table, Pool& pool) {
  auto* const entries = pool.array<amqp_table_entry_t>(table.size());
  int count = 0;
  for (const auto& [name, value] : table) {
    entries[count++] = {bytes_of(name), their_value(value, pool)};
  }
  return {count, entries};
}

FieldTable to_ours(const amqp_table_t& table) {
  FieldTable ours;
  for (int i = 0; i < table.num_entries; ++i) {
    ours.append(view_of(table.entries[i].key), our_value(table.entries[i].value));
  }
  return ours;
}

}  // namespace postoffice::embedded
