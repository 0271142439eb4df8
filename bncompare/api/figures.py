"""Figures, as `plot` returns them: a notebook shows them."""

import base64
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, overload

from markupsafe import Markup

from bncompare.errors import UserError
from bncompare.figures import NamedFigure, render
from bncompare.runs import make_folder, write_output


class Figures(Sequence[NamedFigure]):
    """Figures in the order in which one looks at them, by number or by name."""

    def __init__(self, figures: Sequence[NamedFigure]) -> None:
        self._figures = list(figures)

    def __len__(self) -> int:
        return len(self._figures)

    @overload
    def __getitem__(self, which: int | str) -> NamedFigure: ...
    @overload
    def __getitem__(self, which: slice) -> "Figures": ...
    def __getitem__(self, which: int | str | slice) -> "NamedFigure | Figures":
        if isinstance(which, slice):
            return Figures(self._figures[which])
        if isinstance(which, int):
            return self._figures[which]
        for figure in self._figures:
            if figure.name == which:
                return figure
        raise UserError(f"{which}: is none of these figures; valid: {', '.join(self.names)}")

    def __repr__(self) -> str:
        return f"<{len(self)} figure{'s' * (len(self) != 1)}: {', '.join(self.names)}>"

    @property
    def names(self) -> list[str]:
        """What each is called, as its file would be."""
        return [figure.name for figure in self._figures]

    def _repr_html_(self) -> str:
        return "".join(map(figure_html, self._figures))

    def save(self, folder: "str | PathLike[str]", format: Literal["png", "svg", "pdf"] = "png") -> list[Path]:
        """Write each into a file of its name, and return these. Raises StorageError."""
        make_folder(Path(folder))
        paths = [Path(folder) / f"{figure.name}.{format}" for figure in self._figures]
        for path, figure in zip(paths, self._figures, strict=True):
            write_output(path, render(figure.figure, format))
        return paths


def figure_html(named: NamedFigure) -> str:
    """A picture with what it shows below it, on white: a dark notebook does not change its colours."""
    picture = base64.b64encode(render(named.figure, "png")).decode()
    return _FIGURE.format(picture, named.caption, named.caption)


_FIGURE = Markup(
    '<figure style="margin: 0 0 1.2em"><img src="data:image/png;base64,{}" alt="{}" '
    'style="max-width: 100%; width: 46rem; background: white">'
    '<figcaption style="opacity: 0.75; font-size: 0.88em">{}</figcaption></figure>'
)
