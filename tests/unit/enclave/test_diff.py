"""What an owner is told of a changed image."""

from __future__ import annotations

from confide.enclave.diff import diff_images
from confide.enclave.image import ImageFile


def test_settings_come_before_files(make_image):
    many = tuple(ImageFile(path=f"opt/{i:03}", size=1, sha256="0" * 64) for i in range(100))
    found = diff_images(make_image(), make_image(brokers={"other": "PEM"}, args=(), files=many))
    assert found.summary(most=2) == "args changed; brokers changed; and 101 more"


def test_another_profile_says_it_all(make_image):
    found = diff_images(make_image(), make_image(profile="spark", files=(), args=()))
    assert found.summary() == "profile python changed to spark"
