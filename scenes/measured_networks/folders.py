"""Folders of measured networks of any known format."""

from pathlib import Path

from scenes.measured_networks.drive_folder import is_drive_folder, read_drive_folder
from scenes.measured_networks.reader import CELL_FILE, REPORT_FILES, read_measured_network
from scenes.measured_networks.scan_log import read_scan_logs, scan_files
from uel.errors import UelError
from uel.measurement.measured_network import MeasuredNetwork


def is_network_folder(folder: Path) -> bool:
    """Whether a folder holds a measured network."""
    return (folder / CELL_FILE).is_file() or is_drive_folder(folder) or bool(scan_files(folder))


def network_folders(folder: Path) -> list[Path]:
    """The folder itself if it is a measured network, or those in it, by name. Raises `UelError` where there is none."""
    found = [folder] if is_network_folder(folder) else sorted(filter(is_network_folder, folder.glob("*/")))
    if not found:
        do = f"give a folder of districts, each a folder with {CELL_FILE} and {REPORT_FILES[0]}"
        raise UelError("the folder has no measured networks", got=str(folder), do=do)
    return found


def read_network(folder: Path) -> MeasuredNetwork:
    """Read a measured network by its format; raises `UelError` as the format's reader does."""
    if is_drive_folder(folder):
        return read_drive_folder(folder)
    return read_measured_network(folder) if (folder / CELL_FILE).is_file() else read_scan_logs(folder)
