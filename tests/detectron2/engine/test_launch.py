import pytest
from torch import distributed

from mvit_det.detectron2.engine.launch import leave_processes


@pytest.fixture
def comm(tmp_path):
    """Detectron2's module ``comm``, with a process group of this process alone."""
    module = pytest.importorskip("detectron2.utils.comm")
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield module
    if distributed.is_initialized():
        distributed.destroy_process_group()


def test_detectron2_keeps_no_process_group(comm):
    comm.create_local_process_group(1)
    assert comm._get_global_gloo_group() is distributed.group.WORLD
    leave_processes()
    assert not distributed.is_initialized()
    assert comm._LOCAL_PROCESS_GROUP is None
    for function in (comm.create_local_process_group, comm._get_global_gloo_group):
        assert function.cache_info().currsize == 0
