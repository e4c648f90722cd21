"""Footprints of other makers: GeoJSON with gaps, lines of it, GeoPackage, Shapefile, Parquet, in any CRS."""

import gzip
import json
import zipfile
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import shapely

from scenes.osm import reader
from scenes.osm.files.attributes import ColumnUse, building_type, looks_like_footprints, osm_tags
from scenes.osm.map_features import MapExtract
from scenes.tiles.build_key import build_key
from tests.helpers.osm_town import feature, polygon, square, write_geojson
from uel.errors import UelError


def read(path: Path, **more) -> MapExtract:
    return reader.read_map(path, **{"center": (48.0, 9.0), "size": 256.0, "margin": 0.0, **more})


def tops(place: MapExtract) -> list[tuple[float, str]]:
    return [(round(building.top, 2), building.provenance) for building in place.buildings]


@pytest.mark.parametrize(
    ("properties", "height", "levels"),
    [
        ({"height": 12.5}, "12.5", None),
        ({"HEIGHT": 12}, "12", None),
        ({"Height_M": "9,5"}, "9,5", None),
        ({"HEIGHT_FT": 40}, "12.192", None),
        ({"heightFeet": 100}, "30.48", None),
        ({"bldg_height_cm": 1840}, "18.4", None),
        ({"heightroof": 100.0}, "30.48", None),
        ({"hauteur": 7, "nb_etages": 2}, "7", "2"),
        ({"measuredHeight": 8.25, "storeysAboveGround": 3}, "8.25", "3"),
        ({"HOEHE": 11.0}, "11", None),
        ({"height": 40, "units": "feet"}, "12.192", None),
        ({"height": None, "num_floors": 5}, None, "5"),
        ({"height": float("nan"), "stories": 2.0}, None, "2"),
        ({"height": -1, "bldg_h": 6}, "6", None),
        ({"roof_height": 3.0}, None, None),  # of the roof alone
        ({"maxheight": "2.1"}, None, None),  # what may pass below
        ({"elevation": 312.0, "GROUNDELEV": 40}, None, None),  # of the ground, above the sea
        ({"building:levels": "4", "floors": 9}, None, "4"),
    ],
)
def test_columns_are_understood(properties: dict, height: str | None, levels: str | None):
    tags = osm_tags(properties, ColumnUse())
    assert (tags.get("height"), tags.get("building:levels")) == (height, levels)


def test_other_properties_become_tags():
    tags = osm_tags(
        {"min_floor": 3, "num_floors_underground": 2, "is_underground": True, "roof_material": "tile"}, ColumnUse()
    )
    assert tags["building:min_level"] == "3"
    assert tags["building:levels:underground"] == "2"
    assert tags["location"] == "underground"
    assert tags["roof:material"] == "tile"
    nested = osm_tags({"tags": {"building": "yes", "height": "7"}, "osm_id": 5}, ColumnUse())
    stored = osm_tags({"other_tags": '"building"=>"yes","height"=>"7"'}, ColumnUse())
    assert nested["height"] == stored["height"] == "7"
    assert building_type({"class": "apartments"}) == "apartments"
    assert building_type({"fclass": "building", "type": "house"}) == "house"
    assert building_type({"TYPE": "12"}) == building_type({}) == "yes"


def test_whether_polygons_are_buildings_is_said_by_names():
    assert looks_like_footprints(set(), "x.geojson")
    assert looks_like_footprints({"OBJECTID"}, "Buildings.shp")
    assert looks_like_footprints({"capture_dates_range", "release"}, "Alabama.geojson")
    assert looks_like_footprints({"area_in_meters", "confidence"}, "tile.geojson")
    assert not looks_like_footprints({"OBJECTID", "owner"}, "parcels.shp")


def test_features_without_a_place_cost_no_other_one(tmp_path: Path):
    house, small = polygon(square(0, 0, 20)), square(40, 0, 10)

    def shape(points: list) -> dict:
        return {"type": "Polygon", "coordinates": [points]}

    items = [
        feature({"building": "yes", "height": 9}, house, id="way/1"),
        feature({"building": "yes"}, None, id="way/2"),
        feature(None, {"type": "Point", "coordinates": [9.0, 48.0]}),
        feature({"building": "yes"}, {"type": "Polygon", "coordinates": []}, id="way/4"),
        feature({"building": "yes"}, {"type": "Blob"}, id="way/5"),
        feature({"building": "yes"}, shape([["x", 1], [2, 3], [4, 5], ["x", 1]]), id="way/6"),
        feature({"building": "yes"}, shape([[9, 48], [9, 1e9], [9.1, 48], [9, 48]]), id="way/7"),
        feature({"building": "yes", "height": 5}, {"type": "GeometryCollection", "geometries": [polygon(small)]}),
        None,
        "no feature",
    ]  # fmt: skip
    place = read(write_geojson(tmp_path / "odd.geojson", *items))
    assert tops(place) == [(9.0, "tag"), (5.0, "tag")]
    why = {exclusion.id: exclusion.reason for exclusion in place.exclusions}
    assert why["way/2"] == why["way/4"] == "no geometry"
    assert why["way/5"].startswith("unreadable geometry")
    assert why["way/6"].startswith("unreadable geometry")
    assert why["way/7"].startswith("coordinates are no degrees")
    assert len(why) == 5


@pytest.mark.parametrize("form", ["feature", "geometry", "list", "nan"])
def test_geojson_without_a_collection(tmp_path: Path, form: str):
    house = feature({"building": "yes", "height": 9}, polygon(square(0, 0, 20)))
    content = {"feature": house, "geometry": house["geometry"], "list": [house], "nan": house}[form]
    text = json.dumps(content).replace('"height": 9', '"height": 9, "x": NaN' if form == "nan" else '"height": 9')
    (tmp_path / "one.geojson").write_text(text)
    assert [building.provenance for building in read(tmp_path / "one.geojson").buildings] == (
        ["prior"] if form == "geometry" else ["tag"]
    )


def test_overture_loses_nobody(tmp_path: Path):
    heights = [(18.4, 6), (None, 5), (None, None), (-1.0, None), (0.0, None)]
    items = [
        feature({"class": "apartments", "height": height, "num_floors": floors, "names": None},
                polygon(square(30 * k - 75, 0, 20)), id=f"08b{k}")
        for k, (height, floors) in enumerate(heights)
    ]  # fmt: skip
    items.append(feature({"theme": "base", "type": "water"}, polygon(square(0, 60, 20))))
    place = read(write_geojson(tmp_path / "overture.geojson", *items))
    assert tops(place) == [(18.4, "tag"), (18.0, "levels"), (15.0, "prior"), (15.0, "prior"), (15.0, "prior")]
    assert any("num_floors (2)" in note for note in place.notes)
    assert any("'-1', '0'" in note for note in place.notes)


@pytest.fixture
def houses() -> gpd.GeoDataFrame:
    """Three houses of a city, in metres of its own projection; the columns are not OpenStreetMap's."""
    shapes = [shapely.from_geojson(json.dumps(polygon(square(30 * k - 45, 0, 20)))) for k in range(3)]
    data = {"HEIGHT_FT": [40.0, 20.0, None], "stories": [None, None, 4.0], "bldg_id": ["a", "b", "c"]}
    return gpd.GeoDataFrame(data, geometry=shapes, crs="EPSG:4326")


WANTED = [(12.19, "tag"), (6.1, "tag"), (14.4, "levels")]


@pytest.mark.parametrize(
    "name", ["city.gpkg", "buildings.shp", "city.fgb", "city.parquet", "city.geojsonl", "zipped.zip"]
)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:25832", "EPSG:3857"])
def test_layers_in_any_crs(tmp_path: Path, houses: gpd.GeoDataFrame, name: str, crs: str):
    table, file = houses.to_crs(crs), tmp_path / name
    if name.endswith("parquet"):
        table.to_parquet(file)
    elif name.endswith("geojsonl"):
        lines = [json.dumps(item) for item in json.loads(houses.to_json())["features"]]
        file.write_text("\n".join(lines) + "\n")
    elif name.endswith("zip"):
        table.to_file(tmp_path / "city.shp")
        with zipfile.ZipFile(file, "w") as archive:
            for part in sorted(tmp_path.glob("city.*")):
                archive.write(part, f"folder/{part.name}")
    else:
        table.to_file(file)
    place = read(file)
    assert sorted(tops(place)) == sorted(WANTED)  # FlatGeobuf sorts by place
    assert [round(building.footprint.area) for building in place.buildings] == [400, 400, 400]
    assert [note for note in place.notes if "HEIGHT_FT (2), stories (1)" in note]


def test_a_layer_of_parks_beside_the_buildings_is_no_buildings(tmp_path: Path, houses: gpd.GeoDataFrame):
    houses.to_file(tmp_path / "city.gpkg", layer="houses_2024")
    houses[["geometry"]].assign(park="yes").to_file(tmp_path / "city.gpkg", layer="parks")
    assert tops(read(tmp_path / "city.gpkg")) == WANTED


def test_a_polygon_with_an_empty_height_beside_openstreetmap_is_a_building(tmp_path: Path):
    osm = feature({"building": "yes", "height": 9}, polygon(square(0, 0, 20)))
    other = feature({"height": None, "source": "lidar"}, polygon(square(40, 0, 20)))
    shop = feature({"shop": "yes"}, polygon(square(-40, 0, 20)))
    place = read(write_geojson(tmp_path / "both.geojson", osm, other, shop))
    assert tops(place) == [(9.0, "tag"), (8.0, "prior")]


def test_overtures_level_is_an_order_of_drawing(tmp_path: Path):
    items = [feature({"level": -1, "height": 9.0, "sources": [{}]}, polygon(square(0, 0, 20)))]
    items.append(feature({"is_underground": True, "height": 5.0}, polygon(square(40, 0, 20))))
    place = read(write_geojson(tmp_path / "overture.geojson", *items))
    assert tops(place) == [(9.0, "tag")]
    assert [e.reason for e in place.exclusions] == ["underground: location=underground"]


def test_lines_of_geojson_with_another_name(tmp_path: Path, houses: gpd.GeoDataFrame):
    """Microsoft's tiles are called .csv.gz; a first feature may be longer than what is looked at."""
    items = json.loads(houses.to_json())["features"]
    items[0]["properties"]["long"] = "x" * 9000
    text = "\n".join(json.dumps(item) for item in items)
    (tmp_path / "quadkey.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert tops(read(tmp_path / "quadkey.csv.gz")) == WANTED


def test_a_table_without_geo_metadata(tmp_path: Path, houses: gpd.GeoDataFrame):
    data = pd.DataFrame(houses.drop(columns="geometry")).assign(geometry=shapely.to_wkb(houses.geometry.to_numpy()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(data, preserve_index=False), tmp_path / "plain.parquet")
    assert tops(read(tmp_path / "plain.parquet")) == WANTED


def test_a_geojson_file_may_say_its_crs(tmp_path: Path, houses: gpd.GeoDataFrame):
    content = json.loads(houses.to_crs("EPSG:32632").to_json())
    content["crs"] = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    (tmp_path / "city.geojson").write_text(json.dumps(content))
    assert tops(read(tmp_path / "city.geojson")) == WANTED


def test_a_far_square_of_a_large_layer_says_where_its_buildings_are(tmp_path: Path, houses: gpd.GeoDataFrame):
    houses.to_file(tmp_path / "city.gpkg")
    with pytest.raises(UelError, match=r"no building(.|\n)*--center 48.0001 8.9999"):
        read(tmp_path / "city.gpkg", center=(48.2, 9.0))


def test_the_heights_of_a_shapefile_are_part_of_its_key(tmp_path: Path, houses: gpd.GeoDataFrame):
    """They stand in the .dbf: a tile must not be reused when only they change."""
    houses.to_file(tmp_path / "city.shp")
    options = {"dem": None, "vegetation": False}
    before = build_key(tmp_path / "city.shp", None, None, options)
    houses.assign(HEIGHT_FT=99.0).to_file(tmp_path / "city.shp")
    assert build_key(tmp_path / "city.shp", None, None, options) != before
