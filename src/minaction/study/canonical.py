"""One spelling for every value: what run ids, study hashes and journal lines are made of."""

from __future__ import annotations

import hashlib
import json

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_json(value: object) -> str:
    """Write a value as JSON in the one way this package ever writes it.

    Sorted keys, no spaces, ASCII only, floats in their shortest exact form.

    Raises:
        ValueError: For NaN and infinities, which JSON does not have.
    """
    return _ENCODER.encode(value)


def sha256_of(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode("ascii")).hexdigest()
