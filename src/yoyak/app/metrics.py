"""What /metrics shows, in the text format of Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

from yoyak.app.engine import Batch

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The counters of one server."""

    def __init__(self, *, waiting: Callable[[], float], is_ready: Callable[[], float]) -> None:
        """
        Args:
            waiting: the dialogues in the queue.
            is_ready: 1 if the server takes requests, or else 0.
        """
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU time, open files
        self.requests = Counter("yoyak_requests", "Answers by path and status.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "yoyak_request_seconds", "Seconds until the answer.", ["path"], buckets=SECONDS, registry=registry
        )
        self.running = Gauge("yoyak_requests_in_progress", "Requests without an answer yet.", registry=registry)
        self.dialogues = Counter("yoyak_dialogues", "Dialogues that were summarized.", registry=registry)
        self.tokens = Counter("yoyak_tokens", "Tokens that the model read and wrote.", ["direction"], registry=registry)
        self.batch_size = Histogram(
            "yoyak_batch_dialogues", "Dialogues that were written together.", buckets=SIZES, registry=registry
        )
        self.batch_seconds = Histogram(
            "yoyak_batch_seconds", "Seconds that a batch took to write.", buckets=SECONDS, registry=registry
        )
        Gauge("yoyak_queue_dialogues", "Dialogues that wait.", registry=registry).set_function(waiting)
        Gauge("yoyak_ready", "Whether the server takes requests.", registry=registry).set_function(is_ready)

    def batch(self, batch: Batch) -> None:
        """Count a batch of the engine."""
        self.dialogues.inc(batch.dialogues)
        self.batch_size.observe(batch.dialogues)
        self.batch_seconds.observe(batch.seconds)
        self.tokens.labels("input").inc(batch.input_tokens)
        self.tokens.labels("output").inc(batch.output_tokens)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count an answer. `path` is one of a fixed set, so that clients cannot make series."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """The page."""
        page: bytes = generate_latest(self.registry)
        return page
