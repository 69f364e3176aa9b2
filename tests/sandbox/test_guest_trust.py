"""The run's authority in an image's places, and files below a root that may be hostile."""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis.gateway.authority import Authority
from aegis.sandbox.guest import network, trust
from aegis.sandbox.guest.rootfs import Root
from aegis.sandbox.trust import host_bundle, subject_hash, trust_message

PEM = Authority().pem
OTHER = Authority(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)).pem
MAIN, RED_HAT = trust.BUNDLE, "/etc/pki/tls/certs/ca-bundle.crt"
EXTRACTED = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image's root, beside a host's file that no link may lead to."""
    (tmp_path / "outside").write_text("the host's")
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def root(folder: Path) -> Iterator[Root]:
    opened = Root(str(folder))
    yield opened
    opened.close()


def put(folder: Path, path: str, content: str | bytes) -> Path:
    target = folder / path[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content.encode() if isinstance(content, str) else content)
    return target


def link(folder: Path, path: str, target: str) -> None:
    (folder / path[1:]).parent.mkdir(parents=True, exist_ok=True)
    (folder / path[1:]).symlink_to(target)


def install(root: Root) -> None:
    trust.Places().install(root, trust_message(PEM))


def authorities(path: Path) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(path)
    return len(context.get_ca_certs())


# -- files below a root ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["/outside", "../outside", "../../../../../../outside", "/proc/self/root/outside"]
)
def test_no_link_leads_out_of_the_root(folder: Path, root: Root, target: str) -> None:
    link(folder, "/etc/resolv.conf", target)
    root.write("/etc/resolv.conf", b"inside")
    assert (folder.parent / "outside").read_text() == "the host's"
    assert root.read("/etc/resolv.conf", 100) == b"inside"


def test_a_folder_that_is_a_link_leads_nowhere_else_either(folder: Path, root: Root) -> None:
    link(folder, "/etc", str(folder.parent))
    with pytest.raises(OSError):
        root.write("/etc/outside", b"inside")
    assert root.names("/etc") == []
    assert (folder.parent / "outside").read_text() == "the host's"


def test_a_link_inside_is_followed_and_one_that_leads_nowhere_is_replaced(folder: Path, root: Root) -> None:
    put(folder, "/run/real", "old and longer")
    link(folder, "/etc/inside", "/run/real")
    link(folder, "/etc/dangling", "../run/systemd/resolve/stub-resolv.conf")
    root.write("/etc/inside", b"new")
    root.write("/etc/dangling", b"new")
    assert (folder / "run/real").read_bytes() == b"new"
    assert not (folder / "etc/dangling").is_symlink()
    assert (folder / "etc/dangling").read_bytes() == b"new"


def test_what_is_no_regular_file_is_neither_opened_nor_waited_for(folder: Path, root: Root) -> None:
    (folder / "etc").mkdir()
    os.mkfifo(folder / "etc/fifo")
    assert root.read("/etc/fifo", 10) == b""
    assert root.resolved("/etc/fifo") is None
    with pytest.raises(FileNotFoundError):
        root.append("/etc/fifo", b"x")
    root.write("/etc/fifo", b"now a file")
    assert (folder / "etc/fifo").read_bytes() == b"now a file"


# -- what every machine knows ----------------------------------------------------------------------------------------


def test_programs_are_sent_to_the_machines_name_server(folder: Path, root: Root) -> None:
    network.settle(root)
    assert (folder / "etc/resolv.conf").read_text() == "nameserver 127.0.0.1\n"
    hosts = (folder / "etc/hosts").read_text()
    assert "127.0.0.1\tlocalhost" in hosts
    network.settle(root)
    assert (folder / "etc/hosts").read_text() == hosts


def test_an_images_own_hosts_stay(folder: Path, root: Root) -> None:
    put(folder, "/etc/hosts", "127.0.0.1 localhost me\n10.0.0.1 db\n")
    network.settle(root)
    assert (folder / "etc/hosts").read_text() == "127.0.0.1 localhost me\n10.0.0.1 db\n"
    put(folder, "/etc/hosts", "# 127.0.0.1 localhost\n10.0.0.1 db\n")
    network.settle(root)
    assert (folder / "etc/hosts").read_text() == network.HOSTS + "# 127.0.0.1 localhost\n10.0.0.1 db\n"


# -- authorities -----------------------------------------------------------------------------------------------------


def test_the_authority_stands_alone_and_in_the_images_list(folder: Path, root: Root) -> None:
    put(folder, MAIN, OTHER.rstrip())
    link(folder, "/etc/ssl/cert.pem", "certs/ca-certificates.crt")
    install(root)
    assert (folder / trust.AUTHORITY[1:]).read_text() == PEM
    assert (folder / MAIN[1:]).read_text() == OTHER.rstrip() + "\n" + PEM, "once, though it has two names"
    assert authorities(folder / MAIN[1:]) == 2


def test_red_hats_list_gets_it_and_has_the_usual_name_too(folder: Path, root: Root) -> None:
    put(folder, EXTRACTED, OTHER)
    link(folder, RED_HAT, "/" + os.path.relpath(EXTRACTED, "/"))
    install(root)
    assert (folder / EXTRACTED[1:]).read_text().count("BEGIN") == 2
    assert root.resolved(MAIN) == EXTRACTED
    assert root.read(MAIN, 1 << 20).endswith(PEM.encode())


def test_an_image_without_a_list_gets_one(folder: Path, root: Root) -> None:
    install(root)
    assert (folder / MAIN[1:]).read_text() == PEM


def test_a_list_that_was_removed_after_it_was_found_is_made_anew(folder: Path, root: Root) -> None:
    main = put(folder, MAIN, OTHER)
    places = trust.Places()
    places.ready(root)
    assert main.read_text() == OTHER, "getting ready changes nothing"
    assert sorted(os.listdir(main.parent)) == ["ca-certificates.crt"]
    main.unlink()
    places.install(root, trust_message(PEM))
    assert main.read_text() == PEM


def test_openssl_finds_it_by_the_hash_of_its_name(folder: Path, root: Root) -> None:
    put(folder, MAIN, "")
    (folder / "etc/ssl/certs" / f"{subject_hash(PEM)}.0").write_text(OTHER)
    install(root)
    found = folder / "etc/ssl/certs" / f"{subject_hash(PEM)}.1"
    assert os.readlink(found) == trust.AUTHORITY


@pytest.mark.skipif(shutil.which("openssl") is None, reason="compares with openssl")
@pytest.mark.parametrize(
    "subject",
    [
        "/O=Internal Services/CN=Root  CA é",
        "/C=DE/CN= x Y /emailAddress=A@b.example",
        "/CN=" + "long " * 12 + "/OU=" + "x" * 60 + "/serialNumber=7",
    ],
)
def test_the_hash_is_openssls(tmp_path: Path, subject: str) -> None:
    certificate = tmp_path / "one.pem"
    made = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-utf8",
    ]
    made += ["-keyout", "/dev/null", "-out", str(certificate), "-subj", subject]
    subprocess.run(made, check=True, capture_output=True)
    asked = ["openssl", "x509", "-hash", "-noout", "-in", str(certificate)]
    expected = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    assert subject_hash(certificate.read_text()) == expected


def test_this_hosts_authorities_are_found() -> None:
    if any(Path(path).is_file() for path in trust.BUNDLES):
        assert b"BEGIN CERTIFICATE" in host_bundle()


# -- Java ------------------------------------------------------------------------------------------------------------

JAVA = "/usr/lib/jvm/java-17/lib/security/cacerts"
keytool = pytest.mark.skipif(shutil.which("keytool") is None, reason="needs Java's keytool")


def listed(store: Path, *words: str) -> str:
    command = ["keytool", "-list", "-keystore", str(store), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, input="\n").stdout


def test_a_java_store_of_the_old_kind_keeps_its_entries(folder: Path, root: Root) -> None:
    store = put(folder, JAVA, trust.java_store(b"", ssl.PEM_cert_to_DER_cert(OTHER)))
    link(folder, "/etc/ssl/certs/java/cacerts", JAVA)
    install(root)
    content = store.read_bytes()
    assert content[8:12] == b"\0\0\0\2"
    for pem in (OTHER, PEM):
        assert ssl.PEM_cert_to_DER_cert(pem) in content
    salted = "changeit".encode("utf-16-be") + b"Mighty Aphrodite" + content[:-20]
    assert content[-20:] == hashlib.sha1(salted, usedforsecurity=False).digest()


@keytool
def test_java_reads_what_was_made(folder: Path, root: Root, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_text(OTHER)
    old = folder / JAVA[1:]
    old.parent.mkdir(parents=True)
    command = [
        "keytool",
        "-importcert",
        "-noprompt",
        "-storetype",
        "JKS",
        "-storepass",
        "changeit",
        "-alias",
        "other",
    ]
    subprocess.run([*command, "-file", str(tmp_path / "other.pem"), "-keystore", str(old)], check=True)
    install(root)
    for words in (("-storepass", "changeit"), ()):  # Java itself asks for no password
        shown = listed(old, *words)
        assert "contains 2 entries" in shown
        assert "internal-root-ca" in shown


@keytool
def test_a_java_store_of_another_kind_is_replaced(folder: Path, root: Root) -> None:
    store = put(folder, "/opt/java/openjdk/lib/security/cacerts", b"0\x82 PKCS 12")
    install(root)
    assert "contains 1 entry" in listed(store, "-storepass", "changeit")
