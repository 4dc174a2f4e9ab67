"""Working memory is kept from call to call, and only as much of it as was asked for last."""

from gradcheck_fast.engine.memory import Memory


def test_an_array_of_the_same_name_and_shape_is_the_one_before():
    memory = Memory()
    first = memory.get("a", 3, 4)
    first[...] = 5.0
    assert memory.get("a", 3, 4) is first
    assert (memory.get("a", 3, 4) == 5.0).all()


def test_another_shape_or_name_is_another_array_of_zeros():
    memory = Memory()
    first = memory.get("a", 3, 4)
    first[...] = 5.0
    assert (memory.get("a", 4, 3) == 0.0).all()
    assert memory.get("b", 3, 4) is not first


def test_a_cleared_array_is_the_one_before_filled_with_zeros():
    memory = Memory()
    first = memory.get("a", 7)
    first[...] = 5.0
    assert memory.cleared("a", 7) is first
    assert (first == 0.0).all()


def test_arrays_begin_on_a_cache_line():
    assert Memory().get("a", 5, 3).ctypes.data % 64 == 0
