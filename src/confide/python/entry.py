"""The first process of an enclave of the Python profile."""

from confide.enclave.agent import main
from confide.python.profile import PythonProfile

if __name__ == "__main__":
    main(PythonProfile())
