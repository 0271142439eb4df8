"""The laws that every norm of bncompare passes; `bncompare norms --test power` prints them."""

from bncompare.extras import laws_of


def test_the_laws_of_a_norm() -> None:
    """Shapes, reference, gradient, evaluation, pairing, resumption to the byte."""
    assert [held for held in laws_of("power") if held.broken] == []
