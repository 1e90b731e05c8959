"""MLflow's models: versions of a name, the champion as an alias.

Models are ONNX files; pickle is refused. The sha256 of a version's file is a tag of the version. A
file that does not match it is not opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.settings import Settings
from ml.moved_lake import ARTIFACTS, CHAMPION, MODEL_FILE, SHA256, is_own, point_here
from ml.tracking import Tracking
from ml.use.predictor import open_model

CHALLENGER, HISTORY = "challenger", "champion_history"
ABOUT_MODEL = (
    "The app and the jobs use the version with the alias champion. The alias challenger is the "
    "best of the last study; `platelake promote` compares the two on the same items. The tags of a "
    "version have its figures, thresholds and data; the tag champion_history of the model says who "
    "promoted what, and why."
)


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    number: int
    run_id: str
    sha256: str

    def __str__(self) -> str:
        """Name it for messages."""
        return f"{self.name} version {self.number}"


def registry_of(settings: Settings, place: str = "") -> Registry:
    """Open the tracking server of the settings. Artifacts of the embedded one are in the lake.

    If the lake was moved, this corrects the paths in its embedded database. `place` is what names
    stage and lake on the command line, for the command that errors advise.
    """
    uri = settings.mlflow_address()
    if not uri.startswith("sqlite:"):
        return Registry(uri, place=place)
    lake = Path(settings.lake).resolve()
    if is_own(uri, lake):
        point_here(lake)
    return Registry(uri, (lake / ARTIFACTS).as_uri(), place)


class Registry(Tracking):
    """The models of one tracking server, or of the embedded SQLite file, and its runs."""

    def __init__(self, uri: str, artifacts: str | None = None, place: str = "") -> None:
        super().__init__(uri, artifacts)
        self._place = place

    def register(
        self,
        name: str,
        model_uri: str,
        run_id: str,
        content: bytes,
        tags: Mapping[str, str] | None = None,
        note: str = "",
    ) -> Version:
        """Register a logged model as the next version of a name, and make it the challenger.

        Args:
            name: of the registered model. It is made if it does not exist.
            model_uri: what `log_model` returned.
            run_id: the run that trained the model.
            content: the ONNX file that was logged. If MLflow stored other bytes, these must open.
            tags: of the version, such as its figures and thresholds.
            note: description of the version, in Markdown.

        Returns:
            The version, with the hash of the stored file.

        Raises:
            PlatelakeError: the stored file is not a model, or MLflow cannot be used.
        """
        with self._speaking():
            with suppress(MlflowException):  # If it exists already, the next line works.
                self._client.create_registered_model(name, description=ABOUT_MODEL)
            model_id = model_uri.rpartition("/")[2]
            made = self._client.create_model_version(name, model_uri, run_id, model_id=model_id)
            stored = Path(mlflow.artifacts.download_artifacts(model_uri)) / MODEL_FILE
            sha256 = hashlib.sha256(stored.read_bytes()).hexdigest()
            number = int(made.version)
            for key, value in {**(tags or {}), SHA256: sha256}.items():
                self._client.set_model_version_tag(name, str(number), key, value)
            if note:
                self._client.update_model_version(name, str(number), note)
            self._client.set_registered_model_alias(name, CHALLENGER, str(number))
        if sha256 != hashlib.sha256(content).hexdigest():
            open_model(stored.read_bytes(), name, number)  # MLflow may have rewritten it.
        return Version(name, number, run_id, sha256)

    def version(self, name: str, alias: str = CHAMPION) -> Version | None:
        """Find the version of an alias or a number. Return None if there is none."""
        with self._speaking():
            try:
                found = (
                    self._client.get_model_version(name, alias)
                    if alias.isdigit()
                    else self._client.get_model_version_by_alias(name, alias)
                )
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    return None
                raise
        return Version(name, int(found.version), str(found.run_id), found.tags.get(SHA256, ""))

    def describe(self, name: str, number: int) -> dict[str, Any] | None:
        """Read what is known of a version besides its file.

        Args:
            name: of the registered model.
            number: of the version.

        Returns:
            Its tags, run_id, `page` (path of the run's page below MLflow's address, or empty) and
            splits (names of the splits that it was trained with; empty if its run was deleted).
            None if there is no such version.
        """
        with self._speaking():
            try:
                found = self._client.get_model_version(name, str(number))
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return None
                raise
            about: dict[str, Any] = {
                "tags": dict(found.tags),
                "run_id": found.run_id,
                "page": "",
                "splits": [],
            }
            with suppress(MlflowException):  # The run may be deleted for good.
                run = self._client.get_run(str(found.run_id))
                about["page"] = f"experiments/{run.info.experiment_id}/runs/{found.run_id}"
                about["splits"] = [one for one in run.data.tags.get("splits", "").split(",") if one]
        return about

    def need(self, reference: str) -> Version:
        """Find the version of NAME@ALIAS, NAME@NUMBER, or NAME (its champion).

        Raises:
            UsageError: there is none.
        """
        name, _, alias = reference.partition("@")
        found = self.version(name, alias or CHAMPION)
        if found is None:
            raise UsageError(
                f"MLflow has no {name}@{alias or CHAMPION}; `platelake compare{self._place}` lists "
                "what there is; train a model, then promote it"
            )
        return found

    def content(self, version: Version) -> bytes:
        """Read the version's ONNX file.

        Raises:
            PlatelakeError: it is missing, or not the file that was registered, by its hash.
        """
        with self._speaking():
            uri = f"models:/{version.name}/{version.number}"
            file = Path(mlflow.artifacts.download_artifacts(uri)) / MODEL_FILE
        content = file.read_bytes() if file.is_file() else b""
        found = hashlib.sha256(content).hexdigest()
        if found != version.sha256:
            raise PlatelakeError(
                f"the file of {version} is not the one that was registered (sha256 {found[:16]}…, "
                f"registered {version.sha256[:16]}…); it is not loaded. Restore it from a backup, "
                "or train and promote another"
            )
        return content

    def load(self, reference: str) -> Any:
        """Open the LotModel or PhotoModel of a reference, as `need` finds it.

        Raises:
            UsageError: there is no such version.
            PlatelakeError: its file is not the one that was registered, or is not a model.
        """
        version = self.need(reference)
        return open_model(self.content(version), version.name, version.number)

    def move_champion(self, version: Version, record: Mapping[str, Any]) -> None:
        """Make a version the champion. Add the record of why to the model's history."""
        history = [*self.history(version.name), {**record, "version": version.number}]
        with self._speaking():
            self._client.set_registered_model_tag(version.name, HISTORY, json.dumps(history[-40:]))
            action = record.get("action", "promote")
            for key in ("reason", "by", "at"):
                self._client.set_model_version_tag(
                    version.name, str(version.number), f"{action}_{key}", str(record[key])
                )
            self._client.set_registered_model_alias(version.name, CHAMPION, str(version.number))

    def history(self, name: str) -> list[dict[str, Any]]:
        """Read the last 40 promotions and rollbacks of the model, the oldest first."""
        with self._speaking():
            tags = self._client.get_registered_model(name).tags
        found: list[dict[str, Any]] = json.loads(tags.get(HISTORY, "[]"))
        return [{"action": "promote", "before": None, **one} for one in found]
