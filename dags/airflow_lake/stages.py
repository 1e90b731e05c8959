"""The stages of the plant that get DAGs. Only the names of the stage files are read."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from airflow.sdk import Asset, Variable

VARIABLE = "platelake_stages"
CONF = Path(__file__).resolve().parents[2] / "conf"
NAME = re.compile("[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Stage:
    """A stage of the plant, and the assets that its DAGs update and wait for."""

    name: str
    is_only: bool = True
    """The only stage; its DAGs and assets then have no stage in their names."""

    def named(self, name: str) -> str:
        """The name with the stage in it, if there are several."""
        return name if self.is_only else f"{name}_{self.name}"

    @property
    def new_lists(self) -> Asset:
        """Updated when an error list was loaded."""
        return self._asset("new_error_lists", "error_lists")

    @property
    def new_pictures(self) -> Asset:
        """Updated when photos were loaded."""
        return self._asset("new_pictures", "pictures")

    @property
    def lots(self) -> Asset:
        """Updated when lots were labelled and have features."""
        return self._asset("lots", "lots")

    def _asset(self, name: str, table: str) -> Asset:
        lake = "platelake://lake" if self.is_only else f"platelake://lake/{self.name}"
        return Asset(self.named(name), uri=f"{lake}/{table}")


def all_stages() -> list[Stage]:
    """The stages that the Variable `platelake_stages` names; else those of `conf/stages`.

    Raises ValueError if there is none, or a name is not one of a stage.
    """
    folder = Path(os.environ.get("PLATELAKE_CONF") or CONF) / "stages"
    named = Variable.get(VARIABLE, default="").replace(",", " ").split()
    if wrong := [name for name in named if not NAME.fullmatch(name)]:
        raise ValueError(f"Variable {VARIABLE}: {wrong[0]!r} is not the name of a stage")
    names = sorted({*(named or stage_names(folder))})
    if not names:
        raise ValueError(f"{folder} has no stage file; name the stages in the Variable {VARIABLE}")
    return [Stage(name, is_only=len(names) == 1) for name in names]


def stage_names(folder: Path) -> list[str]:
    """The names of the stage files, without a file such as `.x.toml`, whose name no stage has."""
    return [file.stem for file in folder.glob("*.toml") if NAME.fullmatch(file.stem)]
