"""Places of folders are reserved and looked at again, with real processes; nothing is removed but what was named."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from aljax import UserError, runs
from aljax.host import files, folders

FILL = """
import sys
from aljax import runs
place, options = sys.argv[1], {name: True for name in sys.argv[2:]}
with runs.new_folder(place, **options) as found:
    (found.folder / "metrics.json").write_text("{}")
    print(found.path, flush=True)
    if input() == "kill":
        import os, signal
        os.kill(os.getpid(), signal.SIGKILL)
print(found.path, "|", found.notice, flush=True)
"""


class Filling:
    """A process that fills a folder until it is told to go on."""

    def __init__(self, *args):
        given: dict = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", FILL, *map(str, args)], **given)
        self.reserved = Path(self.process.stdout.readline().strip())

    def finish(self, word="\n"):
        """Where its folder stands, and its notice."""
        out, _ = self.process.communicate(word)
        path, _, notice = out.strip().partition(" |")
        return Path(path), notice.strip()


def fill(path, text="{}", **options):
    with runs.new_folder(path, **options) as place:
        (place.folder / "metrics.json").write_text(text)
    return place


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def run(tmp_path):
    """A run folder that stands there."""
    return fill(tmp_path / "run", "old").path


def test_two_processes_with_one_place_make_two_folders(tmp_path):
    first, second = Filling(tmp_path / "run"), Filling(tmp_path / "run")
    path, notice = second.finish()
    assert path == tmp_path / "run-2"
    assert notice == f"{tmp_path / 'run'}: another process is at work on it: this one will write to {path}"
    assert first.finish() == (tmp_path / "run", "")
    assert names(tmp_path) == ["run", "run-2"]


def test_two_processes_with_numbered_places_make_two_folders(tmp_path):
    first, second = Filling(tmp_path / "run", "numbered"), Filling(tmp_path / "run", "numbered")
    assert (first.finish(), second.finish()) == ((tmp_path / "run-1", ""), (tmp_path / "run-2", ""))
    assert names(tmp_path) == ["run-1", "run-2"]


def test_two_processes_that_may_overwrite_keep_what_the_other_wrote(run, tmp_path):
    first, second = Filling(run, "overwrite"), Filling(run, "overwrite")
    assert first.finish()[0] == run and second.finish()[0] == tmp_path / "run-2"
    assert names(tmp_path) == ["run", "run-2"] and (run / "metrics.json").read_text() == "{}"


@pytest.mark.parametrize("numbered", [False, True])
@pytest.mark.parametrize("made", ["folder", "empty", "file", "link", "run"])
def test_what_appeared_meanwhile_stays_and_the_folder_stands_beside_it(made, numbered, tmp_path):
    asked = tmp_path / "run"
    taken, beside = (tmp_path / "run-1", tmp_path / "run-2") if numbered else (asked, tmp_path / "run-2")
    with runs.new_folder(asked, numbered=numbered, overwrite=not numbered) as place:
        (place.folder / "metrics.json").write_text("{}")
        if made in ("folder", "empty"):
            taken.mkdir()
        if made == "folder":
            (taken / "thesis.txt").write_text("years")
        elif made == "file":
            taken.write_text("years")
        elif made == "link":
            taken.symlink_to("nowhere")
        elif made == "run":
            taken.mkdir()
            files.write_json(taken / "manifest.json", {"format": 2, "files": {"metrics.json": {}}})
    assert place.path == beside and place.complete and place.notice == f"{taken} was taken meanwhile"
    assert names(tmp_path) == sorted([taken.name, beside.name]) and (beside / "metrics.json").exists()
    if made == "folder":
        assert (taken / "thesis.txt").read_text() == "years"
    assert made != "empty" or names(taken) == []
    assert taken.is_symlink() == (made == "link") and taken.is_file() == (made == "file")


def test_a_name_that_a_living_process_has_reserved_is_not_taken_as_one_beside(tmp_path):
    other = Filling(tmp_path / "run-2")
    with runs.new_folder(tmp_path / "run") as place:
        (tmp_path / "run").mkdir()
    assert place.path == tmp_path / "run-3"
    assert other.finish() == (tmp_path / "run-2", "")


def test_what_is_to_be_replaced_is_replaced_if_it_still_is_what_it_was(run, tmp_path):
    with runs.new_folder(run, overwrite=True) as place:
        (place.folder / "metrics.json").write_text("new")
        (run / "manifest.json").unlink()  # no run folder any more
        (run / "thesis.txt").write_text("years")
    assert place.path == tmp_path / "run-2" and (run / "thesis.txt").read_text() == "years"
    assert fill(place.path, "newer", overwrite=True).path == place.path
    with runs.new_folder(place.path, overwrite=True) as third:
        (third.folder / "metrics.json").write_text("newest")
        place.path.rename(tmp_path / "kept")
        fill(tmp_path / "other", "another's").path.rename(place.path)
    assert third.path == tmp_path / "run-2-2"
    texts = {path.name: (path / "metrics.json").read_text() for path in tmp_path.iterdir()}
    assert texts == {"run": "old", "kept": "newer", "run-2": "another's", "run-2-2": "newest"}


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_was_to_be_replaced_comes_back_if_the_new_one_cannot_take_its_place(trouble, run, tmp_path, monkeypatch):
    def fail(folder, place):
        del folder, place
        assert not run.exists()
        raise trouble

    monkeypatch.setattr(folders, "put", fail)
    expected = UserError if isinstance(trouble, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        fill(run, "new", overwrite=True)
    assert names(tmp_path) == ["run"] and (run / "metrics.json").read_text() == "old"


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_what_a_killed_process_had_moved_aside_is_put_back_by_the_next(run, tmp_path):
    kill = "folders.put = lambda *_: os.kill(os.getpid(), signal.SIGKILL)"
    script = f"import os, signal\nfrom aljax.host import folders\n{kill}\n{FILL}"
    subprocess.run([sys.executable, "-c", script, str(run), "overwrite"], input="\n", text=True, check=False)
    assert names(tmp_path) == [".run.partial"]
    with pytest.raises(UserError, match="already exists"):
        fill(run)
    assert names(tmp_path) == ["run"] and (run / "metrics.json").read_text() == "old"


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_what_a_killed_process_left_is_removed_by_the_next_to_write_there(tmp_path):
    killed, alive = Filling(tmp_path / "a"), Filling(tmp_path / "b")
    killed.finish("kill")
    assert names(tmp_path) == [".a.partial", ".b.partial"]
    fill(tmp_path / "c")
    assert names(tmp_path) == [".b.partial", "c"]
    assert alive.finish() == (tmp_path / "b", "") and names(tmp_path) == ["b", "c"]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_picture_that_a_killed_process_was_drawing_is_removed_by_the_next(run, tmp_path):
    draw = "import os, sys\nfrom aljax.host import files\nwith files.whole_file(sys.argv[1]): os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", draw, str(run / "choices.png")], check=False)
    assert len(names(run)) == 3
    fill(tmp_path / "next")
    assert names(run) == ["manifest.json", "metrics.json"]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_the_place_of_a_killed_process_is_free_again(tmp_path):
    Filling(tmp_path / "run", "numbered").finish("kill")
    assert fill(tmp_path / "run", numbered=True).path == tmp_path / "run-1"
    assert names(tmp_path) == ["run-1"]


@pytest.mark.parametrize("place", [".", "..", "/", "", "folder/.."])
def test_what_is_no_name_is_refused_before_the_work(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="expected the name of a folder to make"):
        fill(Path(place), overwrite=True)
    assert names(tmp_path) == ["folder"]


def test_an_empty_folder_is_filled_and_a_file_is_not_replaced(tmp_path):
    (tmp_path / "empty").mkdir()
    assert fill(tmp_path / "empty").path == tmp_path / "empty"
    (tmp_path / "file").write_text("years")
    with pytest.raises(UserError, match="not a run folder"):
        fill(tmp_path / "file", overwrite=True)
    assert names(tmp_path) == ["empty", "file"] and (tmp_path / "file").read_text() == "years"


def test_a_sweep_s_folder_is_no_run_folder(tmp_path):
    (tmp_path / "sweep").mkdir()
    files.write_json(tmp_path / "sweep" / "manifest.json", {"format": 1, "files": {"table.parquet": {}}})
    with pytest.raises(UserError, match="not a run folder"):
        fill(tmp_path / "sweep", overwrite=True)
    assert names(tmp_path / "sweep") == ["manifest.json"]


def test_links_are_followed(run, tmp_path):
    (tmp_path / "to-new").symlink_to("new")
    (tmp_path / "to-run").symlink_to("run")
    fill(tmp_path / "to-new")
    fill(tmp_path / "to-run", "new", overwrite=True)
    assert names(tmp_path) == ["new", "run", "to-new", "to-run"]
    assert (tmp_path / "to-new").is_symlink() and (tmp_path / "new" / "metrics.json").exists()
    assert (tmp_path / "to-run").is_symlink() and (run / "metrics.json").read_text() == "new"
    (tmp_path / "to-nothing").symlink_to("/proc/no/such")
    with pytest.raises(UserError, match="to-nothing: cannot be written"):
        fill(tmp_path / "to-nothing")


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_a_new_folder_has_the_mode_that_the_umask_says(tmp_path):
    before = os.umask(0o027)
    try:
        place = fill(tmp_path / "run")
    finally:
        os.umask(before)
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o750
    assert stat.S_IMODE((place.path / "metrics.json").stat().st_mode) == 0o640


def test_names_as_long_as_names_can_be_are_reserved_too(tmp_path):
    for number in "12":
        long = "n" * 250 + number
        with runs.new_folder(tmp_path / long) as place, runs.new_folder(tmp_path / long) as beside:
            pass
        assert (place.path.name, beside.path.name) == (long, f"{long}-2")
    with pytest.raises(UserError, match="File name too long"):
        fill(tmp_path / ("n" * 256))


@pytest.mark.skipif(os.name == "nt", reason="limits of POSIX")
def test_a_place_without_room_is_refused_before_the_work(run, tmp_path):
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n{FILL}"
    for place in (run, tmp_path / "new"):
        done = subprocess.run(
            [sys.executable, "-c", limit, str(place), "overwrite"], capture_output=True, text=True, check=False
        )
        assert done.stdout == "" and f"UserError: {place}: cannot be written: File too large" in done.stderr
    assert names(tmp_path) == ["run"] and (run / "metrics.json").read_text() == "old"


def test_room_that_ends_while_writing_leaves_what_stood_there(run, tmp_path):
    with (
        pytest.raises(UserError, match="run: cannot be written: No such file"),
        runs.new_folder(run, overwrite=True) as place,
    ):
        place.folder.rmdir()
        (place.folder / "metrics.json").write_text("new")
    assert not place.complete and names(tmp_path) == ["run"] and (run / "metrics.json").read_text() == "old"
