"""What ``rankseg predict`` does: files of probabilities to files of labels."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..io.reading import PROBS_SUFFIXES
from ..settings import Settings
from .errors import CommandError, one_line_errors
from .options import (
    CORRELATION,
    FILES,
    NO_ACTIVATION,
    PRUNING,
    ActivationOption,
    BinaryOption,
    CheckSumsOption,
    ConfigOption,
    CorrelationOption,
    FoundModeOption,
    MetricOption,
    OverwriteOption,
    PolicyOption,
    ProbsKeyOption,
    PruningOption,
    RefineOption,
    ScaleOption,
    SmoothOption,
    SolverOption,
    VoidOption,
    activation_of,
    correlated,
    number_of,
    numbers,
    one_of,
    settings,
)
from .outputs import predict_file
from .paths import WRITABLE, check_output, is_folder, plan
from .prediction import Options
from .screen import new_progress, print_notes, report_failures


def predict(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PROBS", help=f"A file ({', '.join(PROBS_SUFFIXES)}), or a folder of these."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help=f"A file ({', '.join(WRITABLE)}), or a folder."),
    ],
    metric: MetricOption = Settings.metric,
    smooth: SmoothOption = Settings.smooth,
    solver: SolverOption = None,
    mode: FoundModeOption = None,
    pruning_prob: PruningOption = PRUNING,
    unassigned_policy: PolicyOption = None,
    void_index: VoidOption = None,
    refine: RefineOption = None,
    correlation: CorrelationOption = CORRELATION,
    config: ConfigOption = None,
    activation: ActivationOption = NO_ACTIVATION,
    batched: Annotated[
        bool | None,
        typer.Option(
            "--batched/--no-batched",
            help="Whether the first axis counts samples. By default it does with four axes or "
            "more, but not in NIfTI, .mha and .nrrd; a single volume (class, depth, height, width) "
            "needs --no-batched.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    class_axis: Annotated[
        int | None,
        typer.Option(
            help="Axis of the classes in the file, -1 for the last; by default the first of a "
            "sample, and none in NIfTI and in maps (height, width).",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    binary: BinaryOption = False,
    scale: ScaleOption = None,
    check_sums: CheckSumsOption = True,
    probs_key: ProbsKeyOption = None,
    form: Annotated[
        str | None,
        one_of(
            [suffix.removeprefix(".") for suffix in WRITABLE],
            "--format",
            help="Files in an output folder, by default nii.gz for NIfTI and npy for others.",
            show_default=False,
        ),
    ] = None,
    nodata: Annotated[
        str | None,
        typer.Option(
            metavar="VALUE",
            help="Value of pixels without data, nan among them, which get the label --void-index, "
            "255 if not given.",
            rich_help_panel=FILES,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on .zarr and .h5 files on the cluster of dask.distributed with this "
            "scheduler, tcp://HOST:PORT; by default on the cores of this machine.",
        ),
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(help="Also draw argmax, RankSEG and their difference as PNG.")
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Picture that --compare shows beside the labels.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Turn files of probabilities into labels.

    Labels are written as the smallest unsigned integers that hold them, masks as bool. A batch
    in a .npy file is read and segmented sample by sample, and .zarr and .h5 files chunk by chunk,
    so that they may be larger than memory. Labels of NIfTI, .mha, .nrrd and GeoTIFF files keep
    their geometry. Files of a folder that cannot be segmented are
    reported at the end, and the exit code is then 1.
    """
    with one_line_errors():
        found = settings(
            context,
            config,
            metric=metric,
            smooth=smooth,
            solver=solver,
            output_mode=mode,
            pruning_prob=numbers(pruning_prob, "--pruning-prob"),
            unassigned_policy=unassigned_policy,
            void_index=void_index,
            refine=refine,
            **correlated(correlation),
        )
        mode_said = found["output_mode"] is not None
        options = Options(
            found if mode_said else found | {"output_mode": Settings.output_mode},
            activation_of(activation),
            batched,
            class_axis,
            scale,
            probs_key,
            binary,
            check_sums,
            mode_said,
            None if nodata is None else number_of(nodata, "--nodata"),
            scheduler,
        )
        options.check()
        pairs = plan(source, output, form and f".{form}")
        _check_drawing(compare, image, source, pairs[0][1], overwrite)
        with _folder_for(output) if output not in pairs[0] else nullcontext():
            for file, result in pairs:
                check_output(result, WRITABLE, overwrite, file)
            if is_folder(source):
                _predict_folder(pairs, output, options, overwrite)
                return
            with new_progress() as progress:
                summary, *notes = predict_file(
                    *pairs[0],
                    options,
                    overwrite=overwrite,
                    picture=compare,
                    image=image,
                    track=partial(progress.track, description="samples"),
                )
            typer.echo(summary)
            print_notes(notes)


@contextmanager
def _folder_for(results: Path) -> Iterator[None]:
    """Make a folder, if there is none, and leave it only if something was written to it."""
    made = not results.exists()
    results.mkdir(exist_ok=True)
    try:
        yield
    finally:
        if made and not any(results.iterdir()):
            results.rmdir()


def _predict_folder(
    pairs: list[tuple[Path, Path]], output: Path, options: Options, overwrite: bool
) -> None:
    notes: set[str] = set()
    errors: list[Exception] = []
    with new_progress() as progress:
        for file, result in progress.track(pairs, description="files"):
            try:
                notes.update(predict_file(file, result, options, overwrite=overwrite)[1:])
            except (CommandError, OSError) as error:
                errors.append(error)
    if len(errors) < len(pairs):
        typer.echo(f"{output}: labels of {len(pairs) - len(errors)} of {len(pairs)} files")
        print_notes(notes)
    if errors:
        report_failures(errors, len(pairs))


def _check_drawing(
    compare: Path | None, image: Path | None, source: Path, output: Path, overwrite: bool
) -> None:
    if image is not None and compare is None:
        raise CommandError("--image is shown by --compare: name its file too")
    if compare is None:
        return
    if is_folder(source):
        raise CommandError("--compare takes one sample, not a folder")
    if compare.resolve() == output.resolve():
        raise CommandError(f"{compare}: --compare and --output name the same file")
    check_output(compare, (".png",), overwrite, image)
