"""The ground: closed forms, triangles that agree with the mesh, a real elevation model, and every refusal."""

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio import Affine

from scenes.mesh.mesh_parts import MeshPart
from scenes.mesh.rasters import highest_hits
from scenes.mesh.terrain import Terrain
from uel.core.grid import Grid
from uel.errors import UelError

UTM = "EPSG:32632"
ORIGIN = (691_000.0, 5_334_000.0)


def _plane(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 500 + 0.3 * x - 0.1 * y


def _write(file: Path, values: np.ndarray, *, crs: str | None = UTM, pixel: float = 5.0, **profile) -> Path:
    """A DEM centred on `ORIGIN`; values by line, the first in the north."""
    lines, samples = values.shape
    corner = Affine(pixel, 0, ORIGIN[0] - samples * pixel / 2, 0, -pixel, ORIGIN[1] + lines * pixel / 2)
    profile = {"transform": corner, "crs": crs, "dtype": values.dtype, **profile}
    with rasterio.open(file, "w", driver="GTiff", width=samples, height=lines, count=1, **profile) as dem:
        dem.write(values, 1)
    return file


def _tilted(file: Path, half: float = 300.0, **profile) -> Path:
    centre = np.arange(-half + 2.5, half, 5.0)
    return _write(file, _plane(centre[None], centre[::-1, None]), **profile)


def _hilly(seed: int = 0, count: int = 9, half: float = 40.0) -> Terrain:
    return Terrain(half, np.random.default_rng(seed).uniform(0, 30, (count, count)))


# Closed forms


def test_flat_ground_is_flat():
    terrain = Terrain.flat(12.0, half=50.0)
    np.testing.assert_array_equal(terrain.elevation(np.array([0.0, 49, -90]), np.array([0.0, 3, 90])), 12.0)
    vertices, faces = terrain.mesh()
    assert (vertices.min(), vertices.max()) == (-50, 50)
    assert len(faces) == 2


def test_a_tilted_plane_is_read_exactly(tmp_path: Path):
    """Bilinear interpolation of a plane is the plane, whatever the lattice."""
    terrain = Terrain.from_dem(_tilted(tmp_path / "plane.tif"), UTM, ORIGIN, half=200.0, pixel=7.0)
    assert terrain.step <= 7.0
    x, y = np.random.default_rng(1).uniform(-200, 200, (2, 1000))
    np.testing.assert_allclose(terrain.elevation(x, y), _plane(x, y), atol=1e-6)


def test_beyond_the_square_the_edge_goes_on(tmp_path: Path):
    terrain = Terrain.from_dem(_tilted(tmp_path / "plane.tif"), UTM, ORIGIN, half=200.0)
    assert terrain.elevation(np.array([900.0]), np.array([10.0])) == pytest.approx(500 + 0.3 * 200 - 1)


def test_elevation_is_that_of_the_mesh():
    """On random hills, against vertical rays on the mesh's triangles."""
    terrain, grid = _hilly(), Grid(size=80.0, pixel=0.7 * 80 / 56)
    top = highest_hits(MeshPart("terrain", "ground", *terrain.mesh()).triangles, grid)
    x, y = grid.centres().numpy().astype(float).transpose(2, 0, 1)
    np.testing.assert_allclose(terrain.elevation(x, y), top, atol=1e-3)  # the grid's centres are single precision


def test_faces_look_up():
    triangles = MeshPart("terrain", "ground", *_hilly().mesh()).triangles
    normal = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    assert (normal[:, 2] > 0).all()
    assert normal[:, 2].sum() / 2 == pytest.approx(80.0**2)


def test_extremes_under_a_segment_are_exact():
    """Against ten thousand points on each of fifty segments, some of which leave the square."""
    terrain, random = _hilly(2), np.random.default_rng(3)
    start, end = random.uniform(-60, 60, (2, 50, 2))
    low, high = terrain.extremes(start, end)
    share = np.linspace(0, 1, 10_001)[:, None, None]
    z = terrain.elevation(*np.moveaxis(start + share * (end - start), -1, 0))
    assert (low <= z.min(axis=0) + 1e-9).all()
    assert (high >= z.max(axis=0) - 1e-9).all()
    np.testing.assert_allclose(low, z.min(axis=0), atol=0.1)
    np.testing.assert_allclose(high, z.max(axis=0), atol=0.1)


# Files


def test_a_geographic_raster_lands_in_the_right_place(tmp_path: Path):
    """Elevation linear in latitude and longitude, written in degrees, read in UTM."""
    to_degrees = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(*ORIGIN)
    step = 1 / 1200  # as SRTM
    lon, lat = longitude + step * np.arange(-9.5, 10), latitude + step * np.arange(9.5, -10, -1)
    corner = Affine(step, 0, lon[0] - step / 2, 0, -step, lat[0] + step / 2)

    def height(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        return 300 + 5000 * (lon - longitude) + 9000 * (lat - latitude)

    file = _write(tmp_path / "wgs84.tif", height(lon[None], lat[:, None]), crs="EPSG:4326", transform=corner)
    terrain = Terrain.from_dem(file, UTM, ORIGIN, half=300.0)
    x, y, z = terrain.nodes.T
    np.testing.assert_allclose(z, height(*to_degrees.transform(x + ORIGIN[0], y + ORIGIN[1])), atol=1e-5)


def test_scale_and_offset_count(tmp_path: Path):
    file = _write(tmp_path / "scaled.tif", np.full((100, 100), 120, np.int16))
    with rasterio.open(file, "r+") as dem:
        dem.scales, dem.offsets = (0.1,), (400.0,)
    assert Terrain.from_dem(file, UTM, ORIGIN, half=100.0).heights == pytest.approx(412.0)


def test_monaco_rises_from_the_sea(shared: Path):
    """Real SRTM: the harbour at the sea, the slope behind it, the summit within a cell of the file's pixel."""
    to_utm = Transformer.from_crs("EPSG:4326", UTM, always_xy=True)
    file = shared / "dem" / "monaco_srtm3.tif"
    terrain = Terrain.from_dem(file, UTM, to_utm.transform(7.4214, 43.7350), half=600.0)
    assert -5 < terrain.heights.min() < 5
    assert 60 < terrain.heights.max() < 250
    with rasterio.open(file) as dem:
        line, sample = 30, 40
        value, (lon, lat) = dem.read(1)[line, sample], dem.xy(line, sample)
    there = Terrain.from_dem(file, UTM, to_utm.transform(lon, lat), half=100.0)
    assert there.elevation(np.zeros(1), np.zeros(1)) == pytest.approx(value, abs=1e-3)


# Refusals


def test_a_raster_that_ends_too_early(tmp_path: Path):
    file = _tilted(tmp_path / "plane.tif", half=300.0)
    with pytest.raises(UelError, match=r"does not cover(.|\n)*%(.|\n)*it ends 150 m short in the east"):
        Terrain.from_dem(file, UTM, (ORIGIN[0] + 250, ORIGIN[1]), half=200.0)
    with pytest.raises(UelError, match=r"100.0% of the square"):
        Terrain.from_dem(file, UTM, (ORIGIN[0] + 9000, ORIGIN[1]), half=200.0)


@pytest.mark.parametrize("hole", [math.nan, -32768.0, -9999.0])
def test_holes_are_not_bridged(hole: float, tmp_path: Path):
    """One pixel without elevation is enough, declared or not; a hole outside the square does no harm."""
    values = np.full((120, 120), 7.0)
    values[60, 60] = hole
    file = _write(tmp_path / "hole.tif", values, nodata=-32768.0)
    with pytest.raises(UelError, match=r"holes in the square(.|\n)*\d% of the square without"):
        Terrain.from_dem(file, UTM, ORIGIN, half=200.0)
    away = Terrain.from_dem(file, UTM, (ORIGIN[0] + 150, ORIGIN[1]), half=100.0)
    np.testing.assert_allclose(away.heights, 7.0)


def test_files_that_are_no_elevation_model(tmp_path: Path):
    (tmp_path / "poem.tif").write_text("no raster")
    with pytest.raises(UelError, match="cannot be read"):
        Terrain.from_dem(tmp_path / "poem.tif", UTM, ORIGIN, half=100.0)
    with pytest.raises(UelError, match="cannot be read"):
        Terrain.from_dem(tmp_path / "none.tif", UTM, ORIGIN, half=100.0)
    with pytest.raises(UelError, match="no CRS"):
        Terrain.from_dem(_tilted(tmp_path / "bare.tif", crs=None), UTM, ORIGIN, half=100.0)


def test_feet_and_degrees_are_refused(tmp_path: Path):
    file = _tilted(tmp_path / "plane.tif")
    for crs in ("EPSG:4326", "EPSG:2263"):
        with pytest.raises(UelError, match="not in metres"):
            Terrain.from_dem(file, crs, ORIGIN, half=100.0)
    with pytest.raises(UelError, match="unknown coordinate"):
        Terrain.from_dem(file, "the moon", ORIGIN, half=100.0)
    with rasterio.open(file, "r+") as dem:
        dem.units = ("US survey foot",)
    with pytest.raises(UelError, match=r"not in metres(.|\n)*survey foot"):
        Terrain.from_dem(file, UTM, ORIGIN, half=100.0)


@pytest.mark.parametrize("square", [{"half": 0.0}, {"half": math.nan}, {"half": 10.0, "pixel": 0.0}])
def test_squares_that_are_none(square: dict, tmp_path: Path):
    with pytest.raises(UelError, match="out of range"):
        Terrain.from_dem(tmp_path / "none.tif", UTM, ORIGIN, **square)
