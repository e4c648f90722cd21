"""Antenna pattern files: MSI and Planet (`.msi`, `.pln`, `.txt`), and tables over the sphere (`.csv`)."""

import csv
import io
import math
import re
from pathlib import Path

import numpy as np

from uel.core.outside.compression import read_unpacked
from uel.errors import UelError, brief
from uel.radio.antennas.measured_pattern import MAX_ATTENUATION_DB, MeasuredPattern

MAX_PATTERN_BYTES = 1 << 24  # of a file: a table of a degree has 65 000 rows
DIPOLE_GAIN_DBI = 2.15  # of a half-wave dipole, to which dBd refers
TABLE_COLUMNS = {
    "theta": ("theta", "theta_deg", "theta[deg]", "theta [deg]", "theta [deg.]"),
    "phi": ("phi", "phi_deg", "phi[deg]", "phi [deg]", "phi [deg.]"),
    "gain": ("gain", "gain_dbi", "gain_db", "gain[dbi]", "gain [dbi]", "abs(gain)[dbi]", "abs(gain)[dbi   ]", "dbi"),
}


def read_pattern(file: str | Path) -> MeasuredPattern:
    """Read a measured antenna pattern by the suffix of its file.

    MSI and Planet: a header (NAME, GAIN in dBd unless it says dBi, TILT or ELECTRICAL_TILT …), then `HORIZONTAL n` and
    `VERTICAL n`, each with n rows of angle and attenuation in dB. Angles of the horizontal cut count clockwise from
    boresight, of the vertical cut from the horizon downwards.

    CSV: columns theta (0 up, 90 the horizon, 180 down), phi (0 boresight, counter-clockwise) in degrees, and gain in
    dBi, a row for each direction of an even grid that covers the sphere.

    Args:
        file: `.msi`, `.pln`, `.txt`, or `.csv`.

    Raises:
        UelError: for a file that cannot be read, with the line and what is wrong there.

    Example:
        >>> import tempfile, pathlib
        >>> from uel.radio.antennas.pattern_files import read_pattern
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "omni.msi"
        >>> cut = chr(10).join(f"{angle} 0.0" for angle in range(360))
        >>> text = f"NAME OMNI;GAIN 2.0 dBi;HORIZONTAL 360;{cut};VERTICAL 360;{cut}".replace(";", chr(10))
        >>> _ = file.write_text(text)
        >>> read_pattern(file).max_gain_dbi
        2.0
    """
    file = Path(file)
    readers = {".msi": _from_msi, ".pln": _from_msi, ".txt": _from_msi, ".csv": _from_csv}
    if file.suffix.lower() not in readers:
        raise UelError("unknown type of antenna pattern", got=str(file), do="give a .msi, .pln, .txt or .csv file")
    try:
        text = read_unpacked(file, MAX_PATTERN_BYTES).decode("utf-8-sig", errors="replace")
    except UelError as error:
        got = brief(error)
        raise UelError("the antenna pattern cannot be read", got=got, do="name a file of a pattern") from error
    return readers[file.suffix.lower()](text, file)


# ---- MSI and Planet ------------------------------------------------------------------------------------


def _from_msi(text: str, file: Path) -> MeasuredPattern:
    lines = [line.strip() for line in text.splitlines()]
    header, cuts, number = dict[str, str](), dict[str, tuple[float, ...]](), 0
    while number < len(lines):
        word, _, rest = lines[number].partition(" ") if " " in lines[number] else lines[number].partition("\t")
        if word.upper() in ("HORIZONTAL", "VERTICAL"):
            name = word.upper()
            if name in cuts:
                raise _wrong(file, number, f"a second {name} cut", lines[number], "keep one")
            cuts[name] = _cut(lines, number, rest, file)
            number += int(rest.split()[0])
        elif word:
            header.setdefault(word.upper(), rest.strip())
        number += 1
    missing = [name for name in ("HORIZONTAL", "VERTICAL") if name not in cuts]
    if missing:
        raise UelError(
            f"{file.name} has no {' and no '.join(missing)} cut",
            got=f"lines that begin with {', '.join(sorted(header)[:8]) or 'nothing'}",
            do="give a whole MSI or Planet file: header, HORIZONTAL 360, VERTICAL 360",
        )
    gain, tilt = _gain_dbi(header, file), _electrical_tilt(header)
    horizontal, vertical = (tuple(gain - loss for loss in cuts[name]) for name in ("HORIZONTAL", "VERTICAL"))
    return MeasuredPattern(
        header.get("NAME") or file.stem,
        horizontal=horizontal,
        vertical=_downwards(vertical, tilt),
        electrical_tilt_deg=tilt,
    )


def _cut(lines: list[str], start: int, rest: str, file: Path) -> tuple[float, ...]:
    """Attenuation in dB at 0, 1, … 359° of the cut whose head is line `start`."""
    if not rest.split() or not rest.split()[0].isdigit() or int(rest.split()[0]) < 4:
        raise _wrong(file, start, "a cut does not say how many rows it has", lines[start], "write HORIZONTAL 360")
    count, rows = int(rest.split()[0]), []
    for number in range(start + 1, start + 1 + count):
        fields = re.split(r"[\s;]+", lines[number].replace(",", ".")) if number < len(lines) else []
        try:
            angle, loss = (float(field) for field in fields[:2])
        except ValueError:
            got = lines[number] if number < len(lines) else "the end of the file"
            do = f"give {count} rows of angle and attenuation after {lines[start]!r}"
            raise _wrong(file, number, "no row of angle and attenuation", got, do) from None
        if not (math.isfinite(angle) and -360 <= angle <= 360 and abs(loss) <= MAX_ATTENUATION_DB):
            do = f"angles are degrees, attenuations 0 to {MAX_ATTENUATION_DB:g} dB below the greatest gain"
            raise _wrong(file, number, "an angle or an attenuation that cannot be", lines[number], do)
        rows.append((angle % 360.0, loss))
    return _each_degree(rows, lines, start, file)


def _each_degree(rows: list[tuple[float, float]], lines: list[str], start: int, file: Path) -> tuple[float, ...]:
    """The attenuation at whole degrees, linear between the rows around the circle."""
    loss_at = dict(rows)
    signs = {math.copysign(1, loss) for loss in loss_at.values() if abs(loss) > 0.5}
    if len(signs) > 1:
        raise _wrong(file, start, "attenuations of both signs", lines[start], "give dB below the greatest gain")
    angles = np.array(sorted(loss_at))
    losses = np.array([abs(loss_at[angle]) if signs == {-1.0} else loss_at[angle] for angle in angles])
    widest = float(np.diff(np.append(angles, angles[0] + 360)).max())
    if widest > 10.0:
        got = f"{len(angles)} different angles, {widest:g}° apart"
        raise _wrong(file, start, "a cut that does not go around the circle", got, "give a row for each degree")
    around = np.interp(np.arange(360.0), np.append(angles, angles[0] + 360), np.append(losses, losses[0]), period=360)
    return tuple(round(float(value), 4) for value in around)


def _gain_dbi(header: dict[str, str], file: Path) -> float:
    """The greatest gain; without a unit it is in dBd, as the format says."""
    text = header.get("GAIN", "")
    match = re.fullmatch(r"([-+]?\d+(?:[.,]\d+)?)\s*(dBi|dBd|dB)?\s*", text, re.IGNORECASE)
    if not match:
        raise UelError(f"{file.name} has no readable GAIN", got=repr(text), do="write GAIN 15.5 dBi")
    value = float(match[1].replace(",", "."))
    return value if (match[2] or "").lower() == "dbi" else round(value + DIPOLE_GAIN_DBI, 4)


def _electrical_tilt(header: dict[str, str]) -> float:
    """The electrical tilt that the pattern contains, where the header tells it in degrees; else 0."""
    for name in ("ELECTRICAL_TILT", "ELECTRICALTILT", "E_TILT", "TILT"):
        match = re.search(r"[-+]?\d+(?:\.\d+)?", header.get(name, ""))
        if match:
            return float(match[0])
    return 0.0


def _downwards(vertical: tuple[float, ...], tilt_deg: float) -> tuple[float, ...]:
    """The vertical cut with angles that count downwards: turned round where its maximum lies a known tilt above."""
    peak = max(range(360), key=lambda angle: vertical[angle])
    below, above = (abs((peak - side * tilt_deg + 180) % 360 - 180) for side in (1, -1))
    return vertical if tilt_deg < 2 or below <= above else (vertical[0], *reversed(vertical[1:]))


# ---- tables over the sphere ----------------------------------------------------------------------------


def _from_csv(text: str, file: Path) -> MeasuredPattern:
    rows = list(csv.reader(io.StringIO(text), delimiter=";" if text.partition("\n")[0].count(";") else ","))
    if len(rows) < 2:
        raise UelError(f"{file.name} is no table", got=f"{len(rows)} lines", do="give a header and a row a direction")
    columns = _columns([name.strip().lower() for name in rows[0]], file)
    gain_at = dict[tuple[float, float], float]()
    for number, row in enumerate(rows[1:], 1):
        if not any(row):
            continue
        try:
            theta, phi, gain = (float(row[columns[name]].replace(",", ".")) for name in ("theta", "phi", "gain"))
        except (ValueError, IndexError):
            raise _wrong(file, number, "no numbers for theta, phi and gain", str(row), "give three numbers") from None
        if not (0 <= theta <= 180 and -360 <= phi <= 360 and math.isfinite(gain)):
            raise _wrong(file, number, "no direction of the sphere, or no gain", str(row), "theta is 0 to 180 degrees")
        place = (round(theta, 4), round(phi % 360, 4))
        if abs(gain_at.setdefault(place, gain) - gain) > 0.01 and 0 < theta < 180:
            raise _wrong(file, number, "a direction with two gains", str(row), "give each direction once")
    return MeasuredPattern(file.stem, table=_grid(gain_at, file))


def _columns(names: list[str], file: Path) -> dict[str, int]:
    found = {
        own: next((n for n, name in enumerate(names) if name in known), None) for own, known in TABLE_COLUMNS.items()
    }
    missing = [name for name, column in found.items() if column is None]
    if missing:
        do = "name the columns theta, phi and gain_dbi"
        raise UelError(f"{file.name} has no column {', '.join(missing)}", got=", ".join(names), do=do)
    return {name: column for name, column in found.items() if column is not None}


def _grid(gain_at: dict[tuple[float, float], float], file: Path) -> tuple[tuple[float, ...], ...]:
    """Rows of theta, columns of phi. Raises `UelError` unless the directions are an even grid over the sphere."""
    thetas, phis = (sorted({place[axis] for place in gain_at}) for axis in (0, 1))
    even = all(np.allclose(np.diff(v), v[1] - v[0] if len(v) > 1 else 0, atol=0.01) for v in (thetas, phis))
    whole = len(thetas) >= 3 and len(phis) >= 4 and thetas[0] == 0 and thetas[-1] == 180
    around = len(phis) >= 4 and math.isclose(phis[-1] + phis[1] - phis[0], 360 + phis[0], abs_tol=0.01)
    if not (even and whole and around and phis[0] == 0):
        raise UelError(
            f"the directions of {file.name} are no even grid over the sphere",
            got=f"{len(thetas)} theta, {thetas[0]:g} to {thetas[-1]:g}°, {len(phis)} phi, {phis[0]:g} to {phis[-1]:g}°",
            do="give theta 0 to 180 and phi 0 to 360 (or -180 to 180) in even steps",
        )
    missing = [(theta, phi) for theta in thetas for phi in phis if (theta, phi) not in gain_at and 0 < theta < 180]
    if missing:
        got = f"{len(missing)} are missing, the first at theta {missing[0][0]:g}°, phi {missing[0][1]:g}°"
        raise UelError(f"{file.name} does not have all directions of its grid", got=got, do="give a row for each")
    table = tuple(tuple(_gain_at(gain_at, theta, phi) for phi in phis) for theta in thetas)
    rows, columns = np.unravel_index(int(np.argmax(table)), (len(thetas), len(phis)))
    if thetas[rows] < 30 and max(map(max, table)) > 3:
        raise UelError(
            f"the greatest gain of {file.name} points up",
            got=f"theta {thetas[rows]:g}°, phi {phis[columns]:g}°",
            do="turn the pattern: boresight is theta 90°, phi 0°, and theta 0° is up",
        )
    return table


def _gain_at(gain_at: dict[tuple[float, float], float], theta: float, phi: float) -> float:
    """The gain of a direction; at the poles, which have no phi, that of any row there."""
    if (theta, phi) in gain_at:
        return gain_at[theta, phi]
    return next(gain for (other, _), gain in gain_at.items() if other == theta)


def _wrong(file: Path, index: int, what: str, got: str, do: str) -> UelError:
    return UelError(f"line {index + 1} of {file.name} is {what}", got=got, do=do)
