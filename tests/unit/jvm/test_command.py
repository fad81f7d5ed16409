import pytest

from confide.jvm.command import heap_mib


@pytest.mark.parametrize(("memory", "heap"), [(64, 256), (400, 256), (4096, 2560)])
def test_heap(memory, heap):
    assert heap_mib(memory) == heap
