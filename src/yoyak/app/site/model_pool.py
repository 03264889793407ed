"""Models that are loaded when somebody asks for them. At most some stay in memory: the one that was used longest ago goes."""

import asyncio
import gc
import tempfile
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak.app.engine import Engine
from yoyak.app.model_source import ModelSource, fetch_experiment
from yoyak.app.site.models import Offer
from yoyak.system.errors import YoyakError

if TYPE_CHECKING:
    from yoyak.inference.shared_model import SharedModel

Loader = Callable[[Path, Offer, Path], "SharedModel"]  # root, model, an empty folder for its files
BATCH, QUEUE, CHECK_SECONDS = 8, 64, 0.05
STOP_SECONDS = 10.0


def load_offer(root: Path, offer: Offer, folder: Path) -> "SharedModel":
    """Load a model with the params of its run.

    Raises:
        YoyakError: if it is not there any more, is damaged, or cannot be loaded.
    """
    if offer.revision is None:
        source = ModelSource(root / "models" / offer.family, offer.name)
    else:
        source = fetch_experiment(offer.revision, root, folder)
    source.check()
    return source.load(())


@dataclass
class LoadedOffer:
    """A model in memory, or one that loads."""

    offer: Offer
    engine: Engine
    folder: "tempfile.TemporaryDirectory[str]"
    users: int = 0
    since: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        self.engine.stop(STOP_SECONDS)
        self.engine.model = None
        self.folder.cleanup()


class ModelPool:
    """Loads models and keeps at most `most` of them. It belongs to one event loop."""

    def __init__(self, root: Path, *, most: int, load: Loader = load_offer) -> None:
        self.root, self.most, self._load = root, most, load
        self._loaded: OrderedDict[str, LoadedOffer] = OrderedDict()
        self._places = asyncio.Semaphore(most)

    @property
    def names(self) -> dict[str, str]:
        """The state of each model that is loaded, by id."""
        return {key: each.engine.state for key, each in self._loaded.items()}

    @asynccontextmanager
    async def use(self, offer: Offer) -> AsyncIterator[LoadedOffer]:
        """The model, which may still load (`ready`). It stays as long as the block runs."""
        async with self._places:
            loaded = self._loaded.get(offer.id)
            if loaded is None or loaded.engine.state in ("failed", "stopping"):
                if loaded is not None:
                    self._drop(offer.id)
                self._make_room()
                loaded = self._loaded[offer.id] = self._start(offer)
            self._loaded.move_to_end(offer.id)
            loaded.users += 1
            try:
                yield loaded
            finally:
                loaded.users -= 1

    def _start(self, offer: Offer) -> LoadedOffer:
        folder = tempfile.TemporaryDirectory(prefix="yoyak-app-")
        engine = Engine(lambda: self._load(self.root, offer, Path(folder.name)), batch=BATCH, queue=QUEUE)
        engine.start()
        return LoadedOffer(offer, engine, folder)

    def _make_room(self) -> None:
        idle = [key for key, each in self._loaded.items() if not each.users]
        for key in idle[: max(0, len(self._loaded) - self.most + 1)]:
            self._drop(key)

    def _drop(self, key: str) -> None:
        self._loaded.pop(key).close()
        gc.collect()  # the memory of the weights

    def close(self) -> None:
        """End all threads."""
        for key in list(self._loaded):
            self._drop(key)


async def ready(loaded: LoadedOffer) -> "SharedModel":
    """The model, as soon as it is loaded.

    Raises:
        YoyakError: if it cannot be loaded.
    """
    engine = loaded.engine
    while engine.state == "loading":
        await asyncio.sleep(CHECK_SECONDS)
    if engine.state == "ready" and engine.model is not None:
        return engine.model
    if isinstance(engine.failure, YoyakError):
        raise engine.failure
    raise YoyakError(f"{loaded.offer.name}: this model cannot be loaded ({type(engine.failure).__name__})") from engine.failure
