"""Verdicts on photo files. MLflow is imported only if the lake's own database has no answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jobs.context import RunContext
from jobs.options import Options
from jobs.runner import begin
from lakehouse.errors import UsageError
from lakehouse.files.photos import PhotoError
from ml.moved_lake import embedded_model
from ml.use.predictor import PhotoModel, Verdict, open_model


def predict(options: Options, photos: Sequence[Path], model: str | None, as_json: bool) -> int:
    """Print a verdict on each photo file; returns exit code 1 if a photo has none."""
    context = begin(options, lake_must_exist=True)
    opened = _open(context, model or f"{context.stage.name}-photos")
    if not isinstance(opened, PhotoModel):
        raise UsageError(f"{opened.name} is a model of lots, not of photos; name a model of photos")
    failed, verdicts = 0, Counter[str]()
    for photo in photos:
        line = {"file": str(photo), **asdict(_predicted(opened, photo, context))}
        failed += line["probability"] is None
        text = f"{photo}: {said(line)}".encode(errors="backslashreplace").decode()
        print(json.dumps(line) if as_json else text, flush=True)
        verdicts[line["verdict"]] += 1
    if len(photos) > 1 and not as_json:
        print(f"{len(photos)} photos: " + ", ".join(f"{n} {one}" for one, n in verdicts.items()))
    return 1 if failed else 0


def said(line: Mapping[str, Any]) -> str:
    """The verdict for a person, or why there is none."""
    if line["probability"] is None:
        return str(line["reason"])
    reason = f", {line['reason']}" if line["reason"] else ""
    return (
        f"{line['verdict']}, probability {line['probability']:.3f} "
        f"(good below {line['low']:.3f}, bad from {line['high']:.3f}){reason}"
    )


def _predicted(model: PhotoModel, photo: Path, context: RunContext) -> Verdict:
    try:
        content = read_photo(photo, context)
    except PhotoError as error:
        return model.unreadable(f"{error.rule}: {error}")
    return model.predict([content], context.settings, context.stage.photo_bits)[0]


def read_photo(photo: Path, context: RunContext) -> bytes:
    """The file's bytes; raises PhotoError."""
    limit = context.settings.max_photo_bytes
    try:
        with photo.open("rb") as stream:
            content = stream.read(limit + 1)
    except OSError as error:
        raise PhotoError("unreadable", error.strerror or str(error)) from None
    if len(content) > limit:
        raise PhotoError("too_large", f"more than {limit} bytes")
    return content


def _open(context: RunContext, reference: str) -> Any:
    """Open the model of this reference, as the registry does; without MLflow if it can be done."""
    found = embedded_model(context.settings, reference)
    if found:
        content, name, number = found
        return open_model(content, name, number)
    from jobs.train import open_registry

    return open_registry(context).load(reference)
