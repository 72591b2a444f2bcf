"""The bridge. See docs/architecture.md."""

import sys

METRICS_SDK = "opentelemetry.sdk.metrics"
"""redis-py loads it wherever it is installed: 60 modules, 2 MB in each process, for metrics that nobody asks for. `None` says that
it cannot be imported. Traces, which need parts of it, allow it again (app.telemetry.tracing)."""

sys.modules.setdefault(METRICS_SDK, None)  # type: ignore[arg-type]
