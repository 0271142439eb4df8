"""What a first reader may skip: a norm explained, drawings of a model, mistakes on images, files for TensorBoard."""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily

if TYPE_CHECKING:
    from bncompare.extras.drawing import draw, layer_table
    from bncompare.extras.explain import explain_norm
    from bncompare.extras.explanation import print_explanation, print_quiz
    from bncompare.extras.laws import laws_of
    from bncompare.extras.mistakes import Mistakes, find_mistakes, mistakes_document, mistakes_table
    from bncompare.extras.mistakes_figure import draw_mistakes
    from bncompare.extras.mistakes_page import images_of, mistakes_html
    from bncompare.extras.new_norm import write_package
    from bncompare.extras.tensorboard import write_event_files

__all__ = [
    "Mistakes",
    "draw",
    "draw_mistakes",
    "explain_norm",
    "find_mistakes",
    "images_of",
    "laws_of",
    "layer_table",
    "mistakes_document",
    "mistakes_html",
    "mistakes_table",
    "print_explanation",
    "print_quiz",
    "write_event_files",
    "write_package",
]

__getattr__ = lazily(
    __name__,
    drawing="draw layer_table",
    explain="explain_norm",
    explanation="print_explanation print_quiz",
    laws="laws_of",
    mistakes="Mistakes find_mistakes mistakes_document mistakes_table",
    mistakes_figure="draw_mistakes",
    mistakes_page="images_of mistakes_html",
    new_norm="write_package",
    tensorboard="write_event_files",
)
