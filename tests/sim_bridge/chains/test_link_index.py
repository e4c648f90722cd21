"""Items of links, and those of the links around them."""

import copy
import pickle

import torch

from sim_bridge.chains.link_index import LinkIndex

COUNT, MASTS = 5, 2
PIXELS = COUNT**2


def index() -> LinkIndex:
    random = torch.Generator().manual_seed(0)
    link, item = (torch.randint(high, (40,), generator=random) for high in (MASTS * PIXELS, 9))
    return LinkIndex.from_pairs(link, item, MASTS * PIXELS)


def items(index: LinkIndex, link: int) -> list[int]:
    return index.items_of(torch.tensor([link]))[1].tolist()


def test_around_a_pixel_is_what_any_of_nine_pixels_of_the_same_mast_has() -> None:
    each, around = index(), index().around(COUNT)
    for link in range(MASTS * PIXELS):
        mast, row, column = link // PIXELS, link % PIXELS // COUNT, link % COUNT
        near = [(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        inside = [mast * PIXELS + r * COUNT + c for r, c in near if 0 <= r < COUNT and 0 <= c < COUNT]
        assert items(around, link) == sorted({item for other in inside for item in items(each, other)})


def test_what_is_around_is_made_once_and_not_sent_to_other_processes() -> None:
    each = index()
    assert each.around(COUNT) is each.around(COUNT)
    for other in (pickle.loads(pickle.dumps(each)), copy.copy(each)):
        assert set(vars(other)) == {"start", "item"}
        assert torch.equal(other.around(COUNT).item, each.around(COUNT).item)
