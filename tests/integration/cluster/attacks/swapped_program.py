"""The operator changes one file of the executor's image: the program, our jar, Spark's; with and without its hash."""

from confide.canonical import sha256_hex
from confide.enclave.image import ImageFile, read_image
from confide.errors import FileChanged, MeasurementRefused

from ..stage import altered

CAUSE = r"executor 3[01]\d ended: FileChanged: .*/app/job\.py"
ALSO = r"executor 31\d ended: MeasurementRefused"
SWAPPED = ("app/job.py", "opt/confide/spark/confide.jar")


def attack(stage):
    for index, inside in enumerate(SWAPPED):
        original = (stage.site.executor_folder / "root" / inside).read_bytes()
        content = original[:-1] + bytes([original[-1] ^ 1])
        folder = altered(stage.site.executor_folder, stage.site.root / f"swapped-{index}", inside, content)
        assert isinstance(stage.attempt(stage.request(f"30{index}", image=folder)), FileChanged)
        state(folder, inside, content)
        assert isinstance(stage.attempt(stage.request(f"31{index}", image=folder)), MeasurementRefused)


def state(folder, inside, content):
    """Let the image's document say what the folder holds now."""
    image = read_image(folder)
    changed = ImageFile(path=inside, size=len(content), sha256=sha256_hex(content))
    files = tuple(changed if file.path == inside else file for file in image.files)
    (folder / "image.json").unlink()
    (folder / "image.json").write_bytes(image.model_copy(update={"files": files}).canonical())
