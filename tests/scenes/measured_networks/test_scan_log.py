"""Logs of scans: one file a day, all cells at one instant."""

import gzip

import pytest
import torch

from scenes.measured_networks.folders import read_network
from scenes.measured_networks.scan_log import read_scan_logs
from uel.errors import UelError
from uel.measurement.measured_network import split_days

SCAN = """!!!!!!!!!!!
UTC,latitude,longitude,HDOP,altitude,fix,COG,spkm,spkn,date,nsat
145355.00,{latitude:.5f},-78.93724,2.1,124.7,3,131.1,0.0,0.0,201023,4
is_tdd,mcc,mnc,cellid,pcid,earfcn,freq_band_ind,ul_bandwidth,dl_bandwidth,tac,rsrp,rsrq,rssi,sinr,srxlev
"TDD",315,010,6A401,20,56140,48,5,5,2,{level},-6,-63,25,-
earfcn,pcid,srq,rsrp,rssi,sinr,srxlev
56140,20,-6,-70,-62,-,51
55540,7,-7,-109,-94,-,0
55340,7,-7,-,-94,-,0
"""


@pytest.fixture
def folder(tmp_path):
    for day, level in (("2023-10-20", -88), ("2023-11-03", -91)):
        text = "".join(SCAN.format(latitude=36.0 + n * 2e-4, level=level) for n in range(8))
        (tmp_path / f"{day}.txt.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_identities_are_carrier_and_pci_and_the_serving_cell_counts_once(folder):
    network = read_scan_logs(folder)
    assert network.cells.cell_id == ("56140/20", "55540/7")
    assert not network.cells.is_listed.any()
    assert network.devices == ("2023-10-20", "2023-11-03")
    assert network.level_dbm[network.device == 1].unique().tolist() == [-109.0, -91.0]


def test_the_first_day_is_labelled_and_the_others_are_judged(folder):
    network = read_network(folder)
    split = split_days(network, 0)
    assert network.device[split.labelled].unique().tolist() == [0]
    assert network.device[split.judged].unique().tolist() == [1]


def test_a_single_day_is_split_by_blocks(folder):
    (folder / "2023-11-03.txt.gz").unlink()
    network = read_network(folder)
    split = split_days(network, 0)
    assert len(split.labelled) + len(split.judged) == len(network)
    assert not set(split.labelled.tolist()) & set(split.judged.tolist())


def test_a_log_without_scans_is_refused(folder):
    (folder / "2023-11-03.txt.gz").write_bytes(gzip.compress(b"!!!!\nUTC,latitude,longitude,fix\n"))
    with pytest.raises(UelError, match="no scan with a position and a cell"):
        read_scan_logs(folder)


def test_positions_are_those_of_the_scans(folder):
    network = read_scan_logs(folder)
    north = network.position[network.device == 0, 1].sort().values.diff()
    torch.testing.assert_close(north, torch.full_like(north, 22.2), atol=10.0, rtol=0)
