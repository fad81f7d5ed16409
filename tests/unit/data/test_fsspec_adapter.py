import fsspec
import pandas as pd
import pytest

from confide.data.folders import encrypt_files
from confide.data.fsspec_adapter import SealedFileSystem, register
from confide.data.segments import SEGMENT_BYTES
from confide.errors import FileChanged, FileUnlisted, Misuse, NotEncrypted, Tampered, UnknownKey
from confide.keys.material import Keyset

KEY, OTHER = "clinic/patients", "ff" * 16


@pytest.fixture
def options(keyset, folder):
    register()
    return {"keyset": keyset, "key": KEY, "folder": folder}


def test_pandas_writes_and_reads(options, tmp_path):
    frame = pd.DataFrame({"id": range(1000), "name": ["Zoë"] * 1000})
    url = f"sealed://{tmp_path}/a.csv"
    frame.to_csv(url, index=False, storage_options=options)
    assert (tmp_path / "a.csv").read_bytes().startswith(b"CONFIDE\x01")
    assert "Zoë".encode() not in (tmp_path / "a.csv").read_bytes()
    assert pd.read_csv(url, storage_options=options).equals(frame)


def test_parquet_and_other_file_systems(options):
    frame = pd.DataFrame({"id": range(1000)})
    options |= {"target_protocol": "memory"}
    frame.to_parquet("sealed://folder/a.parquet", storage_options=options)
    assert fsspec.filesystem("memory").cat("folder/a.parquet")[:8] == b"CONFIDE\x01"
    assert pd.read_parquet("sealed://folder/a.parquet", storage_options=options).equals(frame)
    fsspec.filesystem("memory").rm("folder", recursive=True)


def test_like_any_file_system(options, tmp_path):
    fs, data = fsspec.filesystem("sealed", **options), bytes(range(256)) * 8192
    path = str(tmp_path / "sub" / "x")
    fs.makedirs(str(tmp_path / "sub"))
    fs.pipe(path, data)
    assert fs.cat(path) == data
    assert fs.info(path)["size"] == fs.size(path) == len(data)
    assert (
        fs.cat_file(path, start=SEGMENT_BYTES - 100, end=SEGMENT_BYTES + 10)
        == data[SEGMENT_BYTES - 100 : SEGMENT_BYTES + 10]
    )
    assert fs.exists(path)
    assert [entry.split("/")[-1] for entry in fs.ls(str(tmp_path / "sub"), detail=False)] == ["x"]
    fs.cp_file(path, path + "2")
    fs.mv(path, path + "3")
    assert fs.cat(path + "2") == fs.cat(path + "3") == data
    fs.rm(path + "2")
    assert not fs.exists(path + "2")


def test_exception_while_writing(options, tmp_path):
    fs = SealedFileSystem(**options)
    with pytest.raises(KeyError), fs.open(str(tmp_path / "x"), "wb") as file:  # noqa: PT012
        file.write(b"half")
        raise KeyError
    with pytest.raises(Tampered):
        fs.cat(str(tmp_path / "x"))


def test_refusals(options, tmp_path, keyset):
    fs, path = SealedFileSystem(**options), str(tmp_path / "x")
    fs.pipe(path, b"data")
    with pytest.raises(Tampered):
        SealedFileSystem(**options | {"folder": OTHER}).cat(path)
    with pytest.raises(UnknownKey):
        SealedFileSystem(keyset=Keyset({})).open(path, "rb")
    with pytest.raises(Misuse):
        SealedFileSystem(keyset=keyset).open(path, "wb")
    with pytest.raises(Misuse):
        fs.open(path, "ab")
    (tmp_path / "plain").write_bytes(b"id\n1\n")
    with pytest.raises(NotEncrypted):
        fs.open(str(tmp_path / "plain"), "rb")
    with pytest.raises(FileNotFoundError):
        fs.open(str(tmp_path / "nothing"), "rb")


def test_with_a_listing(tmp_path, keyset, key):
    source = tmp_path / "in"
    source.mkdir()
    for name in "ab":
        (source / name).write_bytes(name.encode())
    out = tmp_path / "out"
    listing = encrypt_files(source, out, keyset, key, location="x")
    fs = SealedFileSystem(keyset=keyset, listing=listing, root=str(out))
    assert fs.cat(f"{out}/a") == b"a"
    (out / "c").write_bytes((out / "a").read_bytes())
    with pytest.raises(FileUnlisted):
        fs.cat(f"{out}/c")
    (out / "b").write_bytes((out / "a").read_bytes())
    with pytest.raises(FileChanged):
        fs.cat(f"{out}/b")
    with pytest.raises(Misuse):
        SealedFileSystem(keyset=keyset, key=KEY, listing=listing, root=str(out)).open(f"{out}/d", "wb")
