"""Files of weights from outside (`torch.save`): the archive's checksums are compared, and code in it is never run."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uel.core.outside.compression import READ_ERRORS
from uel.errors import UelError, brief


def read_weights(file: Path, device: Any = None) -> Any:
    """What `torch.save` wrote into a file: tensors and plain values alone, on `device` where one is given.

    Raises:
        UelError: for a file that is missing or no archive, whose bytes differ from their CRC-32 (`torch.load` does not
            compare them), and one that holds other classes.
    """
    import torch

    try:
        with zipfile.ZipFile(file) as archive:
            packed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
            if packed:  # torch never packs: it unpacks to whatever the archive says
                raise ValueError(f"{packed[0]} is compressed")
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} differs from its CRC-32")
        return torch.load(file, weights_only=True, map_location=device)
    except READ_ERRORS as error:
        raise _damaged(file, error) from error
    except Exception as error:  # torch raises what its unpickler and zip reader raise
        raise _damaged(file, error) from error


def require_finite_weights(state: Mapping[str, Any], file: Path) -> None:
    """Raise `UelError` where a weight is not finite: every answer of the network would be NaN."""
    import torch

    for name, values in state.items():
        if isinstance(values, torch.Tensor) and values.is_floating_point() and not bool(values.isfinite().all()):
            count = int((~values.isfinite()).sum())
            got = f"{file}: {count} values of {name} are not finite"
            raise UelError("the weights of a network are damaged", got=got, do="copy the file again, or train again")


def _damaged(file: Path, error: Exception) -> UelError:
    got = f"{file}: {brief(error)[:300]}"
    return UelError("a file of weights is damaged", got=got, do="copy the file again, or train again")
