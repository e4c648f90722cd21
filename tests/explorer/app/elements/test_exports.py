import csv
import io

import pytest

from explorer.app.elements.exports import chart_config, csv_text, file_name

ROWS = [{"method": "a, b", "p50 m": 1.5}, {"method": 'of "1"\nline', "p50 m": None}]


def test_csv_gives_back_what_the_table_shows():
    assert [*csv.DictReader(io.StringIO(csv_text(ROWS)))] == [
        {"method": "a, b", "p50 m": "1.5"},
        {"method": 'of "1"\nline', "p50 m": ""},
    ]


@pytest.mark.parametrize("title", ["../../etc/passwd", "a\\b", "<b>", "", "Ä ?"])
def test_names_of_files_have_no_path_and_no_sign(title):
    assert set(file_name(title, "csv")) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert file_name(title, "csv").count(".") == 1


def test_charts_have_one_button_that_saves_a_picture():
    assert chart_config("cdf")["modeBarButtons"] == [["toImage"]]
    assert chart_config("cdf")["toImageButtonOptions"]["filename"] == "cdf"
