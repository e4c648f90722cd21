"""Two antennas at the phone: interference, LMMSE reception and layers, in closed form for matrices of two by two.

A `signal` is the field of every cell per resource element in units of the noise, so that the noise is one. All of it
in double precision: a cell 60 dB above the noise leaves no digits for the noise in single.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Hermitian:
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
        one, two = field.unbind(-3)
        return Hermitian(squared_magnitude(one).sum(-2), squared_magnitude(two).sum(-2), (one * two.conj()).sum(-2))


def interference_covariance(
    signal: Complex[Tensor, "*n cell antenna frequency"], load: float, noise: Float[Tensor, "*n cell"]
) -> Hermitian:
    """Covariance per cell and frequency of noise and the other cells, which fill the share `load` of their elements.

    `noise` is the noise that each cell's reception meets. Sums of the others, never the whole less the own: that
    difference has no digits left beside a strong cell.
    """
    own = Hermitian.from_field(signal.unsqueeze(-2))
    cells = signal.shape[-3]
    others = load * (1 - torch.eye(cells, dtype=own.a.dtype))
    total = lambda values: torch.einsum("dc,...cf->...df", others.to(values.dtype), values)  # noqa: E731
    return Hermitian(total(own.a) + noise[..., None], total(own.b) + noise[..., None], total(own.c))


def lmmse_sinr(
    signal: Complex[Tensor, "*n cell antenna frequency"], others: Hermitian
) -> Float[Tensor, "*n cell frequency"]:
    """SINR of each cell after linear MMSE reception, h^H R^-1 h (Tse and Viswanath 2005, equation 8.66)."""
    one, two = signal.unbind(-2)
    cross = (one.conj() * others.c * two).real
    return (others.b * squared_magnitude(one) + others.a * squared_magnitude(two) - 2 * cross) / others.determinant


def layer_sinr(gram: Hermitian, others: Hermitian) -> Float[Tensor, "*n frequency 2"]:
    """SINRs of the two best transmit directions, strongest first, with all the power each: eigenvalues of R^-1 H H^H.

    The phone takes both at once; none disturbs the other (Tse and Viswanath 2005, section 7.1.1, after whitening).
    """
    cross = 2 * (others.c * gram.c.conj()).real
    trace = (others.b * gram.a + others.a * gram.b - cross) / others.determinant
    return _eigenvalues(trace, gram.determinant / others.determinant)


def condition_number_db(gram: Hermitian, most_db: float = 60.0) -> Float[Tensor, "*n frequency"]:
    """Greatest over least singular value of the channel H in decibels, cut at `most_db`; `gram` is H H^H."""
    great, least = _eigenvalues(gram.a + gram.b, gram.determinant).unbind(-1)
    floor = great * 10 ** (-most_db / 10)
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
