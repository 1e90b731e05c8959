"""MLflow: studies as runs, models as versions, the champion as an alias.

Only this module imports it. Models are ONNX files; pickle is refused. The sha256 of a version's
file is a tag of the version. A file that does not match it is not opened.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.settings import Settings
from lakehouse.urls import without_password
from ml.moved_lake import ARTIFACTS, is_own, point_here
from ml.use.predictor import open_model

os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

CHAMPION, CHALLENGER = "champion", "challenger"
SHA256, HISTORY = "sha256", "champion_history"
MODEL_FILE = "model.onnx"


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


def registry_of(settings: Settings) -> Registry:
    """Open the tracking server of the settings. Artifacts of the embedded one are in the lake.

    If the lake was moved, this corrects the paths in its embedded database.
    """
    uri = settings.mlflow_address()
    if not uri.startswith("sqlite:"):
        return Registry(uri)
    lake = Path(settings.lake).resolve()
    if is_own(uri, lake):
        point_here(lake)
    return Registry(uri, (lake / ARTIFACTS).as_uri())


class Registry:
    """One tracking server, or the embedded SQLite file.

    All methods raise PlatelakeError with the address if MLflow cannot be used.

    Args:
        uri: of the server or of the SQLite file.
        artifacts: URI of the folder for artifacts of new experiments, for a local one only.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     registry = Registry(f"sqlite:///{folder}/mlflow.db", Path(folder).as_uri())
        ...     with registry.run("chromate-lots", "decision_tree", {}) as run_id:
        ...         registry.log(run_id, {"seed": 0}, {"ap": 0.9})
        ...     run = registry.runs("chromate-lots")[0]
        >>> run["status"], run["params"], run["metrics"]
        ('FINISHED', {'seed': '0'}, {'ap': 0.9})
    """

    def __init__(self, uri: str, artifacts: str | None = None) -> None:
        import logging

        import mlflow

        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self.uri = uri
        self._artifacts = artifacts
        self._client = mlflow.MlflowClient(uri)

    # -- runs --------------------------------------------------------------------------------

    @contextmanager
    def run(
        self, experiment: str, name: str, tags: Mapping[str, str], parent: str | None = None
    ) -> Iterator[str]:
        """Open a run: it ends as FINISHED, as FAILED on an error, as KILLED on an interrupt.

        Args:
            experiment: its name. It is made if it does not exist.
            name: of the run.
            tags: of the run. Host and process are added, to find runs of a dead process.
            parent: id of the parent run.

        Yields:
            The run's id.
        """
        import mlflow

        with self._speaking():
            found = self._client.get_experiment_by_name(experiment)
            experiment_id = (
                found.experiment_id
                if found
                else self._client.create_experiment(experiment, self._artifacts)
            )
            own = {"host": socket.gethostname(), "process": str(os.getpid())}
            if parent:
                own["mlflow.parentRunId"] = parent
            run = self._client.create_run(experiment_id, run_name=name, tags={**tags, **own})
        run_id: str = run.info.run_id
        status = "FINISHED"
        try:
            yield run_id
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            raise
        finally:
            mlflow.end_run()
            try:
                with self._speaking():
                    self._client.set_terminated(run_id, status)
            except Exception:  # The error that ended the run says more than this one.
                if status == "FINISHED":
                    raise

    def log(
        self,
        run_id: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float | Sequence[float]],
        folder: Path | None = None,
    ) -> None:
        """Log parameters, figures, and all files below a folder.

        Args:
            run_id: the run.
            params: by name. Each value is cut to 6,000 characters.
            metrics: by name. Several values, by fold or by epoch, are logged as one step each. NaN
                and infinite values are left out.
            folder: files to log, with their folders.
        """
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        with self._speaking():
            self._client.log_batch(
                run_id,
                [
                    Metric(name, value, now, step)
                    for name, given in metrics.items()
                    for step, value in enumerate(given if isinstance(given, Sequence) else [given])
                    if math.isfinite(value)
                ],
                [Param(name, str(value)[:6_000]) for name, value in params.items()],
            )
            if folder is not None and folder.is_dir():
                self._client.log_artifacts(run_id, str(folder))

    def log_files(self, run_id: str, *files: Path) -> None:
        """Log single files."""
        with self._speaking():
            for file in files:
                self._client.log_artifact(run_id, str(file))

    def log_table(self, run_id: str, name: str, path: str, version: int) -> None:
        """Log the table and Delta version that the run learned from, without reading the table."""
        import mlflow
        from mlflow.data.delta_dataset_source import DeltaDatasetSource
        from mlflow.data.meta_dataset import MetaDataset

        source = DeltaDatasetSource(path=path, delta_table_version=version)
        with self._speaking(), mlflow.start_run(run_id=run_id):
            table = MetaDataset(source, name=name)  # type: ignore[abstract]
            mlflow.log_input(table, context="training")
        self._still_running(run_id)

    def log_model(self, run_id: str, content: bytes, example: Mapping[str, Any]) -> str:
        """Log an ONNX file with signature and example. Return the model's URI."""
        import mlflow
        import onnx
        from mlflow.models import infer_signature

        from ml.onnx import run

        outputs = run(content, example)
        with self._speaking(), mlflow.start_run(run_id=run_id):
            logged = mlflow.onnx.log_model(
                onnx.load_model_from_string(content),
                name="model",
                signature=infer_signature(dict(example), outputs),
                input_example=dict(example),
                pip_requirements=["onnxruntime"],
                save_as_external_data=False,
                onnx_execution_providers=["CPUExecutionProvider"],
            )
        self._still_running(run_id)
        return str(logged.model_uri)

    def _still_running(self, run_id: str) -> None:
        """Set the run to running again: MLflow's `start_run` ends it on leaving."""
        with self._speaking():
            self._client.update_run(run_id, status="RUNNING")

    def runs(self, experiment: str, where: str = "", at_most: int = 500) -> list[dict[str, Any]]:
        """List runs of an experiment, the newest first: id, name, status, tags, params, metrics.

        `where` is a filter in MLflow's syntax. If there is no such experiment, the list is empty.
        """
        with self._speaking():
            found = self._client.get_experiment_by_name(experiment)
            if found is None:
                return []
            pages = self._client.search_runs(
                [found.experiment_id],
                filter_string=where,
                max_results=at_most,
                order_by=["attributes.start_time DESC"],
            )
        return [
            {
                "id": run.info.run_id,
                "name": run.info.run_name,
                "status": run.info.status,
                "tags": dict(run.data.tags),
                "params": dict(run.data.params),
                "metrics": dict(run.data.metrics),
            }
            for run in pages
        ]

    def read_run(self, run_id: str) -> dict[str, Any]:
        """Read a run's metrics, params, run_id and experiment_id."""
        with self._speaking():
            run = self._client.get_run(run_id)
        return {
            "run_id": run.info.run_id,
            "experiment_id": run.info.experiment_id,
            "metrics": dict(run.data.metrics),
            "params": dict(run.data.params),
        }

    def read_json(self, run_id: str, path: str) -> Any:
        """Read a JSON file that was logged with the run."""
        with self._speaking():
            return json.loads(Path(self._client.download_artifacts(run_id, path)).read_text())

    def mark_killed(self, experiment: str, is_gone: Callable[[Mapping[str, str]], bool]) -> int:
        """Mark running runs as KILLED if `is_gone` says so of their tags. Return how many."""
        running = self.runs(experiment, "attributes.status = 'RUNNING'")
        left = [run for run in running if is_gone(run["tags"])]
        with self._speaking():
            for run in left:
                self._client.set_terminated(run["id"], "KILLED")
        return len(left)

    # -- models ------------------------------------------------------------------------------

    def register(self, name: str, model_uri: str, run_id: str, content: bytes) -> Version:
        """Register a logged model as the next version of a name, and make it the challenger.

        Args:
            name: of the registered model. It is made if it does not exist.
            model_uri: what `log_model` returned.
            run_id: the run that trained the model.
            content: the ONNX file that was logged. If MLflow stored other bytes, these must open.

        Returns:
            The version, with the hash of the stored file.

        Raises:
            PlatelakeError: the stored file is not a model, or MLflow cannot be used.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        with self._speaking():
            with suppress(MlflowException):  # If it exists already, the next line works.
                self._client.create_registered_model(name)
            model_id = model_uri.rpartition("/")[2]
            made = self._client.create_model_version(name, model_uri, run_id, model_id=model_id)
            stored = Path(mlflow.artifacts.download_artifacts(model_uri)) / MODEL_FILE
            sha256 = hashlib.sha256(stored.read_bytes()).hexdigest()
            number = int(made.version)
            self._client.set_model_version_tag(name, str(number), SHA256, sha256)
            self._client.set_registered_model_alias(name, CHALLENGER, str(number))
        if sha256 != hashlib.sha256(content).hexdigest():
            open_model(stored.read_bytes(), name, number)  # MLflow may have rewritten it.
        return Version(name, number, run_id, sha256)

    def version(self, name: str, alias: str = CHAMPION) -> Version | None:
        """Find the version of an alias or a number. Return None if there is none."""
        from mlflow.exceptions import MlflowException

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

    def need(self, reference: str) -> Version:
        """Find the version of NAME@ALIAS, NAME@NUMBER, or NAME (its champion).

        Raises:
            UsageError: there is none.
        """
        name, _, alias = reference.partition("@")
        found = self.version(name, alias or CHAMPION)
        if found is None:
            raise UsageError(
                f"MLflow has no {name}@{alias or CHAMPION}; `platelake compare` lists what there "
                "is, `platelake train` and `platelake promote` make it"
            )
        return found

    def content(self, version: Version) -> bytes:
        """Read the version's ONNX file.

        Raises:
            PlatelakeError: it is missing, or not the file that was registered, by its hash.
        """
        import mlflow

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
            self._client.set_registered_model_alias(version.name, CHAMPION, str(version.number))

    def history(self, name: str) -> list[dict[str, Any]]:
        """Read the last 40 promotions and rollbacks of the model, the oldest first."""
        with self._speaking():
            tags = self._client.get_registered_model(name).tags
        found: list[dict[str, Any]] = json.loads(tags.get(HISTORY, "[]"))
        return found

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Use this server, not that of another Registry, and raise errors as one sentence."""
        import mlflow
        from mlflow.exceptions import MlflowException

        mlflow.set_tracking_uri(self.uri)
        try:
            with warnings.catch_warnings():
                # Pixels and counts are whole numbers, and are never missing.
                warnings.filterwarnings("ignore", message="Hint: Inferred schema contains integer")
                yield
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            raise self._away(error) from None  # Its text may hold a password.
        except OSError as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> PlatelakeError:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        said = f"MLflow at {self.uri} cannot be used: {first[:200]}"
        return PlatelakeError(without_password(said))
