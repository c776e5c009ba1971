#include "bench/load/amqp_connection.h"

#include <amqp_tcp_socket.h>
#include <fcntl.h>
#include <sys/time.h>

#include <stdexcept>

namespace postoffice::bench {
namespace {

constexpr uint16_t kChannel = 1;
constexpr int kFrameMax = 131'072;
constexpr timeval kHandshakeTimeout{5, 0};
constexpr timeval kAnswerTimeout{60, 0};

amqp_bytes_t bytes_of(const std::string& text) {
  return {text.size(), const_cast<char*>(text.data())};
}

std::string text_of(const amqp_rpc_reply_t& reply) {
  if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
    return amqp_error_string2(reply.library_error);
  }
  if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION) {
    // Both kinds of close begin alike: code and text.
    const auto* const close = static_cast<const amqp_connection_close_t*>(reply.reply.decoded);
    return {static_cast<const char*>(close->reply_text.bytes), close->reply_text.len};
  }
  return "no answer";
}

}  // namespace

AmqpConnection::AmqpConnection(uint16_t port) : connection_(amqp_new_connection()) {
  auto* const socket = amqp_tcp_socket_new(connection_.get());
  timeval timeout = kHandshakeTimeout;
  const int status = amqp_socket_open_noblock(socket, "127.0.0.1", port, &timeout);
  if (status != AMQP_STATUS_OK) {
    throw std::runtime_error("port " + std::to_string(port) + ": " + amqp_error_string2(status));
  }
  amqp_set_handshake_timeout(connection_.get(), &kHandshakeTimeout);
  amqp_set_rpc_timeout(connection_.get(), &kAnswerTimeout);
  const auto reply =
      amqp_login(connection_.get(), "/", 0, kFrameMax, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest");
  if (reply.reply_type != AMQP_RESPONSE_NORMAL)
    throw std::runtime_error("login: " + text_of(reply));
  amqp_channel_open(connection_.get(), kChannel);
  check("channel.open");
}

void AmqpConnection::check(const char* what) {
  const auto reply = amqp_get_rpc_reply(connection_.get());
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return;
  throw std::runtime_error(std::string(what) + ": " + text_of(reply));
}

void AmqpConnection::declare_queue(const std::string& name, QueueKind kind) {
  amqp_table_entry_t entry;
  entry.key = amqp_cstring_bytes("x-queue-type");
  entry.value.kind = AMQP_FIELD_KIND_UTF8;
  entry.value.value.bytes = amqp_cstring_bytes(kind == QueueKind::kQuorum ? "quorum" : "classic");
  amqp_queue_declare(connection_.get(), kChannel, bytes_of(name), 0, 1, 0, 0, {1, &entry});
  check("queue.declare");
}

void AmqpConnection::delete_queue(const std::string& name) {
  amqp_queue_delete(connection_.get(), kChannel, bytes_of(name), 0, 0);
  check("queue.delete");
}

uint32_t AmqpConnection::ready(const std::string& name) {
  const auto* const answer =
      amqp_queue_declare(connection_.get(), kChannel, bytes_of(name), 1, 1, 0, 0, amqp_empty_table);
  check("queue.declare (passive)");
  return answer->message_count;
}

void AmqpConnection::select_confirms() {
  amqp_confirm_select(connection_.get(), kChannel);
  check("confirm.select");
}

void AmqpConnection::set_prefetch(uint16_t count) {
  amqp_basic_qos(connection_.get(), kChannel, 0, count, 0);
  check("basic.qos");
}

int AmqpConnection::take_socket() {
  const int fd = amqp_get_sockfd(connection_.get());
  if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) {
    throw std::runtime_error("a socket cannot be made non-blocking");
  }
  return fd;
}

}  // namespace postoffice::bench
