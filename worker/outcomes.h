#pragma once

#include <string>
#include <vector>

#include "worker/deliveries.h"
#include "worker/fetch_queue.h"
#include "worker/fetch_result.h"
#include "worker/outage.h"
#include "worker/publications.h"
#include "worker/retry_policy.h"
#include "worker/store_writer.h"

namespace postoffice {

// What becomes of each fetch. An answer is stored, and with that its part of the deliveries is
// done. An object that failed is first stored as named, so that its row does not expire while it is
// tried again; then it goes to a retry queue or to the dead letters, and with that its part is
// done. While the object service is down it goes back to wait. Thread-safe.
class Outcomes {
 public:
  // All outlive this.
  Outcomes(const RetryPolicy::Options& options, FetchQueue& queue, Outage& outage,
           Publications& publications, Deliveries& deliveries);

  // Where findings are put. Before anything else; `writer` outlives the use of this.
  void store_with(StoreWriter& writer) { writer_ = &writer; }

  void fetched(Fetch fetch, const FetchResult& result);
  void stored(std::vector<Finding> findings);
  void refused(Finding finding, const std::string& why);

 private:
  Finding finding_of(Fetch& fetch, const FetchResult& result, Outage::Verdict verdict);
  void publish(Finding finding);

  RetryPolicy policy_;
  FetchQueue& queue_;
  Outage& outage_;
  Publications& publications_;
  Deliveries& deliveries_;
  StoreWriter* writer_ = nullptr;
};

}  // namespace postoffice
