#pragma once

#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "broker/embedded/message_store.h"
#include "broker/embedded/virtual_host.h"

namespace postoffice::embedded {

class Connection;

// What connections need of the broker.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  virtual bool knows(std::string_view user, std::string_view password,
                     const boost::asio::ip::address& from) const = 0;
  virtual VirtualHost* find_virtual_host(std::string_view name) = 0;
  virtual MessageStore& store() = 0;
  virtual uint64_t durable() const = 0;
  // send() is called at the end of this turn.
  virtual void send_later(Connection& connection) = 0;
  // durable() is called whenever more is, until it has nothing that waits.
  virtual void tell_durable(Connection& connection) = 0;
  // Why publishers are held back, if they are.
  virtual const std::optional<std::string>& blocked() const = 0;
  // The log takes nothing any more.
  virtual bool has_failed() const = 0;
  // More waits for the disk than should, for publishers or for everybody: resume() is called when
  // less does.
  enum class Load { kNormal, kHoldsPublishers, kHoldsAll };
  virtual Load load() const = 0;
  // Bytes of content being received on all connections. False: they are too many.
  virtual bool receiving(int64_t more_bytes) = 0;
  // Bytes written for clients and not sent yet, on all connections.
  virtual void unsent(int64_t more_bytes) = 0;
  // They are so many that each connection has to do with a small buffer.
  virtual bool is_crowded() const = 0;
  virtual void ended(Connection& connection) = 0;
};

}  // namespace postoffice::embedded
