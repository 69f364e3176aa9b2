"""The image file's errors: every one at its line, with what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.errors import UsageError
from aegis.sandbox.images import ImageStore
from aegis.sandbox.images.files import digest_files, project_files
from aegis.sandbox.images.imagefile import read_image_file


def problems(folder: Path, text: str) -> list[str]:
    (folder / "image.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_image_file(folder / "image.toml", "image.toml", folder)
    return str(caught.value).splitlines()


def test_everything_it_can_say(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text("")
    (tmp_path / "image.toml").write_text(
        'base = "oci:x"\npackages = ["git=1:2.39-1", "g++"]\npip = ["six==1.16.0", "-r /opt/r.txt"]\n'
        'run = ["true"]\n[files]\n"tool.py" = "/opt/"\n[env]\nA = "1"\n'
    )
    found = read_image_file(tmp_path / "image.toml", "image.toml", tmp_path)
    assert found.base == "oci:x"
    assert found.packages == ("git=1:2.39-1", "g++")
    assert found.pip == ("six==1.16.0", "-r /opt/r.txt")
    assert (found.files, found.env, found.run) == ({"tool.py": "/opt/"}, {"A": "1"}, ("true",))


def test_an_empty_file_is_the_built_in_image(tmp_path: Path) -> None:
    (tmp_path / "image.toml").write_text("")
    assert read_image_file(tmp_path / "image.toml", "image.toml", tmp_path).base == "debian"


def test_all_problems_at_once_with_lines(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        'packges = ["git"]\npackages = ["good", "--allow-unauthenticated"]\nrun = "ls"\n'
        'pip = [\n  "six",\n  "--index-url=x",\n]\n[files]\n"../secret" = "/a"\n"nowhere" = "/b"\n'
        '[env]\n"A B" = "1"\n[user]\n',
    )
    assert found == [
        "image.toml:1: unknown key 'packges' (did you mean 'packages'?)",
        "image.toml:2: packages: '--allow-unauthenticated' is not a package name",
        "image.toml:3: run must be a list of texts",
        "image.toml:6: pip: '--index-url=x': no option but `-r PATH` is allowed",
        "image.toml:9: files: '../secret' must be a path inside the project",
        f"image.toml:10: files: 'nowhere' does not exist in the project ({tmp_path})",
        "image.toml:12: env: 'A B' is not a variable name",
        "image.toml:13: unknown key 'user'",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('base = "debian"\nrun = [', "image.toml:2: not TOML"),
        ("base = 5", "image.toml:1: base must be a text"),
        ('run = ["a", 1]', "image.toml:1: run must be a list of texts"),
        ("\nfiles = 1", "image.toml:2: files must be a table of texts"),
        ('\nfiles = {"image.toml" = "relative"}', "image.toml:2: files: 'relative' must be an absolute path"),
    ],
)
def test_single_problems(tmp_path: Path, text: str, expected: str) -> None:
    assert problems(tmp_path, text)[0].startswith(expected)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"image file nowhere\.toml does not exist"):
        ImageStore(tmp_path / "cache").resolve("nowhere.toml", base_dir=tmp_path)


def test_a_file_built_upon_itself(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('base = "b.toml"')
    (tmp_path / "b.toml").write_text('base = "./a.toml"')
    with pytest.raises(UsageError, match="built upon itself"):
        ImageStore(tmp_path / "cache").resolve("a.toml", base_dir=tmp_path)


@pytest.mark.parametrize(
    ("ref", "hint"),
    [("debain", "did you mean debian"), ("python:3.12", "write oci:python:3.12"), ("", "no built-in image")],
)
def test_references_of_no_kind(tmp_path: Path, ref: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        ImageStore(tmp_path / "cache").resolve(ref, base_dir=tmp_path)


def test_the_digest_of_files_sees_content_mode_and_place(tmp_path: Path) -> None:
    (tmp_path / "tools/sub").mkdir(parents=True)
    (tmp_path / "tools/.git").mkdir()
    script = tmp_path / "tools/sub/run.sh"
    script.write_text("one")
    (tmp_path / "tools/link").symlink_to("sub/run.sh")

    def digest(target: str = "/opt") -> str:
        return digest_files(project_files(tmp_path, {"tools": target}))

    seen = [digest(), digest("/srv")]
    script.write_text("two")
    seen.append(digest())
    script.chmod(0o755)
    seen.append(digest())
    (tmp_path / "tools/link").unlink()
    seen.append(digest())
    assert len(set(seen)) == len(seen)
    (tmp_path / "tools/.git/index").write_text("changes all the time")
    assert digest() == seen[-1]


def test_targets_of_files_and_folders(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/a.py").write_text("")
    found = project_files(tmp_path, {"tools": "/opt/tools/", "tools/a.py": "/bin/"})
    assert [file.target for file in found] == ["opt/tools", "opt/tools/a.py", "bin/a.py"]
