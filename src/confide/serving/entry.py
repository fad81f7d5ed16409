"""The first process of an enclave of the serving profile."""

from confide.enclave.agent import main
from confide.serving.profile import ServingProfile

if __name__ == "__main__":
    main(ServingProfile())
