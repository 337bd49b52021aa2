import os
from pathlib import Path

import pytest

from luci_tui.errors import ConfigError
from luci_tui.host import run_files as rf


def test_socket_lies_in_the_run_folder() -> None:
    files = rf.run_files(Path("/home/somebody/.luciferai"))
    assert files.socket == Path("/home/somebody/.luciferai/run/host.sock")


def test_socket_of_a_long_path_lies_below_the_temporary_folder_and_works(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    files = rf.run_files(home)
    assert len(os.fsencode(files.socket)) <= rf.SOCKET_PATH_MAX_BYTES
    assert files.socket.parent.parent != files.folder
    assert rf.run_files(home / "other").socket != files.socket
    rf.prepare_folders(files)
    rf.listen(files).close()
    assert files.socket.parent.stat().st_mode & 0o777 == 0o700
    assert files.socket.stat().st_mode & 0o777 == 0o600
    files.socket.unlink()
    files.socket.parent.rmdir()


def test_folders_are_made_for_nobody_else(tmp_path: Path) -> None:
    files = rf.run_files(tmp_path / "home")
    rf.prepare_folders(files)
    assert files.folder.stat().st_mode & 0o777 == 0o700


def test_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    files = rf.run_files(tmp_path)
    files.folder.mkdir()
    files.folder.chmod(0o755)
    with pytest.raises(ConfigError, match=r"has mode 0755.*chmod 700"):
        rf.prepare_folders(files)


def test_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    files = rf.run_files(tmp_path / "home")
    files.home.mkdir()
    files.folder.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is a link or a file"):
        rf.prepare_folders(files)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a folder away")
def test_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    files = rf.run_files(tmp_path)
    files.folder.mkdir(mode=0o700)
    os.chown(files.folder, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        rf.prepare_folders(files)


def test_home_that_cannot_be_made_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"/proc/luci/run for the host cannot be made"):
        rf.prepare_folders(rf.run_files(Path("/proc/luci")))


def test_lock_is_held_by_one_and_free_when_it_is_closed(tmp_path: Path) -> None:
    files = rf.run_files(tmp_path)
    rf.prepare_folders(files)
    assert not rf.is_locked(files)
    fd = rf.take_lock(files)
    assert fd is not None
    assert rf.take_lock(files) is None
    assert rf.is_locked(files)
    os.close(fd)
    assert not rf.is_locked(files)


def test_info_is_read_as_it_was_written(tmp_path: Path) -> None:
    files = rf.run_files(tmp_path)
    rf.prepare_folders(files)
    info = rf.HostInfo(1, "0.1.0", 1, 2.5, str(files.socket))
    rf.write_info(files, info)
    assert rf.read_info(files) == info
    files.info.write_text("{broken", encoding="utf-8")
    assert rf.read_info(files) is None


@pytest.mark.parametrize("is_own", [True, False])
def test_remove_takes_away_what_is_of_the_host_alone(tmp_path: Path, *, is_own: bool) -> None:
    files = rf.run_files(tmp_path)
    rf.prepare_folders(files)
    lock = rf.take_lock(files)
    assert lock is not None
    if not is_own:
        files.lock.unlink()
        files.lock.touch()
    files.socket.touch()
    files.info.touch()
    rf.remove(files, lock)
    os.close(lock)
    assert (files.socket.exists(), files.info.exists()) == (not is_own, not is_own)
    assert files.lock.exists()
