"""The Celery application that celery_client.py and its workers share."""

import os

from celery import Celery
from kombu import Exchange, Queue

NAME = os.environ["INTEROP_NAME"]
FOLDER = os.environ["INTEROP_FOLDER"]

app = Celery("interop", broker=os.environ["INTEROP_AMQP_URL"], backend="rpc://")
app.conf.update(
    task_default_queue=NAME,
    task_queues=[Queue(NAME, Exchange(NAME), NAME), Queue(f"{NAME}.priority", max_priority=9)],
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    control_exchange=f"{NAME}.control",
    event_exchange=f"{NAME}.events",
    event_queue_prefix=f"{NAME}.events",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    broker_heartbeat=10,  # Of 2 s, mingling would never end: each heartbeat restarts its wait of 1 s.
    result_expires=60,
)


@app.task
def add(a, b):
    return a + b


@app.task(bind=True, max_retries=3)
def fail_twice(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.5)
    return self.request.retries


@app.task
def fail():
    raise ValueError("on purpose")


@app.task
def size(data):
    return len(data)


@app.task
def hold():
    """Never returns in the first worker that runs it; does so at once in the next."""
    flag = os.path.join(FOLDER, "held")
    if os.path.exists(flag):
        return "second"
    with open(flag, "x", encoding="ascii"):
        pass
    while True:
        os.read(os.open(os.path.join(FOLDER, "never"), os.O_RDONLY), 1)
