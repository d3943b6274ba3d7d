"""Files are written whole, into whatever the path is: real devices, pipes, links, modes and processes."""

import os
import re
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aljax import UserError
from aljax.host import files

pytestmark = pytest.mark.skipif(os.name == "nt", reason="devices, pipes and modes of POSIX")

WRITE = """
import json, sys
from aljax.host import files
files.check_writable(sys.argv[1])
print("before", flush="unflushed" not in sys.argv)
files.write_json(sys.argv[1], {"a": 1})
print("after")
"""
JSON = '{\n  "a": 1\n}\n'


def write(path, value=1):
    files.check_writable(path)
    files.write_json(path, {"a": value})


def written(command, **options):
    """What a shell sees of a process that writes JSON where the command says."""
    given = {"PY": sys.executable, "WRITE": WRITE} | os.environ
    return subprocess.run(
        ["bash", "-c", command], env=given, capture_output=True, text=True, check=False, timeout=60, **options
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_device_is_written_into_and_stays_a_device():
    write("/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_full_device_is_one_line():
    with pytest.raises(UserError, match=r"^/dev/full: cannot be written: No space left on device$"):
        write("/dev/full")


def test_a_pipe_of_the_file_system_is_written_into_when_the_file_is_complete(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    files.check_writable(pipe)  # neither waits for a reader nor takes anything
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    files.write_json(pipe, {"a": 1})
    reader.join(10)
    assert found == [JSON] and stat.S_ISFIFO(pipe.stat().st_mode) and names(tmp_path) == ["pipe"]


@pytest.mark.parametrize(
    ("command", "stdout"),
    [
        ('"$PY" -c "$WRITE" /dev/stdout', f"before\n{JSON}after\n"),
        ('"$PY" -c "$WRITE" /dev/stdout | cat', f"before\n{JSON}after\n"),
        ('"$PY" -c "$WRITE" /dev/stdout unflushed > out; cat out', f"before\n{JSON}after\n"),
        ('"$PY" -c "$WRITE" /dev/fd/1 >> out; cat out', f"before\n{JSON}after\n"),
        ('"$PY" -c "$WRITE" /proc/self/fd/3 3> out; cat out', f"before\nafter\n{JSON}"),
        ('ln -s /dev/fd/3 link; "$PY" -c "$WRITE" link 3> out; cat out', f"before\nafter\n{JSON}"),
        ('"$PY" -c "$WRITE" >(cat > out); while ! [ -s out ]; do sleep 0.1; done; cat out', f"before\nafter\n{JSON}"),
    ],
)
def test_an_open_file_is_written_into_where_it_stands(command, stdout, tmp_path):
    done = written(command, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (stdout, "")


@pytest.mark.parametrize("place", ["/dev/fd/99", "/dev/stdin"])
def test_an_open_file_that_cannot_be_written_is_refused_before_the_work(place):
    done = written(f'"$PY" -c "$WRITE" {place} < /etc/passwd')
    assert done.stdout == "" and f"UserError: {place}: cannot be written: " in done.stderr


def test_a_pipe_that_nobody_reads_any_more_is_one_line():
    script = (
        'import os; r, w = os.pipe(); os.close(r)\nfrom aljax.host import files\nfiles.write_json(f"/dev/fd/{w}", 1)'
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert re.search(r"UserError: /dev/fd/\d+: cannot be written: nobody reads from it any more$", done.stderr.strip())


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file.json").write_text("old")
    (tmp_path / "link.json").symlink_to("there/file.json")
    (tmp_path / "to-link.json").symlink_to("link.json")
    write(tmp_path / "to-link.json")
    assert (tmp_path / "to-link.json").is_symlink() and (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "there" / "file.json").read_text() == JSON and names(tmp_path / "there") == ["file.json"]


def test_a_dangling_link_makes_its_target(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.json").symlink_to("there/new.json")
    write(tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink() and (tmp_path / "there" / "new.json").read_text() == JSON
    (tmp_path / "nowhere.json").symlink_to("no/such.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    for bad in ("nowhere.json", "loop.json"):
        with pytest.raises(UserError, match=f"{bad}: cannot be written"):
            files.check_writable(tmp_path / bad)


@pytest.mark.parametrize("before", [0o600, 0o640, 0o666, 0o755])
def test_a_file_keeps_its_mode(before, tmp_path):
    file = tmp_path / "file.json"
    file.write_text("old")
    file.chmod(before)
    write(file)
    assert mode(file) == before and file.read_text() == JSON


def test_a_file_keeps_its_owner_where_that_is_allowed(tmp_path):
    if os.getuid() != 0:
        pytest.skip("only the superuser may give files away")
    file = tmp_path / "file.json"
    file.write_text("old")
    os.chown(file, 12345, 54321)
    write(file)
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 54321) and file.read_text() == JSON


@pytest.mark.parametrize("mask", ["077", "022", "007"])
def test_a_new_file_has_the_mode_that_the_umask_says(mask, tmp_path):
    done = written(f'umask {mask}; "$PY" -c "$WRITE" new.json', cwd=tmp_path)
    assert done.stderr == "" and mode(tmp_path / "new.json") == 0o666 & ~int(mask, 8)


def test_what_is_being_written_cannot_be_read_by_others(tmp_path):
    file = tmp_path / "file.json"
    file.write_text("old")
    file.chmod(0o600)
    with files.whole_file(file) as place:
        (hidden,) = (path for path in tmp_path.iterdir() if path != file)
        assert mode(hidden) == 0o700 and hidden in place.parents
        place.write_text("secret")


def test_a_name_as_long_as_names_can_be_is_written(tmp_path):
    for name in ("n" * 250 + ".json", "ü" * 120 + ".json"):
        write(tmp_path / name)
        assert (tmp_path / name).read_text() == JSON
    with pytest.raises(UserError, match="cannot be written: File name too long"):
        files.check_writable(tmp_path / ("n" * 256))


@pytest.mark.parametrize("bad", ["a\0b.json", "a\ud800b.json"])
def test_a_name_that_cannot_be_is_one_line(bad):
    with pytest.raises(UserError, match="cannot be the name of a file"):
        files.check_writable(bad)


AS_NOBODY = "import os; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"


def as_nobody(file):
    """Writes JSON as a user without rights."""
    if os.getuid() != 0:
        pytest.skip("only the superuser can become another user")
    return subprocess.run(
        [sys.executable, "-c", f"from aljax.host import files\n{AS_NOBODY}{WRITE}", str(file)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def open_folder(tmp_path):
    """A folder that everybody reaches."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o755)
    return tmp_path


def test_a_file_is_written_in_place_where_its_folder_takes_no_other(open_folder):
    """As a single file that is mounted into a container is."""
    file = open_folder / "file.json"
    file.write_text("old and longer than what comes")
    file.chmod(0o666)
    assert as_nobody(file).stderr == ""
    assert file.read_text() == JSON and names(open_folder) == ["file.json"]


def test_a_file_that_may_not_be_written_is_refused_before_the_work(open_folder):
    open_folder.chmod(0o777)
    file = open_folder / "file.json"
    file.write_text("old")
    file.chmod(0o444)
    done = as_nobody(file)
    assert done.stdout == "" and f"UserError: {file}: cannot be written: Permission denied" in done.stderr
    assert file.read_text() == "old" and names(open_folder) == ["file.json"]


def test_a_hard_link_keeps_what_it_has(tmp_path):
    (tmp_path / "file.json").write_text("old")
    os.link(tmp_path / "file.json", tmp_path / "other.json")
    write(tmp_path / "file.json")
    assert (tmp_path / "other.json").read_text() == "old" and (tmp_path / "file.json").read_text() == JSON


LIMITED = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"


def test_a_place_without_room_is_known_before_the_work(tmp_path):
    """A process may write files of 1,000 bytes at most, which a full disk cannot be told from."""
    (tmp_path / "file.json").write_text("old")
    limit = f"{LIMITED}resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n{WRITE}"
    for place in ("file.json", "new.json"):
        done = subprocess.run(
            [sys.executable, "-c", limit, place], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stdout == "" and f"UserError: {place}: cannot be written: File too large" in done.stderr
    assert names(tmp_path) == ["file.json"] and (tmp_path / "file.json").read_text() == "old"


def test_where_room_ends_while_writing_the_old_file_stands(tmp_path):
    (tmp_path / "file.json").write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    script = f"{LIMITED}resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n{WRITE}".replace(
        '{"a": 1}', '{"a": 99_999 * "x"}'
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "file.json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "before\n" and "UserError: file.json: cannot be written: File too large" in done.stderr
    assert names(tmp_path) == ["file.json"] and (tmp_path / "file.json").read_text() == "old"
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == (soft, hard)


def test_what_a_killed_process_left_is_removed_by_the_next_and_what_a_living_one_has_is_not(tmp_path):
    script = """
import os, signal, sys
from aljax.host import files
with files.whole_file(sys.argv[1]) as file:
    file.write_text("half")
    print("there", flush=True)
    input()
"""
    start = [sys.executable, "-c", script, str(tmp_path / "file.json")]
    with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None and killed.stdout.readline() == "there\n"
        killed.kill()
    with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as alive:
        assert alive.stdout is not None and alive.stdout.readline() == "there\n"
        assert len(names(tmp_path)) == 2
        files.check_writable(tmp_path / "another.json")
        assert len(names(tmp_path)) == 1
        alive.communicate("\n")
        assert alive.returncode == 0
    assert names(tmp_path) == ["file.json"] and (tmp_path / "file.json").read_text() == "half"


def test_what_others_named_alike_stays(tmp_path):
    (tmp_path / ".mine.partial").mkdir()
    (tmp_path / ".mine.partial" / "thesis.txt").write_text("years")
    (tmp_path / ".link.partial").symlink_to(".mine.partial")
    write(tmp_path / "file.json")
    assert names(tmp_path) == [".link.partial", ".mine.partial", "file.json"]
    assert (tmp_path / ".mine.partial" / "thesis.txt").read_text() == "years"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "no valid JSON"),
        ('{"a": 1', "no valid JSON"),
        ("[1]", "expected a JSON object"),
        ('{"a": "\xff"}'.encode("latin-1"), "no valid JSON"),
        (b" " * 2000 + b"{}", "more than 1,000 bytes"),
    ],
)
def test_json_that_is_none_is_one_line(text, message, tmp_path):
    (tmp_path / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=f"a.json: {message}") as caught:
        files.read_json(tmp_path / "a.json", 200_000 if message == "no valid JSON" else 1000)
    assert "\n" not in str(caught.value)


def test_what_never_ends_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(UserError, match="expected a regular file"):
            files.read_json(tmp_path / name)
        with pytest.raises(UserError, match="expected a regular file"):
            files.check_digests(tmp_path, {name: {"bytes": 0, "sha256": ""}})


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside", "..\\outside", "", "."])
def test_a_manifest_reaches_nothing_outside_its_folder(name, tmp_path):
    (tmp_path / "outside").write_text("x")
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="which is not in the folder"):
        files.check_digests(tmp_path / "run", {name: files.fingerprint(tmp_path / "outside")})


@pytest.mark.parametrize("listed", [None, [], "files", {"a": 1}, {"a": {}}, {"a": {"bytes": 1}}, {"a": None}])
def test_a_manifest_of_another_shape_is_one_line(listed, tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(UserError, match="damaged"):
        files.check_digests(tmp_path, listed)


def test_a_small_file_is_read_in_little_memory_however_large_it_might_be(tmp_path):
    (tmp_path / "chunk").write_bytes(b"small")
    script = (
        "import resource, sys; from aljax.host import files; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))\n"
        "sys.stdout.buffer.write(files.read_bytes(sys.argv[1], 2**32))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "chunk")], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"small"), done.stderr
