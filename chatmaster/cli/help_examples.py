"""The examples that `chatctl COMMAND --help`, the manual page and the site show."""

from __future__ import annotations

import inspect
from typing import Final

EXAMPLES: Final[dict[str, tuple[str, ...]]] = {
    "start": (
        "chatctl start",
        "chatctl start app.py -d -n 4",
        "chatctl start --dev app.py",
        "chatctl start -d --set limits.rate=50",
    ),
    "stop": ("chatctl stop", "chatctl stop --graceful --timeout 600"),
    "restart": ("chatctl restart",),
    "reload": ("chatctl reload",),
    "upgrade": ("chatctl upgrade --program /opt/chatmaster-2/bin/chatctl",),
    "scale": ("chatctl scale 8", "chatctl scale -1"),
    "status": ("chatctl status", "chatctl status --check --json"),
    "top": ("chatctl top --sort memory",),
    "logs": ("chatctl logs -f",),
    "tail": ("chatctl tail lobby --json",),
    "check": ("chatctl check app.py --store",),
    "config": ("chatctl config --write",),
    "examples": ("chatctl examples given",),
    "doctor": ("chatctl doctor",),
    "bench": ("chatctl bench --connections 200 --seconds 10",),
    "demo": ("chatctl demo", "chatctl demo --page"),
    "drain": ("chatctl drain two --wait", "chatctl drain two --undo"),
    "completion": ("chatctl completion --install", "chatctl completion bash"),
    "man": ("chatctl man",),
    "say": ('chatctl say lobby "lunch is ready"', "chatctl say lobby hello --worker second --json"),
    "kick": ("chatctl kick ada", 'chatctl kick ada --room lobby --reason "calm down"'),
    "ban": ("chatctl ban ada", "chatctl ban ada --room lobby --seconds 3600 --reason spam"),
    "mute": ("chatctl mute ada --seconds 600", "chatctl mute ada --room lobby --reason noise"),
    "unban": ("chatctl unban ada", "chatctl unban ada --room lobby"),
    "unmute": ("chatctl unmute ada",),
    "bans": ("chatctl bans", 'chatctl bans --room "" --json'),
    "mutes": ("chatctl mutes --user ada",),
    "audit": ("chatctl audit --user ada", "chatctl audit --room lobby --json"),
    "token": ("chatctl token ada", "chatctl token ada --moderator --ttl 86400"),
    "rooms": ("chatctl rooms", "chatctl rooms --json"),
    "who": ("chatctl who lobby",),
    "connections": ("chatctl connections --user ada", "chatctl connections --room lobby --json"),
    "call": (
        """chatctl call notify '{"user": "ada", "text": "your build passed"}'""",
        """chatctl call members '{"room": "lobby", "limit": 10}'""",
        """chatctl call ban '{"user": "eve", "seconds": 600}' --key ban-eve-1""",
    ),
    "add": (
        "chatctl apikey add shop",
        'chatctl apikey add support --verbs messages,read --rooms "support-*" --rate 20',
    ),
    "revoke": ("chatctl apikey revoke shop",),
}


def with_examples(name: str | None, text: str | None) -> str | None:
    """The help of a command with its examples, as a paragraph that click prints as it is."""
    lines = EXAMPLES.get(name or "")
    if lines is None or text is None:
        return text
    return "\n".join((inspect.cleandoc(text), "", "\b", *(f"  {line}" for line in lines)))
