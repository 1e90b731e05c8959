"""Options that many commands have."""

from pathlib import Path
from typing import Annotated

import typer

Stage = Annotated[
    str | None, typer.Option("--stage", help="Stage of the plant: a file in conf/stages")
]
StageFile = Annotated[Path | None, typer.Option("--stage-file", help="Stage file elsewhere")]
LakeOption = Annotated[str | None, typer.Option("--lake", help="Folder or URL of the tables")]
