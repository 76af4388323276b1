"""Notifications from Celery: a task that takes long tells the user in the chat when it is done.

    export CHATMASTER_STORE_URL=redis://127.0.0.1:6379/0      # the store of the chat; here the tasks' broker, too
    chatctl start -d
    celery --app notify_celery worker                          # in the folder of this file
    python notify_celery.py ada                                # asks for a report for the user ada

The user gets the message in the inbox at once, or with the next hello. A task that Celery runs twice, as it may after a
lost worker, notifies once: the key of the message is the id of the task. Needs `celery` and `redis`.
"""

import os
import sys
import time

from celery import Celery, Task

from chatmaster import Gateway, GatewayError

STORE = os.environ["CHATMASTER_STORE_URL"]
app = Celery("notify_celery", broker=os.environ.get("CELERY_BROKER_URL", STORE))
app.conf.task_acks_late = True  # a task whose worker dies is run again


@app.task(bind=True, autoretry_for=(GatewayError,), retry_backoff=True, max_retries=5)
def report(self: Task, user: str, pages: int) -> None:
    """Make a report, and tell the user."""
    for _ in range(pages):
        time.sleep(0.01)  # the work
    with Gateway(STORE) as gateway:
        gateway.notify(user, f"Your report of {pages} pages is ready.", sender="reports", key=self.request.id)


if __name__ == "__main__":
    print(report.delay(sys.argv[1], pages=12).id)
