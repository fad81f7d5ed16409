"""The models that are loaded, by name and version; loaded, replaced and unloaded while others answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from confide.errors import ConfideError, InvalidFormat
from confide.keys.material import Keyset
from confide.serving.batcher import Limits
from confide.serving.failures import UnknownModel
from confide.serving.metrics import Metrics
from confide.serving.model import Model
from confide.serving.repository import Source
from confide.serving.runtime import Runtime, open_model
from confide.serving.warm import Warmed, warm

Tell = Callable[..., None]


@dataclass(frozen=True)
class _Failed:
    """A version that did not load.

    Attributes:
        digest: of its files.
        reason: that anybody may read.
        final: those files are no model; else storage may have them another time.
    """

    digest: str
    reason: str
    final: bool

    @classmethod
    def of(cls, error: Exception, digest: str) -> Self:
        reason = error.public if isinstance(error, ConfideError) else ConfideError.public
        return cls(digest, reason, isinstance(error, InvalidFormat))


class Models:
    """The loaded models, on one event loop.

    Args:
        limits: name -> bounds of a model's queue.
        cores: processors that a model may use; None: all.
        scratch: for the plaintext of sealed models while they are loaded.
        metrics: counts.
        tell: is told each event: what, and details without any payload.
    """

    def __init__(
        self, limits: Callable[[str], Limits], cores: int | None, scratch: Path, metrics: Metrics, tell: Tell
    ) -> None:
        self._limits, self._cores, self._scratch = limits, cores, scratch
        self._metrics, self._tell = metrics, tell
        self._loaded: dict[str, dict[str, Model]] = {}
        self._failed: dict[tuple[str, str], _Failed] = {}
        self._executor = ThreadPoolExecutor(thread_name_prefix="model")
        self._loader = ThreadPoolExecutor(thread_name_prefix="load")

    def get(self, name: str, version: str | None = None) -> Model:
        """Return a model; without a version the highest.

        Raises:
            UnknownModel: it is not loaded.
        """
        versions = self._loaded.get(name)
        if not versions:
            raise UnknownModel(f"no model {name!r}")
        if version is None:
            return next(iter(versions.values()))
        if version not in versions:
            raise UnknownModel(f"model {name!r} has no version {version!r}")
        return versions[version]

    def versions(self, name: str) -> list[str]:
        """Return the loaded versions of a model, the lowest first."""
        return sorted(self._loaded.get(name, ()), key=int)

    def all(self) -> list[Model]:
        """Return every loaded version of every model."""
        return [model for versions in self._loaded.values() for model in versions.values()]

    def index(self) -> list[dict[str, Any]]:
        """Return the repository's index, as the protocol's model repository extension has it."""
        ready = [{"name": m.name, "version": m.version, "state": "READY"} for m in self.all()]
        failed = [
            {"name": name, "version": version, "state": "UNAVAILABLE", "reason": failed.reason}
            for (name, version), failed in self._failed.items()
        ]
        return sorted(ready + failed, key=lambda entry: (entry["name"], int(entry["version"])))

    async def follow(
        self, sources: Mapping[tuple[str, str], Source], keyset: Keyset, *, strict: bool = False
    ) -> None:
        """Load what is new or has changed, and unload what is gone; what fails to load is told and left out.

        What is gone is unloaded first: loading may take as long as storage likes. A version that is replaced answers
        until the new one is warm, or has failed: its files are no longer what its owner has there. To be cancelled when
        there are other sources: what it was loading then is not put up.

        Args:
            sources: the versions that there are.
            keyset: opens sealed ones.
            strict: what fails to load raises.
        """
        for model in self.all():
            if (model.name, model.version) not in sources:
                await self._unload(model)
        for key in self._failed.keys() - sources.keys():
            del self._failed[key]
        for key, source in sources.items():
            known = self._loaded.get(source.name, {}).get(source.version)
            failed = self._failed.get(key)
            if known is not None and known.digest == source.digest:
                continue
            if failed is not None and failed.final and failed.digest == source.digest:
                continue
            try:
                await self._load(source, keyset)
            except Exception as error:
                if strict:
                    raise
                if known is not None:
                    await self._unload(known)
                self._failed[key] = now = _Failed.of(error, source.digest)
                if now != failed:
                    reason = str(error) if isinstance(error, ConfideError) else type(error).__name__
                    self._tell("model-failed", model=source.name, version=source.version, reason=reason)

    async def close(self) -> None:
        """Answer what waits, and unload everything; what is still being loaded is not waited for."""
        for model in self.all():
            await self._unload(model)
        self._executor.shutdown(wait=True)
        self._loader.shutdown(wait=False, cancel_futures=True)

    async def _load(self, source: Source, keyset: Keyset) -> None:
        limits = self._limits(source.name)
        runtime, warmed = await asyncio.get_running_loop().run_in_executor(
            self._loader, self._open, source, keyset, limits
        )
        self._failed.pop((source.name, source.version), None)
        model = Model.start(
            source.name,
            source.version,
            source.digest,
            runtime,
            warmed,
            limits,
            self._executor,
            self._metrics.of(source.name, source.version),
        )
        old = self._loaded.get(source.name, {}).get(source.version)
        self._put(source.name, {**self._loaded.get(source.name, {}), source.version: model})
        if old is not None:
            await old.batcher.close()
        self._tell(
            "model-ready",
            model=source.name,
            version=source.version,
            batched=warmed.batchable,
            warm=warmed.ran,
            run_us=round(warmed.cost.seconds(1) * 1e6),
        )

    def _open(self, source: Source, keyset: Keyset, limits: Limits) -> tuple[Runtime, Warmed]:
        with source.opened(keyset, self._scratch) as path:
            runtime = open_model(path, self._cores)
        return runtime, warm(runtime, limits.max_batch)

    async def _unload(self, model: Model) -> None:
        versions = dict(self._loaded[model.name])
        del versions[model.version]
        self._put(model.name, versions)
        await model.batcher.close()
        self._tell("model-unloaded", model=model.name, version=model.version)

    def _put(self, name: str, versions: dict[str, Model]) -> None:
        ordered = dict(sorted(versions.items(), key=lambda item: -int(item[0])))
        if ordered:
            self._loaded[name] = ordered
        else:
            self._loaded.pop(name, None)
