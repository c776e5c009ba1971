#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/embedded/field_table.h"
#include "broker/embedded/message.h"
#include "broker/embedded/properties.h"
#include "broker/embedded/queue.h"

namespace postoffice::embedded {

// A dead letter's properties: https://www.rabbitmq.com/docs/dlx#effects.
struct DeadLetter {
  std::string properties;                 // Property flags and list.
  std::vector<std::string> routing_keys;  // Of the original message, CC included.
  FieldTable headers;

  // Of `content`, which died in `queue` for `reason`.
  static DeadLetter of(const Content& content, const Queue& queue, DeathReason reason,
                       UnixTime now);
  // It died in that queue before and was never rejected since: it would go round for ever.
  bool is_cycle(std::string_view queue) const;
};

// The texts of header `name` when it is an array of texts, as CC and BCC are. Throws ChannelError
// (406) when it is something else.
std::vector<std::string> text_array(const FieldTable& headers, std::string_view name);

}  // namespace postoffice::embedded
