"""Norms of a layer's weight."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from bncompare.norms.base import Eps, Shape, WeightParametrization

if TYPE_CHECKING:
    from torch import nn


class WeightNorm(WeightParametrization):
    """Weight normalization (Salimans & Kingma 2016): the weight's length and direction are learned apart."""

    title: ClassVar = "WeightNorm"
    formula: ClassVar = "W = g·V/‖V‖"
    axes: ClassVar = "the incoming weights of one unit"

    kind: Literal["weight"]
    """the norm"""

    def num_parameters(self, shape: Shape) -> int:
        """The length g of each unit's weights, beside their direction V."""
        return shape[0]

    def parametrize(self, layer: "nn.Module") -> None:
        """torch.nn.utils.parametrizations.weight_norm."""
        from torch.nn.utils.parametrizations import weight_norm

        weight_norm(layer)


class SpectralNorm(WeightParametrization):
    """Spectral normalization (Miyato et al. 2018): the weight divided by its largest singular value."""

    title: ClassVar = "SpectralNorm"
    formula: ClassVar = "W = V/σ(V)"
    axes: ClassVar = "the whole weight matrix"

    kind: Literal["spectral"]
    """the norm"""
    n_power_iterations: Annotated[int, Field(ge=1, le=1000)] = 1
    """power iterations a training step, to estimate the singular value"""

    def parametrize(self, layer: "nn.Module") -> None:
        """torch.nn.utils.parametrizations.spectral_norm."""
        from torch.nn.utils.parametrizations import spectral_norm

        spectral_norm(layer, n_power_iterations=self.n_power_iterations)


class WeightStandardization(WeightParametrization):
    """Weight standardization (Qiao et al. 2019): the incoming weights of a unit have mean 0 and variance 1; scaled,
    the variance is 1/fan_in, times a gain that is learned (Brock et al. 2021).

    As in the papers the variance is over all fan_in weights, and eps stands under the root. The authors' codes differ
    in what hardly shows: an unbiased standard deviation plus eps; scaled, the larger of fan_in·var and eps. The
    constant of the activation by which Brock et al. multiply too is left out.
    """

    title: ClassVar = "Weight Standardization"
    formula: ClassVar = "W = (V − mean)/√(var + eps); scaled: W = g·(V − mean)/√(fan_in·var + eps)"
    axes: ClassVar = "the incoming weights of one unit"

    kind: Literal["weight_standardization"]
    """the norm"""
    scaled: bool = False
    """divide by √fan_in too, and learn a gain g for each unit, from 1"""
    eps: Eps = 1e-5
    """added to the variance"""

    def num_parameters(self, shape: Shape) -> int:
        """g."""
        return shape[0] * self.scaled

    def parametrize(self, layer: "nn.Module") -> None:
        """V starts as the weight."""
        from torch.nn.utils.parametrize import register_parametrization

        from bncompare.norms import modules

        register_parametrization(layer, "weight", modules.StandardizedWeight(layer, self))
