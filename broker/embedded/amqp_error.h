#pragma once

#include <amqp.h>
#include <amqp_framing.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace postoffice::embedded {

// Reply codes, AMQP 0-9-1 section 1.2 (and RabbitMQ where it differs).
enum class ReplyCode : uint16_t {
  kSuccess = AMQP_REPLY_SUCCESS,
  kConnectionForced = AMQP_CONNECTION_FORCED,
  kAccessRefused = AMQP_ACCESS_REFUSED,
  kNotFound = AMQP_NOT_FOUND,
  kResourceLocked = AMQP_RESOURCE_LOCKED,
  kPreconditionFailed = AMQP_PRECONDITION_FAILED,
  kFrameError = AMQP_FRAME_ERROR,
  kSyntaxError = AMQP_SYNTAX_ERROR,
  kCommandInvalid = AMQP_COMMAND_INVALID,
  kChannelError = AMQP_CHANNEL_ERROR,
  kUnexpectedFrame = AMQP_UNEXPECTED_FRAME,
  kResourceError = AMQP_RESOURCE_ERROR,
  kNotAllowed = AMQP_NOT_ALLOWED,
  kNotImplemented = AMQP_NOT_IMPLEMENTED,
  kInternalError = AMQP_INTERNAL_ERROR,
};

// "NOT_FOUND", as it begins the reply text.
const char* name_of(ReplyCode code);

// Closes the channel on which it happened; the connection goes on.
class ChannelError : public std::runtime_error {
 public:
  ChannelError(ReplyCode code, const std::string& text)
      : std::runtime_error(std::string(name_of(code)) + " - " + text), code(code) {}
  const ReplyCode code;
};

// Closes the connection.
class ConnectionError : public std::runtime_error {
 public:
  ConnectionError(ReplyCode code, const std::string& text)
      : std::runtime_error(std::string(name_of(code)) + " - " + text), code(code) {}
  const ReplyCode code;
};

}  // namespace postoffice::embedded
