"""What a first reader may skip: a norm explained step by step, drawings of a model, files for TensorBoard."""

from typing import TYPE_CHECKING

from bncompare.lazy import lazily

if TYPE_CHECKING:
    from bncompare.extras.drawing import draw, layer_table
    from bncompare.extras.explain import explain_norm
    from bncompare.extras.explanation import print_explanation, print_quiz
    from bncompare.extras.tensorboard import write_event_files

__all__ = ["draw", "explain_norm", "layer_table", "print_explanation", "print_quiz", "write_event_files"]

__getattr__ = lazily(
    __name__,
    drawing="draw layer_table",
    explain="explain_norm",
    explanation="print_explanation print_quiz",
    tensorboard="write_event_files",
)
