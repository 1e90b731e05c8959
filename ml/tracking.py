"""MLflow's runs: what a study logs, and reads again.

Only this module and the registry import MLflow.
"""

from __future__ import annotations

import getpass
import json
import logging
import math
import os
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import onnx
from mlflow.data.delta_dataset_source import DeltaDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature

from lakehouse.errors import PlatelakeError
from lakehouse.urls import without_password
from ml.onnx import run as run_onnx

NOTE, KIND = "mlflow.note.content", "mlflow.experimentKind"
TRAINING = "custom_model_development"
"""The kind of experiment whose page begins with runs and charts, not with prompts and traces."""
ABOUT = (
    "Studies of {}, by `platelake train`. A run is a study: its figures are those of the winner. "
    "The runs below it are the candidates, tested out of fold on the same splits."
)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # A container may run as a user without a name.
        return "unknown"


class Tracking:
    """One tracking server, or the embedded SQLite file.

    All methods raise PlatelakeError with the address if MLflow cannot be used.

    Args:
        uri: of the server or of the SQLite file.
        artifacts: URI of the folder for artifacts of new experiments, for a local one only.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     tracking = Tracking(f"sqlite:///{folder}/mlflow.db", Path(folder).as_uri())
        ...     with tracking.run("chromate-lots", "decision_tree", {}) as run_id:
        ...         tracking.log(run_id, {"seed": 0}, {"ap": 0.9})
        ...     run = tracking.runs("chromate-lots")[0]
        >>> run["status"], run["params"], run["metrics"]
        ('FINISHED', {'seed': '0'}, {'ap': 0.9})
    """

    def __init__(self, uri: str, artifacts: str | None = None) -> None:

        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self.uri = uri
        self._artifacts = artifacts
        self._client = mlflow.MlflowClient(uri)

    @contextmanager
    def run(
        self,
        experiment: str,
        name: str,
        tags: Mapping[str, str],
        parent: str | None = None,
        note: str = "",
    ) -> Iterator[str]:
        """Open a run: it ends as FINISHED, as FAILED on an error, as KILLED on an interrupt.

        Args:
            experiment: its name. It is made if it does not exist.
            name: of the run.
            tags: of the run. Host and process are added, to find runs of a dead process.
            parent: id of the parent run.
            note: description of the run, in Markdown.

        Yields:
            The run's id.
        """
        with self._speaking():
            found = self._client.get_experiment_by_name(experiment)
            experiment_id = (
                found.experiment_id
                if found
                else self._client.create_experiment(
                    experiment, self._artifacts, {KIND: TRAINING, NOTE: ABOUT.format(experiment)}
                )
            )
            own = {"host": socket.gethostname(), "process": str(os.getpid())}
            own |= {"mlflow.source.name": "platelake", "mlflow.source.type": "JOB"}
            own["mlflow.user"] = _user()
            if "git_commit" in tags:
                own["mlflow.source.git.commit"] = tags["git_commit"]
            if note:
                own[NOTE] = note
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

    def describe_run(self, run_id: str, note: str, tags: Mapping[str, str]) -> None:
        """Set the description of a run, in Markdown, and tags."""
        with self._speaking():
            for name, value in {NOTE: note, **tags}.items():
                self._client.set_tag(run_id, name, value)

    def log_files(self, run_id: str, *files: Path) -> None:
        """Log single files."""
        with self._speaking():
            for file in files:
                self._client.log_artifact(run_id, str(file))

    def log_table(self, run_id: str, name: str, path: str, version: int) -> None:
        """Log the table and Delta version that the run learned from, without reading the table."""
        source = DeltaDatasetSource(path=path, delta_table_version=version)
        with self._speaking(), mlflow.start_run(run_id=run_id):
            table = MetaDataset(source, name=name)  # type: ignore[abstract]
            mlflow.log_input(table, context="training")
        self._still_running(run_id)

    def log_model(self, run_id: str, content: bytes, example: Mapping[str, Any]) -> str:
        """Log an ONNX file with signature and example. Return the model's URI."""
        outputs = run_onnx(content, example)
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

    def candidates(self, experiment: str) -> list[dict[str, Any]]:
        """List the finished runs of candidates, the newest first."""
        return self.runs(experiment, "tags.candidate LIKE '%' AND attributes.status = 'FINISHED'")

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

    def keep_json(self, run_id: str, path: str, content: Mapping[str, Any]) -> None:
        """Log a JSON file with a run."""
        with self._speaking():
            self._client.log_dict(run_id, dict(content), path)

    def find_json(self, run_id: str, path: str) -> Any:
        """Read a JSON file that was logged with the run; None if there is none, or no such run."""
        try:
            with self._speaking():
                there = {one.path for one in self._client.list_artifacts(run_id)}
        except MlflowException:  # The run is gone.
            return None
        return self.read_json(run_id, path) if path in there else None

    def mark_killed(self, experiment: str, is_gone: Callable[[Mapping[str, str]], bool]) -> int:
        """Mark running runs as KILLED if `is_gone` says so of their tags. Return how many."""
        running = self.runs(experiment, "attributes.status = 'RUNNING'")
        left = [run for run in running if is_gone(run["tags"])]
        with self._speaking():
            for run in left:
                self._client.set_terminated(run["id"], "KILLED")
        return len(left)

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Use this server, not that of another Registry, and raise errors as one sentence."""
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
