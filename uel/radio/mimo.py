"""MIMO with two antennas at the phone: interference, LMMSE reception and layers, closed forms for 2 × 2 matrices.

A `signal` is the field of every cell per resource element in units of the noise, so the noise power is one. All in
double precision: beside a cell 60 dB above the noise, single precision has no digits left for the noise.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from uel.core.display.short_repr import ShortRepr


@dataclass(frozen=True, eq=False, repr=False)
class Hermitian(ShortRepr):
    """Matrices [[a, c], [c*, b]]."""

    a: Float[Tensor, "*n"]
    b: Float[Tensor, "*n"]
    c: Complex[Tensor, "*n"]

    @property
    def determinant(self) -> Float[Tensor, "*n"]:
        return self.a * self.b - squared_magnitude(self.c)

    @staticmethod
    def from_field(field: Complex[Tensor, "*n antenna port frequency"]) -> "Hermitian":
        """Sum over ports of field · field^H, per frequency."""
        first, second = field.unbind(-3)
        return Hermitian(
            squared_magnitude(first).sum(-2), squared_magnitude(second).sum(-2), (first * second.conj()).sum(-2)
        )


def interference_covariance(
    signal: Complex[Tensor, "*n cell antenna frequency"], load: float, noise: Float[Tensor, "*n cell"]
) -> Hermitian:
    """Covariance per cell and frequency of noise plus the other cells, which use the fraction `load` of their elements.

    `noise` is the noise power in each cell's reception. The other cells are summed directly: the total minus the
    cell's own signal has no digits left beside a strong cell.
    """
    per_cell = Hermitian.from_field(signal.unsqueeze(-2))
    cells = signal.shape[-3]
    weights = load * (1 - torch.eye(cells, dtype=per_cell.a.dtype, device=per_cell.a.device))

    def sum_others(values: Tensor) -> Tensor:
        return torch.einsum("dc,...cf->...df", weights.to(values.dtype), values)

    a, b = (sum_others(values) + noise[..., None] for values in (per_cell.a, per_cell.b))
    return Hermitian(a, b, sum_others(per_cell.c))


def lmmse_sinr(
    signal: Complex[Tensor, "*n cell antenna frequency"], others: Hermitian
) -> Float[Tensor, "*n cell frequency"]:
    """SINR of each cell after linear MMSE reception, h^H R^-1 h (Tse and Viswanath 2005, equation 8.66)."""
    first, second = signal.unbind(-2)
    cross = (first.conj() * others.c * second).real
    return (others.b * squared_magnitude(first) + others.a * squared_magnitude(second) - 2 * cross) / others.determinant


def layer_sinr(gram: Hermitian, others: Hermitian) -> Float[Tensor, "*n frequency 2"]:
    """SINRs of the two best transmit directions, strongest first, each with full power: eigenvalues of R^-1 H H^H.

    Both layers are received at once and do not interfere (Tse and Viswanath 2005, section 7.1.1, after whitening).
    """
    cross = 2 * (others.c * gram.c.conj()).real
    trace = (others.b * gram.a + others.a * gram.b - cross) / others.determinant
    return _eigenvalues(trace, gram.determinant / others.determinant)


def condition_number_db(gram: Hermitian, limit_db: float = 60.0) -> Float[Tensor, "*n frequency"]:
    """Ratio of the greatest and least singular value of the channel H in dB, at most `limit_db`; `gram` is H H^H."""
    great, least = _eigenvalues(gram.a + gram.b, gram.determinant).unbind(-1)
    floor = great * 10 ** (-limit_db / 10)
    ratio = torch.where(great > 0, great / torch.where(great > 0, torch.maximum(least, floor), 1.0), 1.0)
    return 10 * ratio.log10()


def _eigenvalues(trace: Tensor, determinant: Tensor) -> Float[Tensor, "*n 2"]:
    root = (trace.square() / 4 - determinant).clamp(min=0).sqrt()
    great = trace / 2 + root
    # Not trace/2 - root, which cancels.
    return torch.stack([great, determinant.clamp(min=0) / torch.where(great > 0, great, 1.0)], -1)


def squared_magnitude(values: Complex[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """|values|²."""
    return values.real.square() + values.imag.square()
