#pragma once

#include <string>
#include <string_view>
#include <unordered_set>
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
  // Names of queues in which it died, without having been rejected since: it would go round for
  // ever. Views into `headers`.
  std::unordered_set<std::string_view> cycle() const;
};

// The texts of header `name` when it is an array of texts, as CC and BCC are. Throws ChannelError
// (406) when it is something else.
std::vector<std::string> text_array(const FieldTable& headers, std::string_view name);

}  // namespace postoffice::embedded
