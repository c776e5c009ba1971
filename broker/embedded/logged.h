#pragma once

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <string>

#include "broker/embedded/log.h"

namespace postoffice::embedded {

struct LiveSegment;

// Something whose record in the log is needed as long as it lives: a message, a queue, an exchange,
// a binding. Before the segment that holds it is dropped, its record is written again.
class Logged : public boost::intrusive::list_base_hook<
                   boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  Logged() = default;
  Logged(const Logged&) = delete;
  Logged& operator=(const Logged&) = delete;
  virtual ~Logged() { leave_log(); }

  bool is_logged() const { return segment_ != nullptr; }
  // REQUIRES is_logged().
  LogPosition position() const;

  // Its record of `bytes` is at `offset` of `segment`, which outlives its stay there.
  void enter_log(LiveSegment& segment, uint32_t offset, uint32_t bytes);
  void leave_log();

  // The record as it is written now.
  virtual std::string record() const = 0;

 private:
  LiveSegment* segment_ = nullptr;
  uint32_t offset_ = 0;
  uint32_t bytes_ = 0;
};

// What is alive in one segment of the log.
struct LiveSegment {
  uint32_t number = 0;
  uint64_t* live_bytes = nullptr;  // Of the whole log.
  boost::intrusive::list<Logged, boost::intrusive::constant_time_size<false>> records;
};

inline LogPosition Logged::position() const { return {segment_->number, offset_}; }

inline void Logged::enter_log(LiveSegment& segment, uint32_t offset, uint32_t bytes) {
  leave_log();
  segment.records.push_back(*this);
  segment_ = &segment;
  offset_ = offset;
  bytes_ = bytes;
  *segment.live_bytes += bytes;
}

inline void Logged::leave_log() {
  if (segment_ == nullptr) return;
  unlink();
  *segment_->live_bytes -= bytes_;
  segment_ = nullptr;
}

}  // namespace postoffice::embedded
