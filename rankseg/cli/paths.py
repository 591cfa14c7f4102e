"""Names of files on the command line: what is read, and what is written where."""

from pathlib import Path

from ..io.reading import ITK, PROBS_SUFFIXES, is_itk, is_nifti, suffix_of
from ..io.replacing import check_target
from .errors import CommandError

WRITABLE = (".npy", ".png", ".nii.gz", ".mha", ".nrrd", ".tif", ".zarr")

KEPT = (".mha", ".nrrd", ".tif", ".zarr")
"""Suffixes that results in a folder have like their files."""


def is_folder(path: Path) -> bool:
    """Say whether a path is a folder of files, and not one that is an array."""
    return path.is_dir() and suffix_of(path) != ".zarr"


def check_output(
    path: Path, suffixes: tuple[str, ...], overwrite: bool, source: Path | None = None
) -> None:
    """Refuse a name that a result made of the file `source` cannot have, before the work."""
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise CommandError(f"{path}: is the input, which is never overwritten")
    try:
        check_target(path, overwrite)
    except FileExistsError as error:
        raise CommandError(f"{error}; --overwrite replaces it") from error
    if not path.name.lower().endswith(suffixes):
        raise CommandError(f"{path}: expected a name that ends in {' or '.join(suffixes)}")


def plan(source: Path, output: Path, form: str | None) -> list[tuple[Path, Path]]:
    """Pair each file to be read with the file to be written.

    Parameters
    ----------
    source, output : Path
        Two files, or two folders, or a file and a folder for its result.
    form : str, optional
        Suffix of files written to a folder; by default ".nii.gz" for NIfTI and else ".npy".
    """
    if not source.exists():
        raise CommandError(f"{source}: no such file or folder")
    if not is_folder(source) and suffix_of(source) not in PROBS_SUFFIXES:
        expected = ", ".join(PROBS_SUFFIXES)
        raise CommandError(f"{source}: expected a folder, or a file named {expected}")
    if suffix_of(output) in WRITABLE and not is_folder(output):
        if is_folder(source):
            raise CommandError(f"{output}: the results of a folder go to a folder")
        if form is not None:
            raise CommandError("--format is for an output folder; a file's own name says it")
        pairs = [(source, output)]
    elif is_folder(output) or not output.suffix:
        files = _readable_files(source) if is_folder(source) else [source]
        pairs = [(file, output / f"{_stem(file)}{form or _like(file)}") for file in files]
    else:
        raise CommandError(f"{output}: expected a folder, or a file named {', '.join(WRITABLE)}")
    for file, result in pairs:
        if is_nifti(result) and not is_nifti(file):
            raise CommandError(f"{file}: only NIfTI has the geometry that {result.name} needs")
        if is_itk(result) and not is_itk(file):
            raise CommandError(
                f"{file}: only {', '.join(ITK)} have the geometry that {result.name} needs"
            )
    return pairs


def _like(file: Path) -> str:
    """Return the suffix of a result in a folder: that of the file where it keeps more than .npy."""
    if is_nifti(file):
        return ".nii.gz"
    suffix = suffix_of(file)
    return {".mhd": ".mha", ".tiff": ".tif"}.get(suffix, suffix if suffix in KEPT else ".npy")


def _readable_files(folder: Path) -> list[Path]:
    files = [
        file
        for file in sorted(folder.iterdir())
        if suffix_of(file) in PROBS_SUFFIXES and not file.name.startswith(".")
    ]
    if not files:
        raise CommandError(f"{folder}: no file named {', '.join(PROBS_SUFFIXES)} in it")
    stems = [_stem(file) for file in files]
    for stem in stems:
        if stems.count(stem) > 1:
            raise CommandError(f"{folder}: several files are called {stem}")
    return files


def _stem(file: Path) -> str:
    return file.name[: -len(suffix_of(file))]
