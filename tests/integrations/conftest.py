from __future__ import annotations

import os

# no network in tests; both libraries look at these when they are imported
os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", HF_HUB_OFFLINE="1")
