#include "broker/embedded/virtual_host_metrics.h"

namespace postoffice::embedded {

VirtualHostMetrics::VirtualHostMetrics(const VirtualHost& vhost, Metrics& metrics)
    : vhost_(vhost),
      queues_(metrics.gauge("postoffice_broker_queues", "Queues of the embedded broker.",
                            {{"vhost", vhost.name()}})),
      ready_(metrics.gauge("postoffice_broker_messages_ready",
                           "Messages of the embedded broker that wait in queues.",
                           {{"vhost", vhost.name()}})) {
  const auto count = [&](const std::string& what, const std::string& help,
                         uint64_t Traffic::*value) {
    counts_.push_back(
        {metrics.counter("postoffice_broker_messages_" + what + "_total",
                         "Messages that the embedded broker " + help, {{"vhost", vhost.name()}}),
         value});
  };
  count("published", "was sent.", &Traffic::published);
  count("unroutable", "had no queue for.", &Traffic::unroutable);
  count("refused", "nacked: a queue was full, or the disk had failed.", &Traffic::refused);
  count("delivered", "sent to consumers.", &Traffic::delivered);
  count("acknowledged", "was told are done.", &Traffic::acknowledged);
  count("requeued", "put back into their queue.", &Traffic::requeued);
  count("rejected", "was told to drop or dead-letter.", &Traffic::rejected);
}

void VirtualHostMetrics::update() {
  const Traffic& traffic = vhost_.traffic;
  for (auto& count : counts_) {
    count.counter.Increment(static_cast<double>(traffic.*count.value - count.shown));
    count.shown = traffic.*count.value;
  }
  queues_.Set(static_cast<double>(vhost_.queue_count()));
  ready_.Set(static_cast<double>(vhost_.ready()));
}

}  // namespace postoffice::embedded
