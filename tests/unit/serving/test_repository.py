"""Which models there are, in an image and in sealed locations; and the owner's configuration."""

from __future__ import annotations

import time

import pytest

from confide.broker.ca import CertificateAuthority
from confide.broker.release import Access, Grant, Release
from confide.data.listing import Format, ListedFile, Listing
from confide.errors import InvalidFormat, InvalidImage, MissingDependency, NoGrant
from confide.serving import image_spec
from confide.serving.configuration import Configuration
from confide.serving.image_spec import read_models
from confide.serving.profile import _pool_keys
from confide.serving.repository import find_sources


def release(*paths, location="models/iris", form=Format.FILES):
    files = tuple(
        ListedFile(path=path, size=1, binding=f"{number:064x}") for number, path in enumerate(sorted(paths))
    )
    listing = Listing(
        table="1" * 32, owner="clinic", location=location, format=form, serial=1, key="clinic/k", files=files
    )
    grant = Grant(
        owner="clinic",
        location=location,
        access=Access.READ,
        format=form,
        key="clinic/k",
        table="1" * 32,
        listing=listing,
    )
    return Release(workload="w", owners=("clinic",), keys={}, grants=(grant,), expires=1)


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["model.onnx"], {("iris", "1"): ["model.onnx"]}),
        (["wine.onnx", "rose.onnx"], {("wine", "1"): ["wine.onnx"], ("rose", "1"): ["rose.onnx"]}),
        (["wine.onnx", "wine.onnx.data"], {("wine", "1"): ["wine.onnx", "wine.onnx.data"]}),
        (
            ["2/model.onnx", "10/model.onnx"],
            {("iris", "2"): ["2/model.onnx"], ("iris", "10"): ["10/model.onnx"]},
        ),
        (["a/1/model.onnx", "a/1/weights.bin"], {("a", "1"): ["a/1/model.onnx", "a/1/weights.bin"]}),
        (["a.ubj", "b.lgb"], {("a", "1"): ["a.ubj"], ("b", "1"): ["b.lgb"]}),
        (["model.json", "labels.txt"], {("iris", "1"): ["model.json"]}),
        (["a/1/model.txt", "a/1/labels.json"], {("a", "1"): ["a/1/labels.json", "a/1/model.txt"]}),
        (["README.txt", "other.json"], {}),
        (["README.md", "a/1/other.onnx", "x/y/z/model.onnx"], {}),
        (["²/model.onnx", "a/²/model.onnx", "a/١/model.onnx", f"{'9' * 500}/model.onnx"], {}),
    ],
)
def test_models_of_a_location(tmp_path, paths, found):
    sources = find_sources(tmp_path / "none", release(*paths), tmp_path)
    assert {key: sorted(source.files) for key, source in sources.items()} == found


@pytest.mark.parametrize(
    "paths",
    [["a b.onnx"], ["-a.onnx"], ["01/model.onnx"], ["model.onnx", "1/model.onnx"], ["a.onnx", "a.ubj"]],
)
def test_locations_whose_models_cannot_be_told(tmp_path, paths):
    with pytest.raises(InvalidFormat):
        find_sources(tmp_path / "none", release(*paths), tmp_path)


def test_tables_hold_no_models(tmp_path):
    assert find_sources(tmp_path / "none", release("model.onnx", form=Format.TABLE), tmp_path) == {}


def test_plain_models_of_the_image_beside_sealed_ones(tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/wine.onnx").write_bytes(b"1")
    sources = find_sources(tmp_path / "models", release("model.onnx"), tmp_path)
    assert sorted(sources) == [("iris", "1"), ("wine", "1")]


@pytest.mark.parametrize("name", ["model.onnx", "model.json", "model.txt"])
def test_a_plain_model_is_called_as_its_file(tmp_path, name):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / name).write_bytes(b"1")
    assert list(find_sources(tmp_path / "models", release(form=Format.TABLE), tmp_path)) == [("model", "1")]


def test_a_changed_file_changes_the_digest(tmp_path):
    (one,) = find_sources(tmp_path / "none", release("model.onnx"), tmp_path).values()
    (two,) = find_sources(tmp_path / "none", release("a.txt", "model.onnx"), tmp_path).values()
    assert one.digest != two.digest


def test_what_becomes_part_of_the_image(tmp_path):
    for path in ("a.onnx", "a.onnx.data", "b.onnx", "more/c/1/model.onnx", "more/c/1/w.bin", "more/.hidden"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"1")
    (tmp_path / "serving.toml").write_text('version = 1\nmodels = ["b.onnx", "more"]\nmax_batch = 3')
    app = read_models(tmp_path / "a.onnx")
    assert sorted(app.files) == ["app/models/a.onnx", "app/models/a.onnx.data", "app/serving.toml"]
    app = read_models(tmp_path / "serving.toml")
    expected = ["app/models/b.onnx", "app/models/c/1/model.onnx", "app/models/c/1/w.bin", "app/serving.toml"]
    assert sorted(app.files) == expected
    assert app.program == "/app/serving.toml"
    assert Configuration.from_toml(app.files["app/serving.toml"]).max_batch == 3


def test_only_images_whose_owner_allows_plain_requests_hold_gRPC(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"1")
    for settings, holds in (("", False), ("plain_requests = false", False), ("plain_requests = true", True)):
        (tmp_path / "serving.toml").write_text(f'version = 1\nmodels = ["a.onnx"]\n{settings}')
        assert ("grpclib" in read_models(tmp_path / "serving.toml").distributions) == holds
    assert "grpclib" not in read_models(tmp_path / "a.onnx").distributions


def test_only_images_whose_owner_wants_traces_hold_what_sends_them(tmp_path, monkeypatch):
    (tmp_path / "a.onnx").write_bytes(b"1")
    pem = CertificateAuthority.create(int(time.time()), "x").certificate_pem.decode()
    traces = f'[traces]\nendpoint = "https://a"\nauthority = """{pem}"""'
    for settings, holds in (("", False), (traces, True)):
        (tmp_path / "serving.toml").write_text(f'version = 1\nmodels = ["a.onnx"]\n{settings}')
        assert ("opentelemetry-sdk" in read_models(tmp_path / "serving.toml").distributions) == holds
    monkeypatch.setattr(image_spec, "_TRACES", {"opentelemetry-that-there-is-not"})
    with pytest.raises(MissingDependency, match=r"confide\[otel\]"):
        read_models(tmp_path / "serving.toml")


@pytest.mark.parametrize(
    ("files", "settings", "holds"),
    [
        (["a.onnx"], "", {"onnxruntime"}),
        (["a.ubj"], "", {"xgboost"}),
        (["a.lgb", "b/1/model.json"], "", {"lightgbm", "xgboost"}),
        (["a/1/model.txt", "a/1/labels.json"], "", {"lightgbm"}),
        ([], "", {"onnxruntime"}),
        ([], 'runtimes = ["xgboost"]', {"xgboost"}),
        (["a.onnx"], 'runtimes = ["lightgbm"]', {"onnxruntime", "lightgbm"}),
    ],
)
def test_an_image_holds_what_runs_its_models_and_nothing_else(tmp_path, files, settings, holds):
    for path in files:
        (tmp_path / "all" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / path).write_bytes(b"1")
    models = 'models = ["all"]' if files else ""
    (tmp_path / "serving.toml").write_text(f"version = 1\n{models}\n{settings}")
    found = read_models(tmp_path / "serving.toml").distributions
    assert {name.replace("xgboost-cpu", "xgboost") for name in found} == holds


def test_what_runs_sealed_models_is_told_by_their_names(tmp_path):
    for name in ("_confide.listing", "a.ubj"):
        (tmp_path / name).write_bytes(b"")
    assert {name[:7] for name in read_models(tmp_path).distributions} == {"xgboost"}


def test_a_model_whose_runtime_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(image_spec, "distribution_of", lambda module: None)
    (tmp_path / "a.lgb").write_bytes(b"1")
    with pytest.raises(MissingDependency, match=r"confide\[lightgbm\]"):
        read_models(tmp_path / "a.lgb")


def test_nothing_of_a_sealed_location_becomes_part_of_the_image(tmp_path):
    (tmp_path / "_confide.listing").write_bytes(b"")
    assert sorted(read_models(tmp_path).files) == ["app/serving.toml"]


@pytest.mark.parametrize(
    ("configuration", "error"),
    [
        ('models = ["../x.onnx"]', InvalidImage),
        ('models = ["missing.onnx"]', InvalidImage),
        ('models = ["empty"]', InvalidImage),
        ("unknown = 1", InvalidFormat),
        ("version = 2", InvalidFormat),
        ("max_batch = 0", InvalidFormat),
        ('plain_requests = "yes"', InvalidFormat),
        ('runtimes = ["pickle"]', InvalidFormat),
        ('[model."a b"]\nmax_batch = 1', InvalidFormat),
        ("[model.a]\nplain_requests = true", InvalidFormat),
        ("= 1", InvalidFormat),
        ("#" * 70_000, InvalidFormat),
    ],
)
def test_configurations_with_faults(tmp_path, configuration, error):
    (tmp_path / "empty").mkdir()
    (tmp_path / "serving.toml").write_text(configuration)
    with pytest.raises(error):
        read_models(tmp_path / "serving.toml")


def test_limits_of_one_model_in_place_of_all():
    configuration = Configuration.from_toml(b"max_batch = 8\n[model.iris]\nmax_batch = 2\nlatency_ms = 5")
    assert configuration.limits("iris").max_batch == 2
    assert configuration.limits("iris").latency_s == 0.005
    assert configuration.limits("wine").max_batch == 8
    assert not configuration.plain_requests


def test_without_a_key_for_requests_nothing_is_served():
    with pytest.raises(NoGrant, match="requests"):
        _pool_keys(release("model.onnx"))


@pytest.mark.parametrize(
    ("path", "how"),
    [
        ("m.pt2", "torch.onnx.export"),
        ("m.pkl", "skl2onnx"),
        ("m.bst", "save_model"),
        ("m.joblib", "a pickle: code"),
        ("wine.json", "model.json"),
        ("folder/saved_model.pb", "tf2onnx"),
        ("m.bigdl", "BigDL"),
        ("m.xyz", "no model"),
    ],
)
def test_other_formats_are_refused_with_what_converts_them(tmp_path, path, how):
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_bytes(b"1")
    with pytest.raises(InvalidImage, match=how):
        read_models(tmp_path / path.split("/")[0])
