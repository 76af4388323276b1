"""The port of notify.php: from a web application to the clients of events.py; needs the address of the store.

export CHATMASTER_STORE_URL=redis://127.0.0.1:6379/0      # `chatctl status` shows it
python notify.py ada "your build passed"
"""

import json
import os
import sys

from chatmaster import Gateway

user, text = sys.argv[1:]
with Gateway(os.environ["CHATMASTER_STORE_URL"]) as gateway:
    if not gateway.is_online(user):
        sys.exit(f"{user} is not connected")
    gateway.send_to_user(user, json.dumps({"type": "notice", "text": text}))
