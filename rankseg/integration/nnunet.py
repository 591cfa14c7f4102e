"""Segmentation files from the probabilities that nnU-Net v2 saves.

Predict with ``nnUNetv2_predict --save_probabilities`` (or ensemble with ``--save_npz``) first. The
results are written by the class that nnU-Net itself reads and writes the data set with.
"""

import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..predictor import RankSEG
from .nnunet_files import Model

__all__ = ["segment_case", "segment_folder"]

PathLike = str | os.PathLike[str]
Track = Callable[[list[Path]], Iterable[Path]]


def segment_case(
    npz: PathLike,
    pkl: PathLike,
    output: PathLike,
    *,
    dataset_json: PathLike,
    plans_json: PathLike,
    overwrite: bool = False,
    **settings: Any,
) -> None:
    """Write the segmentation of one case, in the geometry of its image.

    Parameters
    ----------
    npz, pkl : path
        What nnU-Net saved of the case: probabilities and properties.
    output : path
        The file to be written; its name ends as dataset.json says, ".nii.gz" mostly.
    dataset_json, plans_json : path
        The model's files of these names.
    overwrite : bool, default False
        Replace an existing file.
    **settings
        Arguments of `rankseg.RankSEG`, all but `class_axis`. `output_mode` follows from
        dataset.json: the regions of region-based training are masks that may overlap, and are
        painted in `regions_class_order` as nnU-Net does. ``metric="accuracy"`` gives nnU-Net's
        own segmentation.

    Raises
    ------
    TypeError, ValueError
        If a file does not hold what it should, if files do not belong together, or as by
        `rankseg.RankSEG`.
    FileExistsError
        If there is such an `output`, and `overwrite` is False.
    OSError
        If a file cannot be read or written. It is written whole or not at all.
    ModuleNotFoundError
        If nnU-Net is not installed.

    Examples
    --------
    >>> from rankseg.integration.nnunet import segment_case
    >>> segment_case(  # doctest: +SKIP
    ...     "case_1.npz",
    ...     "case_1.pkl",
    ...     "case_1_dice.nii.gz",
    ...     dataset_json="dataset.json",
    ...     plans_json="plans.json",
    ... )
    """
    model = Model.read(Path(dataset_json), Path(plans_json))
    predictor = _make_predictor(model, settings)
    _segment(Path(npz), Path(pkl), Path(output), model, predictor, overwrite)


def saved_cases(folder: Path) -> list[Path]:
    """Return the .npz files of a folder, but for hidden ones, as macOS leaves beside others."""
    return sorted(path for path in folder.glob("*.npz") if not path.name.startswith("."))


def segment_folder(
    folder: PathLike,
    output_folder: PathLike,
    *,
    dataset_json: PathLike | None = None,
    plans_json: PathLike | None = None,
    overwrite: bool = False,
    track: Track = iter,
    **settings: Any,
) -> list[Path]:
    """Write the segmentations of all cases in a folder, under their names in another folder.

    Parameters
    ----------
    folder : path
        Has a .npz and a .pkl file for each case.
    output_folder : path
        Made if it does not exist.
    dataset_json, plans_json : path, optional
        By default those in `folder`, where ``nnUNetv2_predict`` puts them.
    overwrite : bool, default False
        Replace existing files.
    track : callable, optional
        Passes the list of cases on one by one, to show progress: ``tqdm.tqdm``, for example.
    **settings
        As in `segment_case`.

    Returns
    -------
    list of Path
        The files that were written, in the order of their names.

    Raises
    ------
    ExceptionGroup
        At the end, if cases failed: one exception for each, as by `segment_case`, that names the
        file. All other cases have been written.
    TypeError, ValueError, OSError, ModuleNotFoundError
        As by `segment_case`, if nothing can be written at all.

    Examples
    --------
    >>> from rankseg.integration.nnunet import segment_folder
    >>> segment_folder("predictions", "predictions_dice", metric="dice")  # doctest: +SKIP
    """
    folder, output_folder = Path(folder), Path(output_folder)
    model = Model.read(
        Path(dataset_json or folder / "dataset.json"), Path(plans_json or folder / "plans.json")
    )
    predictor = _make_predictor(model, settings)
    cases = saved_cases(folder)
    if not cases:
        raise FileNotFoundError(f"{folder}: no .npz file in it; predict with --save_probabilities")
    output_folder.mkdir(exist_ok=True)
    written, errors = [], []
    for npz in track(cases):
        output = output_folder / f"{npz.stem}{model.dataset.ending}"
        try:
            _segment(npz, npz.with_suffix(".pkl"), output, model, predictor, overwrite)
        except (TypeError, ValueError, OSError) as error:
            errors.append(error)
        else:
            written.append(output)
    if errors:
        raise ExceptionGroup(f"{len(errors)} of {len(cases)} cases were not written", errors)
    return written


def _make_predictor(model: Model, settings: dict[str, Any]) -> RankSEG:
    if "class_axis" in settings:
        raise TypeError("class_axis is no option here: nnU-Net saves classes first")
    mode = "multiclass" if model.dataset.regions is None else "multilabel"
    predictor = RankSEG(**({"output_mode": mode} | settings))
    if predictor.output_mode != mode:
        raise ValueError(f"output_mode must be {mode!r} for this model, as dataset.json says")
    if not 0 <= settings.get("void_index", 0) <= 255:  # the writers wrap what does not fit
        raise ValueError(f"void_index must be in [0, 255], found {settings['void_index']}")
    return predictor


def _segment(
    npz: Path, pkl: Path, output: Path, model: Model, predictor: RankSEG, overwrite: bool
) -> None:
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output}: exists already")
    ending = model.dataset.ending
    if not output.name.endswith(ending):
        raise ValueError(f"{output}: the name must end in {ending}, as dataset.json says")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent}: no such folder")
    probs, properties = model.read_case(npz, pkl)
    try:
        labels = predictor(probs[None])[0]
    except (TypeError, ValueError) as error:
        raise type(error)(f"{npz}: {error}") from error
    if model.dataset.regions is not None:
        labels = model.dataset.paint(labels)
    # In a folder of its own: writers know the format by the name, and some write a second file.
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
        try:
            model.writer.write_seg(labels, str(Path(folder, output.name)), properties)
        except OSError:
            raise
        except Exception as error:  # the writers have no errors of their own
            raise ValueError(f"{output}: nnU-Net could not write it: {error!r}") from error
        for file in Path(folder).iterdir():
            os.replace(file, output.with_name(file.name))
