"""What agent and client agree on. Every answer repeats what it is about: the file's sha256, and the target."""

from __future__ import annotations

import json
from enum import StrEnum

from nas.study.targets import Target

DEFAULT_PORT = 8947
MEASURE, FINGERPRINT = "/measure", "/fingerprint"
TARGET_HEADER, SHA256_HEADER = "X-Compact-Nas-Target", "X-Compact-Nas-Sha256"
# While a request waits or is worked at, the agent sends a blank this often: silence says that it is gone.
HEARTBEAT_SECONDS, SILENCE_SECONDS = 3.0, 30.0
MOST_ANSWER_BYTES = 4 * 2**20


class Outcome(StrEnum):
    """What became of a request, besides being answered: the key under which the answer says why."""

    REFUSED = "refused"  # the runtime refuses the file, or it is not one of the runtime's; the file is to blame
    WRONG = "wrong"  # the target is none that this agent knows or has; the study is to blame
    UNABLE = "unable"  # the agent ends, or cannot start what measures; nobody is to blame


def target_text(target: Target) -> str:
    """A target as it is sent, in ASCII: what the device has to know of it, and not how to reach the device."""
    keys = ("name", "runtime", "provider", "threads", "batch")
    return json.dumps({key: getattr(target, key) for key in keys})
