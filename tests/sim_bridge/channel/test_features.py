"""Features of reports, against what can be worked out for empty space and for a street."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sim_bridge.channel import ofdm, phy_abstraction
from sim_bridge.channel.cell_measurements import InterferenceNetwork
from sim_bridge.channel.config import FeatureConfig
from sim_bridge.channel.features import measure_features, serving_features
from tests.helpers.ray_traced_scenes import bundled, distance, empty, friis
from uel.core.constants import SPEED_OF_LIGHT, noise_dbm
from uel.errors import UelError
from uel.radio.config import Carrier, EventA3
from uel.radio.sites import Array, Cell, Site
from uel.survey.feature_schema import FEATURE_LAYERS, REPORT_FEATURES

PLAN = FeatureConfig(frequencies=16, csi_taps=8, paths=3, taps=5, neighbours=4)
STILL = torch.zeros(1, 3)


def masts(*places: tuple[float, float, float], array: Array | None = None, power_dbm: float = 46.0) -> tuple[Site, ...]:
    """Sites with a cell each."""
    cell = Cell(array=array or Array(), power_dbm=power_dbm)
    return tuple(Site(position=place, cells=(cell,)) for place in places)


def level_dbm(position: Tensor, origin: tuple[float, float, float]) -> float:
    """Friis and the power of a resource element, 46 dBm over 3276."""
    return 10 * math.log10(float(friis(distance(position, origin)))) + 46 - 10 * math.log10(3276)


# ---- one cell in empty space -------------------------------------------------------------------------------


def test_one_cell_in_empty_space_by_hand() -> None:
    origin = (0.0, 0.0, 20.0)
    sim, position = empty(masts(origin)), torch.tensor([[300.0, 400.0, 20.0]])
    found = measure_features(sim, position, torch.tensor([[-6.0, -8.0, 0.0]]), PLAN)
    rsrp, noise = level_dbm(position[0], origin), noise_dbm(30e3)
    assert float(found["rsrp_dbm"]) == pytest.approx(rsrp, abs=1e-3)
    # Level with the mast, a vertical antenna is heard by the vertical one alone.
    assert found["snr_db"][0, 0].tolist() == pytest.approx([rsrp - noise, -100.0], abs=1e-3)
    assert float(found["sinr_db"]) == float(found["ss_sinr_db"]) == pytest.approx(rsrp - noise, abs=1e-3)
    both = 3276 * (0.5 * 10 ** (rsrp / 10) + 2 * 10 ** (noise / 10))
    assert float(found["rssi_dbm"]) == pytest.approx(10 * math.log10(both), abs=1e-3)
    # The cell's elements are half full: 1 / (12 · (0.5 + noise)).
    quality = 1 / (12 * (0.5 + 10 ** ((noise - rsrp) / 10)))
    assert float(found["rsrq_db"]) == pytest.approx(10 * math.log10(quality), abs=1e-4)
    assert int(found["timing_advance"]) == math.floor(500 / 39.0355)
    assert float(found["doppler"]) == pytest.approx(10 * 3.5e9 / SPEED_OF_LIGHT, rel=1e-4)
    assert (int(found["rank_indicator"]), int(found["cqi"]), float(found["condition_db"])) == (1, 15, 0.0)
    assert found["path_known"][0, 0].tolist() == [True, False, False]
    assert found["path_delay"][0, 0].tolist() == pytest.approx([500 / SPEED_OF_LIGHT, 0, 0])
    assert float(found["arrival_azimuth_deg"]) == pytest.approx(math.degrees(math.atan2(-3, -4)) % 360, abs=1e-3)
    assert float(found["departure_elevation_deg"]) == pytest.approx(0.0, abs=1e-3)
    assert found["tap_known"][0, 0].tolist() == [True, False, False, False, False]
    assert float(found["tap_gain_db"][0, 0, 0]) == pytest.approx(float(found["gain_db"]), abs=1e-3)


def test_angles_above_the_horizon() -> None:
    """A phone 20 m below and 20 m beside: 45° down, and 45° up where it comes from."""
    found = measure_features(empty(masts((0.0, 0.0, 21.5))), torch.tensor([[20.0, 0.0, 1.5]]), STILL, PLAN)
    assert float(found["departure_elevation_deg"]) == pytest.approx(-45.0, abs=1e-3)
    assert float(found["arrival_elevation_deg"]) == pytest.approx(45.0, abs=1e-3)


def test_two_cells_at_the_same_distance_interfere_by_their_load() -> None:
    """Both vertical: one antenna hears both equally, so SINR = S / (load·S + N)."""
    sim = empty(masts((-100.0, 0.0, 1.5), (100.0, 0.0, 1.5)))
    ratio = 10 ** ((level_dbm(torch.tensor([0.0, 0.0, 1.5]), (100.0, 0.0, 1.5)) - noise_dbm(30e3)) / 10)
    for load in (0.0, 0.25, 1.0):
        found = measure_features(sim, torch.tensor([[0.0, 0.0, 1.5]]), STILL, replace(PLAN, load=load))
        want = 10 * math.log10(ratio / (load * ratio + 1))
        assert found["sinr_db"][0].tolist() == pytest.approx([want, want], abs=1e-3)
        assert found["ss_sinr_db"][0].tolist() == pytest.approx([want, want], abs=1e-3)


def test_cross_polarised_antennas_carry_two_layers() -> None:
    """Level with the phone, vertical and horizontal reach one antenna each: condition 0 dB, rank 2, two taps of CSI."""
    sim = empty(masts((0.0, 0.0, 1.5), array=Array(polarization="VH")))
    found = measure_features(sim, torch.tensor([[60.0, 0.0, 1.5]]), STILL, PLAN)
    assert int(found["rank_indicator"]) == 2
    assert float(found["condition_db"]) == pytest.approx(0.0, abs=1e-3)
    later = {name: values[None] for name, values in found.items()}
    result = serving_features(later, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), PLAN, Carrier())
    size = result["csi"][0, 0].square().sum(-1)
    torch.testing.assert_close(size[:, :, 0], torch.eye(2) / 2, rtol=0, atol=1e-5)
    assert float(result["csi_energy"]) == pytest.approx(1.0, abs=1e-5)


# ---- everything, in a street ---------------------------------------------------------------------------------

PLACES = torch.tensor([[25.0, -3.0, 1.5], [24.0, 12.0, 1.5], [-50.0, 5.0, 1.5], [40.0, 2.0, 1.5], [0.0, 60.0, 1.5]])


def street() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Two tracks of five reports; direct paths alone, so that walls hide cells. The second ends after two."""
    sim = bundled("simple_street_canyon", masts((-30.0, 2.0, 12.0), (50.0, -2.0, 12.0)), max_depth=0)
    flat = measure_features(sim, PLACES.repeat(2, 1), torch.zeros(10, 3), PLAN)
    values = {name: value.unflatten(0, (2, 5)) for name, value in flat.items()}
    time = torch.arange(5.0).expand(2, -1) * 0.2
    valid = torch.arange(5) < torch.tensor([[5], [2]])
    return values, serving_features(values, time, valid, PLAN, Carrier())


def test_every_feature_is_there_finite_and_zero_where_it_is_not_known() -> None:
    now, later = street()
    everything = now | later
    assert set(everything) - set(REPORT_FEATURES) == {"_sinr", "_csi"}
    assert set(PLAN.features) == set(REPORT_FEATURES) == set(everything) & set(REPORT_FEATURES)
    assert not now["known"].all()
    assert now["known"].any()
    size = {"cell": 2, "path": 3, "tap": 5, "antenna": 2, "port": 1, "csi_tap": 8, "part": 2, "xy": 2, "neighbour": 4}
    for name, feature in REPORT_FEATURES.items():
        values = everything[name]
        assert str(values.dtype) == f"torch.{feature.dtype}", name
        assert values.shape[2:] == tuple(size[axis] for axis in feature.axes), name
        assert bool(values.isfinite().all()), name
        assert feature.history == (name in later), name
        if feature.mask:
            assert REPORT_FEATURES[feature.mask].axes == feature.axes[: len(REPORT_FEATURES[feature.mask].axes)]
            assert bool((values[~everything[feature.mask]] == 0).all()), name


def test_reports_that_fill_up_a_track_have_no_serving_cell() -> None:
    _, later = street()
    assert not later["serving_known"][1, 2:].any()
    assert later["throughput"][1, 2:].sum() == later["csi"][1, 2:].abs().sum() == 0
    assert bool(later["serving_known"][1, 0])


def test_the_serving_cells_data_is_that_of_its_channel() -> None:
    now, later = street()
    heard = later["serving_known"][0].nonzero()[:, 0].tolist()
    for report in heard:
        sinr = now["_sinr"][0, report, int(later["serving"][0, report])]
        alone = phy_abstraction.adapt_link(sinr[None], Carrier())
        assert int(later["mcs"][0, report]) == int(alone.mcs)
        assert float(later["throughput"][0, report]) == pytest.approx(float(alone.bits) / 0.5e-3)
        assert float(later["effective_sinr_db"][0, report]) == pytest.approx(
            10 * math.log10(float(alone.effective)), abs=1e-4
        )


def test_the_event_is_the_plans() -> None:
    """Two masts, a phone that walks from one to the other: no handover with an offset of 100 dB."""
    sim = empty(masts((-100.0, 0.0, 10.0), (100.0, 0.0, 10.0)))
    position = torch.tensor([[x, 0.0, 1.5] for x in (-80.0, 40.0, 60.0, 80.0)])
    flat = measure_features(sim, position, torch.zeros(4, 3), PLAN)
    values = {name: value[None] for name, value in flat.items()}
    time, valid = torch.arange(4.0)[None] * 0.5, torch.ones(1, 4, dtype=torch.bool)
    for offset, cells in ((3.0, [0, 0, 1, 1]), (100.0, [0, 0, 0, 0])):
        plan = replace(PLAN, event=EventA3(offset_db=offset, time_to_trigger=0.5))
        assert serving_features(values, time, valid, plan, Carrier())["serving"][0].tolist() == cells


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sim = bundled("simple_street_canyon", masts((-30.0, 2.0, 12.0), (50.0, -2.0, 12.0)), max_depth=2)
    whole = measure_features(sim, PLACES, torch.zeros(5, 3), PLAN)
    monkeypatch.setattr(ofdm, "MAX_COMPLEX_NUMBERS", 1)
    for name, values in measure_features(sim, PLACES, torch.zeros(5, 3), PLAN).items():
        torch.testing.assert_close(values, whole[name], rtol=1e-4, atol=1e-4, msg=name)


def test_rays_alone_need_nothing_of_sionna_phy(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("the tables were read")

    monkeypatch.setattr(phy_abstraction, "_sionna", refuse)
    plan = replace(PLAN, layers=("rt",))
    found = measure_features(empty(masts((0.0, 0.0, 20.0))), torch.tensor([[30.0, 40.0]]), STILL, plan)
    assert set(found) == set(plan.features) == {n for n, f in REPORT_FEATURES.items() if f.layer == "rt"}
    assert serving_features(found, torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), plan, Carrier()) == {}


def test_a_late_echo_is_noise() -> None:
    """SINR stays below 1 / (share that falls outside): here of a link whose power is all beyond the prefix."""
    sim = empty(masts((0.0, 0.0, 20.0)))
    found = sim.trace(torch.tensor([[30.0, 40.0, 1.5]]))
    doubled = type(found).cat([found])
    late = replace(
        doubled,
        **{
            name: torch.cat([getattr(found, name)] * 2)
            for name in ("target", "source", "power", "departure", "arrival", "doppler", "interactions", "amplitude")
        },
        delay=torch.cat([found.delay, found.delay + 1e-3]),
    )
    from sim_bridge.channel.cell_measurements import cell_measurements

    result = cell_measurements(InterferenceNetwork.from_scene(sim.radio_scene, 7.0, late.power.device), late, PLAN)
    assert float(result["leakage_share"]) == pytest.approx(0.5)
    # As much falls outside as arrives in time; the two antennas share what falls outside, one has all that arrives.
    assert float(result["sinr_db"]) == pytest.approx(10 * math.log10(2), abs=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ()}, "layers must be the first of"),
        ({"layers": ("rt", "sys")}, "layers must be the first of"),
        ({"taps": 0}, "taps must be at least 1"),
        ({"load": 1.5}, "load must be a fraction"),
        ({"csi_taps": 99}, "csi_taps must not exceed frequencies"),
    ],
)
def test_plans_that_cannot_be(change: dict, message: str) -> None:
    with pytest.raises(UelError, match=message):
        FeatureConfig(**change)
    assert FeatureConfig(layers=FEATURE_LAYERS[:2]).features.keys() == {
        n for n, f in REPORT_FEATURES.items() if f.layer != "sys"
    }


def test_fading_averages_to_the_gain_of_maps() -> None:
    """Over fringes of ground and walls, metres apart, coherent power is the sum over paths of their powers."""
    sim = bundled("simple_street_canyon", masts((-30.0, 2.0, 12.0)), max_depth=2)
    spot = torch.rand(400, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor([35.0, 8.0])
    spot += torch.tensor([5.0, -4.0])
    found = measure_features(sim, spot, torch.zeros(400, 3), PLAN)
    reference = 46 - 10 * math.log10(3276)
    ratio = 10 ** ((found["rsrp_dbm"] - found["gain_db"] - reference) / 10)
    assert float(ratio.mean()) == pytest.approx(1.0, abs=0.05)
    assert float(ratio.std()) > 0.05
