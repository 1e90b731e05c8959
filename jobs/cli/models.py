"""The commands for models: train, compare, promote, rollback, predict, explain, reproduce."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.options import JsonFile, LakeOption, MasksLanding, Options, SqlUrl, Stage, StageFile

train_app = typer.Typer(help="Train models on the lake; the best becomes challenger.")

ProtocolOption = Annotated[
    str, typer.Option("--protocol", help="kfold, forward or leave_one_group_out")
]
Folds = Annotated[int, typer.Option("--folds", min=2, help="Folds of kfold")]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Splits, by seed 0, 1, …; means over")]
Name = Annotated[str, typer.Argument(help="Registered model, such as chromate-lots")]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="NAME, NAME@ALIAS or NAME@NUMBER; else the champion")
]


@train_app.command("trees")
def train_trees(
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Only this kind (may be repeated)")
    ] = None,
    protocol: ProtocolOption = "kfold",
    folds: Folds = 5,
    seeds: Seeds = 1,
    group: Annotated[str, typer.Option("--group", help="What stays together: lot or day")] = "lot",
    trials: Annotated[
        int, typer.Option("--trials", min=0, help="Tries of a search in each round; 0: none")
    ] = 0,
    width: Annotated[
        float | None,
        typer.Option("--width", min=0.1, help="Width of the bands; else chosen in each round"),
    ] = None,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    json_file: JsonFile = None,
) -> None:
    """Trees of several kinds and a logistic baseline, on the labelled lots."""
    from jobs import train
    from ml.study.context import Protocol

    options = Options(stage, stage_file, lake=lake, json_file=json_file)
    protocol_of = Protocol(protocol, folds, seeds)
    train.train_trees(options, kind or [], protocol_of, group, trials, width)


@train_app.command("photos")
@train_app.command("cnn", help="An older name of `train photos`.", hidden=True)
def train_photos(
    network: Annotated[
        list[str] | None,
        typer.Option(
            "--network", help="patches, small, first_study or timm:NAME (may be repeated)"
        ),
    ] = None,
    protocol: ProtocolOption = "kfold",
    folds: Folds = 5,
    seeds: Seeds = 1,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="Passes at most")] = None,
    groups: Annotated[
        str | None,
        typer.Option("--groups", help="FILE:COLUMN of a csv with name: photos of one group"),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option("--kinds", help="FILE:COLUMN: kinds of defect, for the model card"),
    ] = None,
    near: Annotated[
        int | None,
        typer.Option("--near", min=-1, help="Bits apart of perceptual hashes in a group; -1: none"),
    ] = None,
    members: Annotated[
        int, typer.Option("--members", min=1, help="Networks whose mean is the verdict")
    ] = 1,
    processes: Annotated[
        int, typer.Option("--processes", min=1, help="Processes that share each batch")
    ] = 1,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Safetensors file for timm networks; lite0 brings its own"),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option("--masks", help="Folder of masks that show patches where the defects are"),
    ] = None,
    landing: MasksLanding = None,
    fine_tune: Annotated[
        bool, typer.Option("--fine-tune", help="Train these weights too, not a layer on them alone")
    ] = False,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    json_file: JsonFile = None,
) -> None:
    """Models of patches, and other networks, on the labelled pictures."""
    from jobs import train
    from ml.photos.recipe import PATCHES, recipe_for
    from ml.study.context import Protocol

    recipes = [
        recipe_for(name, epochs, members, processes, weights, fine_tune, masks)
        for name in dict.fromkeys(network or [PATCHES])
    ]
    options = Options(stage, stage_file, lake=lake, json_file=json_file)
    protocol_of = Protocol(protocol, folds, seeds)
    train.train_photos(options, recipes, protocol_of, groups, near, landing, kinds)


@train_app.command("log")
def train_log(
    folder: Annotated[Path, typer.Argument(help="The folder that the training named")],
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
) -> None:
    """Log a study that was trained while MLflow was away."""
    from jobs import train

    train.log_kept(Options(stage, stage_file, lake=lake), folder)


def compare(
    kind: Annotated[str | None, typer.Option("--of", help="lots or photos; else both")] = None,
    last: Annotated[int, typer.Option("--last", min=1, help="Candidates at most")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON line for each candidate")] = False,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
) -> None:
    """The trained candidates with their figures and intervals, and what they save."""
    from jobs import models

    models.compare(Options(stage, stage_file, lake=lake), kind, last, as_json)


def promote(
    name: Name,
    force: Annotated[
        str | None, typer.Option("--force", help="Promote all the same, for this reason")
    ] = None,
    if_better: Annotated[
        bool, typer.Option("--if-better", help="A champion that stays is no error")
    ] = False,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    json_file: JsonFile = None,
) -> None:
    """Make the challenger champion, if it is better on the same items."""
    from jobs import models

    options = Options(stage, stage_file, lake=lake, json_file=json_file)
    models.promote_challenger(options, name, force, if_better=if_better)


def rollback(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is kept")],
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
) -> None:
    """Make the previous champion the champion again."""
    from jobs import models

    models.roll_back(Options(stage, stage_file, lake=lake), name, reason)


def predict_photos(
    photos: Annotated[list[Path], typer.Argument(help="Photo files")],
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a file")] = False,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
) -> int:
    """Give a verdict on each photo file; exit code 1 if a photo has none."""
    from jobs.predict import predict

    return predict(Options(stage, stage_file, lake=lake), photos, model, as_json)


def explain(
    lot: Annotated[str | None, typer.Option("--lot", help="DAY/LOT, as 2021-09-06/17")] = None,
    photo: Annotated[Path | None, typer.Option("--photo", help="Photo file")] = None,
    model: ModelOption = None,
    output: Annotated[Path | None, typer.Option("--output", help="Where the heat map goes")] = None,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
) -> None:
    """Explain the verdict on a lot or a photo."""
    from jobs import models

    models.explain(Options(stage, stage_file, lake=lake), lot, photo, model, output)


def explain_verdict(
    asked: Annotated[
        str, typer.Argument(help="Id of an inspection, DAY/LOT, or SHA-256 of a photo")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line")] = False,
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
    sql_url: SqlUrl = None,
) -> None:
    """Say where a verdict comes from: photo, files, runs, model, data, splits, people."""
    from jobs.origin import explain_verdict as explain_it

    explain_it(Options(stage, stage_file, lake=lake, sql_url=sql_url), asked, as_json)


def reproduce(
    reference: Annotated[str, typer.Argument(help="NAME@ALIAS or NAME@NUMBER")],
    stage: Stage = None,
    stage_file: StageFile = None,
    lake: LakeOption = None,
) -> int:
    """Train a registered model again from its pinned data; exit code 3 if it comes out other."""
    from jobs import models

    return models.reproduce_model(Options(stage, stage_file, lake=lake), reference)


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the commands for models to this group of `--help`."""
    app.add_typer(train_app, name="train", no_args_is_help=True, rich_help_panel=panel)
    commands = (compare, promote, rollback, predict_photos, explain, explain_verdict, reproduce)
    for command in commands:
        name = command.__name__.removesuffix("_photos").replace("_", "-")
        app.command(name, rich_help_panel=panel)(command)
