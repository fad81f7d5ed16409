"""`confide demo serving`: a model trained on encrypted records, served to clients that verify, killed under load."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from confide.cli.tour import DemoFailed, Tour, count, example
from confide.errors import AttestationRefused, Tampered

if TYPE_CHECKING:
    from confide.serving import Client

_PROGRAM = "train.py"
_READY_S = 60.0
_CLIENTS, _REQUESTS = 4, 50


class ServingTour(Tour):
    """The serving of a model; each method is one chapter."""

    def tell(self) -> None:
        """Tell all chapters."""
        self._worker: subprocess.Popen[str] | None = None
        try:
            self._train()
            self._serve()
            self._ask()
            self._killed()
            self._swapped()
        finally:
            self._stop()
            self.close()

    def _train(self) -> None:
        from confide.cli.demo_data import write_demo_data

        self._chapter("1. A model is trained on records that nobody here can read", "clinic")
        patients = write_demo_data(self._owner)["patients"]
        self._known = list(patients.known_values)
        self._run("confide init clinic")
        for key in ("patients", "models", "pool"):
            self._run(f"confide key create clinic/{key}")
        self._run(f"confide encrypt owner/{patients.path.name} data/patients --key clinic/patients")
        shutil.copy(example("05_train_and_export.py"), self._folder / _PROGRAM)
        self._say(f"{_PROGRAM} (examples/05_train_and_export.py): scikit-learn, and its model left in ONNX")
        self._run(
            f"confide policy allow {_PROGRAM} --profile python --read data/patients "
            "--write-files out/model=clinic/models --logs clinic/models"
        )
        self._run("confide policy apply policy.toml")
        self._run(f"confide run --tee simulated --profile python {_PROGRAM}")
        self._run("confide logs --last 1")
        sealed = [
            path for path in self._folder.glob("*/**/*") if path.is_file() and self._owner not in path.parents
        ]
        found = count([*self._known, b"StandardScaler", b"LinearClassifier"], sealed)
        self._say(
            f"What the operator has: {len(sealed)} files; known values and the model's own words in them: {found}"
        )
        self._expect(found == 0, "a known value is readable")

    def _serve(self) -> None:
        self._chapter("2. The sealed model is served, to whom the owner's document lets", "operator")
        self._run("confide policy allow out/model --profile serving --read out/model --requests clinic/pool")
        self._run("confide policy apply policy.toml")
        accepted = self._run("confide serving accept model", quiet=True)
        (self._folder / "model.toml").write_text(accepted)
        self._say("model.toml: what a worker must be; the owner hands it to the clients")
        self._start()

    def _ask(self) -> None:
        from confide.serving import AcceptedServing, Client

        self._chapter("3. A client verifies first, and seals what it asks", "client")
        document = (self._folder / "model.toml").read_bytes()
        wrong = document.replace(b'measurements = ["', b'measurements = ["' + b"0" * 64 + b'"] # ["')
        try:
            Client(self._url, AcceptedServing.from_toml(wrong)).close()
        except AttestationRefused as error:
            self._say(f"A worker of another measurement than expected: [yellow]{error}[/]")
        else:
            raise DemoFailed("a client took a worker that it does not accept")
        self._client = self._connect()
        self._rows, malignant = self._patients()
        reply = self._client.infer("model", {"X": self._rows})
        right = int((reply.outputs["label"] == malignant).sum())
        self._say(f"{right} of {len(malignant)} patients judged rightly, by {reply.model}:{reply.version}")
        self._say("Whoever stands between saw ciphertext, sizes, and that it was for `model`.")

    def _killed(self) -> None:
        self._chapter("4. The worker is killed under load; nothing is lost", "operator")
        expected = self._client.infer("model", {"X": self._rows}).outputs["label"].tolist()
        half, killed = threading.Event(), [0]

        def ask(number: int) -> list[Any]:
            if number == _CLIENTS * _REQUESTS // 4:
                half.set()
            row = number % len(self._rows)
            one = self._client.infer("model", {"X": self._rows[row : row + 1]}, timeout_s=120.0)
            return [row, *one.outputs["label"].tolist()]

        def kill() -> None:
            half.wait()
            self._kill()
            killed[0] = 1
            self._start(quiet=True)

        killer = threading.Thread(target=kill)
        killer.start()
        with ThreadPoolExecutor(_CLIENTS) as pool:
            answers = list(pool.map(ask, range(_CLIENTS * _REQUESTS)))
        killer.join()
        right = sum(expected[row] == label for row, label in answers)
        self._say(
            f"{len(answers)} requests from {_CLIENTS} clients, kill -9 amid them: {right} answered, and right"
        )
        self._expect(bool(killed[0]) and right == _CLIENTS * _REQUESTS, "an answer is missing, or wrong")

    def _swapped(self) -> None:
        self._chapter("5. Another model in its place is refused", "operator")
        self._stop()
        (model,) = (self._folder / "out/model").glob("*.onnx")
        data = model.read_bytes()
        model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        self._say("One bit of the sealed model changes:")
        self._run(
            f"confide serve --tee simulated out/model --listen 127.0.0.1:{self._port}",
            expect=Tampered.exit_code,
        )
        self._run("confide audit verify")

    def _start(self, *, quiet: bool = False) -> None:
        port = getattr(self, "_port", 0)
        command = f"confide serve --tee simulated out/model --listen 127.0.0.1:{port}"
        if not quiet:
            self._command(command)
        self._worker = subprocess.Popen(
            [sys.executable, "-m", *command.split()],
            cwd=self._folder,
            env=self._environment,
            pass_fds=(self._passphrase,),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self._worker.stdout is not None
        for line in self._worker.stdout:
            if not quiet:
                self._output(line.rstrip())
            if line.startswith("ready: "):
                self._url = line.split()[1].rstrip(",")
                self._port = int(self._url.rpartition(":")[2])
                return
        raise DemoFailed("the worker did not start")

    def _connect(self) -> Client:
        from confide.serving import Client

        return Client(self._url, self._folder / "model.toml", ticket=True)

    def _patients(self) -> tuple[Any, Any]:
        """Return features of some patients, and what is known of them."""
        import numpy as np
        import pyarrow.csv

        table = pyarrow.csv.read_csv(self._owner / "patients.csv").slice(0, 60)
        features = table.drop_columns(["patient_id", "malignant"])
        rows = np.column_stack([column.to_numpy() for column in features.columns]).astype(np.float32)
        return rows, table["malignant"].to_numpy().astype(np.int64)

    def _kill(self) -> None:
        assert self._worker is not None
        os.killpg(self._worker.pid, signal.SIGKILL)
        self._worker.wait()

    def _stop(self) -> None:
        if self._worker is not None and self._worker.poll() is None:
            self._worker.terminate()
            try:
                self._worker.wait(_READY_S)
            except subprocess.TimeoutExpired:
                self._kill()
