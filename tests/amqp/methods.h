#pragma once

#include <amqp.h>
#include <amqp_framing.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "tests/amqp/table.h"

// Methods as clients send them, encoded by librabbitmq. Options that are not given have the value
// that clients mostly send.
namespace postoffice::amqp_test {

struct Method {
  amqp_method_number_t id = 0;
  std::string arguments;  // As on the wire, after class and method id.
};

struct ExchangeOptions {
  bool passive = false;
  bool durable = false;
  bool auto_delete = false;
  bool internal = false;
  bool nowait = false;
  Table arguments = {};
};

struct QueueOptions {
  bool passive = false;
  bool durable = false;
  bool exclusive = false;
  bool auto_delete = false;
  bool nowait = false;
  Table arguments = {};
};

struct DeleteOptions {
  bool if_unused = false;
  bool if_empty = false;
};

struct PublishOptions {
  bool mandatory = false;
  bool immediate = false;
};

struct ConsumeOptions {
  std::string tag = {};
  bool no_ack = false;
  bool exclusive = false;
  bool nowait = false;
  Table arguments = {};
};

struct Settle {
  bool multiple = false;
  bool requeue = true;  // Of a nack.
};

Method start_ok(const Table& client_properties, const std::string& mechanism,
                const std::string& response);
Method tune_ok(uint16_t channel_max, uint32_t frame_max, uint16_t heartbeat);
Method connection_open(const std::string& vhost);
Method connection_close();
Method connection_close_ok();

Method channel_open();
Method channel_flow(bool active);
Method channel_close();
Method channel_close_ok();

Method exchange_declare(const std::string& name, const std::string& type,
                        const ExchangeOptions& options = {});
Method exchange_delete(const std::string& name, const DeleteOptions& options = {});
Method exchange_bind(const std::string& destination, const std::string& source,
                     const std::string& key, const Table& arguments = {});
Method exchange_unbind(const std::string& destination, const std::string& source,
                       const std::string& key, const Table& arguments = {});

Method queue_declare(const std::string& name, const QueueOptions& options = {});
Method queue_bind(const std::string& queue, const std::string& exchange, const std::string& key,
                  const Table& arguments = {});
Method queue_unbind(const std::string& queue, const std::string& exchange, const std::string& key,
                    const Table& arguments = {});
Method queue_purge(const std::string& name);
Method queue_delete(const std::string& name, const DeleteOptions& options = {});

Method basic_qos(uint16_t prefetch_count, bool global = false, uint32_t prefetch_size = 0);
Method basic_consume(const std::string& queue, const ConsumeOptions& options = {});
Method basic_cancel(const std::string& tag);
Method basic_publish(const std::string& exchange, const std::string& key,
                     const PublishOptions& options = {});
Method basic_get(const std::string& queue, bool no_ack = true);
Method basic_ack(uint64_t tag, bool multiple = false);
Method basic_nack(uint64_t tag, const Settle& options = {});
Method basic_reject(uint64_t tag, bool requeue);
Method basic_recover(bool requeue);
Method basic_recover_async(bool requeue);

Method tx_select();
Method tx_commit();
Method tx_rollback();
Method confirm_select();

// The payload of a method frame.
std::string payload_of(const Method& method);
// "queue.declare", or the numbers when there is no such method.
std::string name_of(amqp_method_number_t id);

}  // namespace postoffice::amqp_test
