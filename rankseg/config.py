"""Settings in a small file, as `rankseg tune` writes them: TOML, or JSON of the same shape."""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .calibration import Calibration
from .docstrings import shared_parameters
from .functional import rankseg
from .io.replacing import replacing
from .settings import PRUNED, SCORES, SOLVER_PARAMS, Settings, check_settings

SUFFIXES = (".toml", ".json")
SETTINGS = ("metric", "smooth", "output_mode", "solver", "pruning_prob")
_HEADER = """\
# Settings of RankSEG: RankSEG.from_config("this file") in Python, and the option --config of
# rankseg predict, evaluate and export append."""
_COMMENTS = {
    "rankseg": "# Arguments of RankSEG.",
    "calibration": "# Correction of the probabilities, clipped to floor: softmax over classes of\n"
    "# scale * log(p) + bias; in multilabel sigmoid of scale * logit(p) + bias.",
    "tuned": "# How the settings were found. Nothing is computed from this.",
}


@shared_parameters(rankseg)
@dataclass(frozen=True)
class Config:
    """Settings of a `rankseg.RankSEG`, with the calibration that goes before it.

    Parameters
    ----------
    metric, smooth, output_mode, solver, pruning_prob
        As in `rankseg.functional.rankseg`.
    solver_params : mapping
        Further arguments of `rankseg.functional.rankseg`, such as `refine`.
    calibration : Calibration, optional
        Correction of the probabilities.
    tuned : mapping, optional
        How the settings were found; for readers, nothing is computed from it.

    Raises
    ------
    TypeError, ValueError
        As in `rankseg.functional.rankseg`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from rankseg import RankSEG
    >>> from rankseg.config import Config
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Config(metric="iou", pruning_prob=0.7).save(Path(folder, "rankseg.toml"))
    ...     RankSEG.from_config(Path(folder, "rankseg.toml")).pruning_prob
    0.7
    """

    metric: str = Settings.metric
    smooth: float = Settings.smooth
    output_mode: str = Settings.output_mode
    solver: str | None = Settings.solver
    pruning_prob: float | Sequence[float] = Settings.pruning_prob
    solver_params: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    tuned: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        settings = check_settings(
            self.metric,
            self.smooth,
            self.output_mode,
            self.solver,
            self.pruning_prob,
            dict(self.solver_params),
        )
        for name in SETTINGS:
            object.__setattr__(self, name, getattr(settings, name))
        params = {
            name: getattr(settings, name, value) for name, value in self.solver_params.items()
        }
        object.__setattr__(self, "solver_params", params)
        if self.calibration is not None and not isinstance(self.calibration, Calibration):
            found = type(self.calibration).__name__
            raise TypeError(f"calibration must be a Calibration, found {found}")

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `rankseg.RankSEG`."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        return settings | dict(self.solver_params) | {"calibration": self.calibration}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Config":
        """Read a file.

        Parameters
        ----------
        path : path
            A file named .toml or .json.

        Raises
        ------
        OSError
            If the file cannot be read.
        TypeError, ValueError
            If it is not such a file, or holds anything unknown or out of range; the message
            names the file.
        """
        path = Path(path)
        suffix = _suffix(path)
        try:
            text = path.read_text(encoding="utf-8")
            return cls._from_tables(json.loads(text) if suffix == ".json" else tomllib.loads(text))
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{path}: {error}") from error

    @classmethod
    def _from_tables(cls, tables: Any) -> "Config":
        if isinstance(tables, dict):
            loose = [name for name in SETTINGS + SOLVER_PARAMS if name in tables]
            if loose:
                raise ValueError(f"{', '.join(loose)} must be under [rankseg]")
        tables = _table("the file", tables, ("rankseg", "calibration", "tuned"))
        settings = _table("[rankseg]", tables.get("rankseg", {}), SETTINGS + SOLVER_PARAMS)
        params = {name: settings.pop(name) for name in [*settings] if name in SOLVER_PARAMS}
        calibration = None
        if "calibration" in tables:
            names = tuple(part.name for part in fields(Calibration))
            calibration = Calibration(**_table("[calibration]", tables["calibration"], names))
        tuned = _table("[tuned]", tables["tuned"]) if "tuned" in tables else None
        settings = _of_version_0_1(settings, params)
        return cls(**settings, solver_params=params, calibration=calibration, tuned=tuned)

    def save(self, path: str | os.PathLike[str], overwrite: bool = False) -> None:
        """Write a file, whole or not at all.

        Parameters
        ----------
        path : path
            A file named .toml or .json.
        overwrite : bool, default False
            Replace a file that is there.

        Raises
        ------
        FileExistsError
            If there is such a file, and `overwrite` is False.
        OSError
            If it cannot be written.
        ValueError
            If the name does not end in .toml or .json.
        """
        path = Path(path)
        suffix = _suffix(path)
        settings = {name: getattr(self, name) for name in SETTINGS} | dict(self.solver_params)
        tables: dict[str, Mapping[str, Any]] = {"rankseg": settings}
        if self.calibration is not None:
            tables["calibration"] = asdict(self.calibration)
        if self.tuned is not None:
            tables["tuned"] = self.tuned
        text = json.dumps(tables, indent=2) + "\n" if suffix == ".json" else _toml(tables)
        with replacing(path, overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _of_version_0_1(settings: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Translate a `smooth` of 1e16, as which argmax with pruning was written."""
    if settings.get("smooth") != 1e16 or settings.get("metric", SCORES[0]) not in SCORES or params:
        return settings
    if settings.get("solver", "RMA") != "RMA":
        return settings
    mode = settings.get("output_mode", Settings.output_mode)
    if mode not in PRUNED:
        return settings
    return settings | {"metric": "accuracy", "smooth": 0.0, "solver": PRUNED[mode]}


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected a file named {' or '.join(SUFFIXES)}")
    return suffix


def _table(name: str, table: Any, allowed: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise TypeError(f"{name} must be a table, found {table!r}")
    unknown = [] if allowed is None else sorted(table.keys() - set(allowed))
    if allowed is not None and unknown:
        raise ValueError(
            f"{name} has unknown {', '.join(unknown)}; allowed are {', '.join(allowed)}"
        )
    return dict(table)


def _toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    parts = [_HEADER]
    for name, table in tables.items():
        parts += ["", _COMMENTS[name], f"[{name}]"]
        parts += [f"{key} = {_value(value)}" for key, value in table.items()]
    return "\n".join(parts) + "\n"


def _value(value: Any) -> str:
    # Strings, numbers and booleans are written in TOML as in JSON, but for the delete character.
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(part) for part in value)}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
