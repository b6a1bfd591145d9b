"""Models by name, for study files and the command line. Imports no torch."""

from __future__ import annotations

MODELS: dict[str, str] = {
    "mlp": "minaction.models.conventional:sized_mlp",
    "cnn": "minaction.models.conventional:sized_cnn",
}
"""Name of each model and the function that sizes it for a data set, as `module:function`."""
