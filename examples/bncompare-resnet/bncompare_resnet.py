"""A residual network as a model of bncompare: one class, which plans its layers."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bncompare.config import Layer, ModelSection, Pooling
from bncompare.norms import Shape


class ResNet(ModelSection):
    """A small residual network (He et al. 2016, §4.2): a 3×3 convolution, stages of blocks of two, global pooling."""

    title: ClassVar = "ResNet"

    name: Literal["resnet"]
    """the model"""
    channels: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=1, max_length=8)] = [16, 32]
    """of each stage; a stage after the first begins with stride 2"""
    blocks: Annotated[int, Field(ge=1, le=100)] = 2
    """of each stage"""

    def layers(self, input_shape: Shape, num_outputs: int) -> list[Layer]:
        """stem, then stage.0.0.first, .second, .out, …, output."""
        planned = [self.conv("stem", input_shape, self.channels[0], 3, padding=1)]
        for stage, channels in enumerate(self.channels):
            for block in range(self.blocks):
                is_last = (stage, block) == (len(self.channels) - 1, self.blocks - 1)
                stride = 2 if stage > 0 and block == 0 else 1
                planned += self.block(f"stage.{stage}.{block}", planned[-1], channels, stride, is_last)
        return [*planned, self.output(planned[-1], num_outputs)]

    def block(self, name: str, after: Layer, channels: int, stride: int, is_last: bool) -> list[Layer]:
        """Two convolutions, and the sum of what leaves them with what entered, which has the activation."""
        first = self.conv(f"{name}.first", after, channels, 3, stride=stride, padding=1)
        second = self.conv(f"{name}.second", first, channels, 3, padding=1, activation=False)
        planned, shortcut = [first, second], after
        if second.output_shape != after.output_shape:
            shortcut = self.conv(f"{name}.shortcut", after, channels, 1, stride=stride, activation=False)
            planned.append(shortcut)
        pool = Pooling("avg", second.output_shape[1:]) if is_last else None
        return [*planned, self.sum(f"{name}.out", [second, shortcut], pool=pool)]
