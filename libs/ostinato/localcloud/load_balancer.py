"""What stands before several engines in production: what is pushed to one address goes to each in turn. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit


class LoadBalancer:
    """`members`: addresses, by the one that stands for them in the URLs of pushes. Other URLs are left as they are."""

    def __init__(self, members: Mapping[str, Sequence[str]]) -> None:
        self._members = {front: deque(behind) for front, behind in members.items()}

    def routes(self, url: str) -> list[str]:
        """The URL with each address that may take the push; whose turn it is comes first."""
        parts = urlsplit(url)
        members = self._members.get(parts.netloc)
        if not members:
            return [url]
        routes = [parts._replace(netloc=member).geturl() for member in members]
        members.rotate(-1)
        return routes
