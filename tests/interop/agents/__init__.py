"""The scripted users. No code here is shared with the gateway."""

import logging

logging.getLogger("slixmpp").setLevel(logging.CRITICAL)
