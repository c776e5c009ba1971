#pragma once

#include <amqp.h>

#include <cstddef>
#include <string_view>

#include "broker/embedded/field_table.h"

namespace postoffice::embedded {

// Memory of librabbitmq's codec.
class Pool {
 public:
  Pool() { init_amqp_pool(&pool_, 4096); }
  ~Pool() { empty_amqp_pool(&pool_); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  amqp_pool_t* get() { return &pool_; }
  template <typename T>
  T* array(size_t count) {
    return static_cast<T*>(amqp_pool_alloc(&pool_, sizeof(T) * (count + 1)));
  }

 private:
  amqp_pool_t pool_{};
};

inline amqp_bytes_t bytes_of(std::string_view text) {
  return {text.size(), const_cast<char*>(text.data())};
}
inline std::string_view view_of(amqp_bytes_t bytes) {
  return {static_cast<const char*>(bytes.bytes), bytes.len};
}

// Its texts are views into `table`.
amqp_table_t to_theirs(const FieldTable& table, Pool& pool);
FieldTable to_ours(const amqp_table_t& table);

}  // namespace postoffice::embedded
