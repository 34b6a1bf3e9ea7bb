"""What the tests of security share."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest


@pytest.fixture
def kfp_requests(kfp: Any, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the pipeline server of the tests is sent from now on: address, headers but Authorization, body."""
    handler = sys.modules["kfp_api"].Handler
    real, received = handler._answer, []

    def remembered(self: Any, path: str) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() != "authorization"}
        received.append(json.dumps([self.path, headers]).encode() + self.raw)
        real(self, path)

    monkeypatch.setattr(handler, "_answer", remembered)
    return received
