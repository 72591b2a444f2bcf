"""The bridge. See docs/architecture.md."""

import sys

OTEL_METRICS = "opentelemetry.metrics"
"""redis-py loads it and its SDK wherever they are installed: 60 modules, 3 MB in each process, for metrics that nobody asks for.
`None` says that it cannot be imported. Traces, which need parts of it, allow it again (app.telemetry.tracing)."""

sys.modules.setdefault(OTEL_METRICS, None)  # type: ignore[arg-type]
