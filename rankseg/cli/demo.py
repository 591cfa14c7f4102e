"""What ``rankseg demo`` does: an experiment on scenes made here, as tables and a picture."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..io.replacing import replacing
from .errors import one_line_errors
from .options import OverwriteOption
from .paths import check_output

_PICTURE = Path("rankseg-demo.png")


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Where the picture goes.")
    ] = _PICTURE,
    seed: Annotated[int, typer.Option(min=0, help="Fixes the scenes and the training.")] = 0,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure argmax and RankSEG on images made here, with a model trained here, in seconds.

    Nothing is downloaded, and every number is measured while you wait, on held-out images. There
    are three cases: a model trained plainly, one trained with class weights, and the second with
    its weights divided out again. A picture of the default name is replaced.
    """
    with one_line_errors():
        overwrite = overwrite or output == _PICTURE
        check_output(output, (".png",), overwrite)
        with replacing(output, overwrite) as temporary:
            from ..demo.picture import study_figure
            from ..demo.report import print_study
            from ..demo.study import run_study
            from ..plotting import new_figure, save_png

            new_figure(1, 1)  # fails now, not after the training, if Matplotlib is missing
            with Console(stderr=True).status("Drawing scenes and training two small models ..."):
                study = run_study(seed)
            save_png(study_figure(study), temporary)
        print_study(study, Console(highlight=False))
        typer.echo(f"Picture: {output}")
