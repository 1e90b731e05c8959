"""The model in use: MLflow's champion, changed without a pause when the alias moves.

The last champion is stored on the local disk, so that the app can predict and start while MLflow
is away. A file that does not match its registered hash never becomes the model.
"""

from __future__ import annotations

import functools
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from lakehouse.errors import PlatelakeError
from ml.figures.cross_validation import CrossValidation
from ml.figures.predictions import PREDICTIONS_FILE, predictions_from_json
from ml.registry import Registry, Version
from ml.study.model_card import CARD_FILE
from ml.use.predictor import open_model


@dataclass(frozen=True)
class ChampionRecord:
    """Facts about a champion besides its file: figures, protocol, when and why promoted."""

    metrics: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    run_id: str = ""
    experiment_id: str = ""
    promoted: dict[str, Any] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """How it was evaluated: `kfold, folds 5, seeds 3, by lot`."""
        known = [
            self.params.get("protocol") or self.params.get("name", ""),
            f"folds {self.params['folds']}" if "folds" in self.params else "",
            f"seeds {self.params['seeds']}" if "seeds" in self.params else "",
            f"by {self.params['group']}" if "group" in self.params else "",
            f"near {self.params['near']}" if "near" in self.params else "",
        ]
        return ", ".join(part for part in known if part)

    def count(self, name: str) -> int:
        """Return a metric that counts something."""
        return int(self.metrics.get(name, 0))

    @property
    def page(self) -> str:
        """Path of the run's page below MLflow's address; empty if there is none."""
        return f"experiments/{self.experiment_id}/runs/{self.run_id}" if self.run_id else ""


class Champion:
    """The champion of one registered model. `model` and `honest` always change together."""

    def __init__(self, registry: Registry, name: str, folder: Path) -> None:
        self.name = name
        self.reachable = True
        """Whether MLflow answered the last request."""
        self._registry, self._folder = registry, folder
        self._now: tuple[Any, ChampionRecord] = (None, ChampionRecord())
        self._tested = functools.lru_cache(1)(self._read_predictions)
        self._card = functools.lru_cache(1)(self._read_card)
        self._refreshing = threading.Lock()

    @property
    def model(self) -> Any:
        """The LotModel or PhotoModel in use; None if there is none yet."""
        return self._now[0]

    @property
    def honest(self) -> ChampionRecord:
        """The record of the model in use."""
        return self._now[1]

    def tested(self) -> CrossValidation | None:
        """Return its out-of-fold predictions; None without a model, or while MLflow is away."""
        try:
            return self._tested(self.honest.run_id) if self.honest.run_id else None
        except PlatelakeError:
            return None

    def _read_predictions(self, run_id: str) -> CrossValidation:
        return predictions_from_json(self._registry.read_json(run_id, PREDICTIONS_FILE))

    def card(self) -> Any:
        """Read the model card of the model in use; None if it has none or MLflow is away."""
        try:
            return self._card(self.honest.run_id) if self.honest.run_id else None
        except PlatelakeError:
            return None

    def _read_card(self, run_id: str) -> Any:
        return self._registry.find_json(run_id, CARD_FILE)

    def refresh(self) -> None:
        """Ask MLflow which version is the champion; keep the last one if it does not answer."""
        with self._refreshing:
            try:
                version = self._registry.version(self.name)
                if not self._is_current(version):
                    self._change_to(version)
                self.reachable = True
            except PlatelakeError as error:
                if self.reachable:
                    log = structlog.get_logger()
                    log.warning("the champion cannot be read", model=self.name, error=str(error))
                self.reachable = False
                if self.model is None:
                    self._restore()

    def _is_current(self, version: Version | None) -> bool:
        if version is None or self.model is None:
            return version is None and self.model is None
        return (version.number, version.sha256) == (self.model.version, self.model.sha256)

    def _change_to(self, version: Version | None) -> None:
        if version is None:
            self._now = (None, ChampionRecord())
            return
        content = self._registry.content(version)
        model = open_model(content, version.name, version.number)
        honest = self._honest(version)
        self._keep(content, version, honest)
        self._now = (model, honest)
        structlog.get_logger().info("champion", model=self.name, version=version.number)

    def _honest(self, version: Version) -> ChampionRecord:
        run = self._registry.read_run(version.run_id)
        history = self._registry.history(version.name)
        promoted = [entry for entry in history if entry.get("version") == version.number]
        return ChampionRecord(**run, promoted=promoted[-1] if promoted else {})

    def _keep(self, content: bytes, version: Version, honest: ChampionRecord) -> None:
        """Write the model file first, then the record that names it by its hash."""
        self._folder.mkdir(parents=True, exist_ok=True)
        model, about = self._files()
        _write(model, content)
        kept = {"version": vars(version), "honest": vars(honest)}
        _write(about, json.dumps(kept).encode())

    def _restore(self) -> None:
        model, about = self._files()
        try:
            kept = json.loads(about.read_text())
            version = Version(**kept["version"])
            opened = open_model(model.read_bytes(), version.name, version.number)
            if opened.sha256 != version.sha256:
                raise PlatelakeError("its file has changed")
            self._now = (opened, ChampionRecord(**kept["honest"]))
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, PlatelakeError) as error:
            log = structlog.get_logger()
            log.error("the stored champion is not used", file=str(model), error=str(error))

    def _files(self) -> tuple[Path, Path]:
        return self._folder / f"{self.name}.onnx", self._folder / f"{self.name}.json"


def _write(file: Path, content: bytes) -> None:
    part = file.with_name(f"{file.name}.part")
    part.write_bytes(content)
    part.replace(file)
