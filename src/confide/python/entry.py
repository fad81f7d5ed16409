"""The first process of an enclave of the Python profile."""

from confide.enclave import early

CHILDREN = early.prepare()  # before anything else is imported

from confide.enclave.agent import main  # noqa: E402
from confide.python.profile import PythonProfile  # noqa: E402

if __name__ == "__main__":
    main(PythonProfile(), CHILDREN)
