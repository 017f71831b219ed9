"""Objects on their way: equal when they arrive, and no byte of a big array twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from alphaloom.compute.parcel import Memory, mapped, pack, unpack


def there_and_back(value, *, shared=False):
    parcel = pack(value)
    if shared:
        memory = Memory(parcel)
        body = mapped(memory.file, memory.size)
        memory.close()
    else:
        body = memoryview(bytearray(parcel.size))
        for part, offset in parcel.parts:
            body[offset : offset + part.nbytes] = part
    return unpack(parcel.head, parcel.places, body)


SHAPES = arrays.array_shapes(min_dims=0, min_side=0, max_side=5)


@settings(max_examples=60, deadline=None)
@given(st.lists(arrays.arrays(arrays.scalar_dtypes(), SHAPES), max_size=3), st.booleans())
def test_whatever_is_packed_arrives_with_equal_bytes(values, shared):
    def content(array):  # numpy itself turns times of the other byte order into the machine's own
        native = array.dtype.newbyteorder("=")
        return native, array.shape, array.astype(native).tobytes()

    back = there_and_back(values, shared=shared)
    assert [content(array) for array in back] == [content(array) for array in values]


def test_records_and_objects_arrive_equal():
    records = np.array([(1, 2.5, "x"), (3, np.nan, "y")], dtype=[("a", "i4"), ("b", "f8"), ("c", "U3")])
    texts = np.array(["up", None, 3], dtype=object)
    back = there_and_back({"records": records, "texts": texts})
    assert back["records"].tobytes() == records.tobytes()
    assert back["texts"].tolist() == texts.tolist()


@pytest.mark.parametrize("change", [np.asarray, np.asfortranarray, np.transpose, lambda a: a[::2], lambda a: a[:, 1:3]])
def test_layouts_survive(change):
    value = change(np.arange(24.0).reshape(6, 4))
    back = there_and_back(value)
    np.testing.assert_array_equal(back, value)
    assert back.flags.f_contiguous == value.flags.f_contiguous


def test_read_only_arrays_stay_read_only_and_others_stay_open():
    closed, opened = np.ones(5), np.ones(5)
    closed.flags.writeable = False
    first, second = there_and_back([closed, opened])
    assert not first.flags.writeable
    assert second.flags.writeable
    assert not there_and_back(opened, shared=True).flags.writeable


def test_a_panel_travels_as_it_is_and_its_arrays_lie_beside_the_head(make_panel):
    panel = make_panel(400, 200)
    parcel = pack(panel)
    back = there_and_back(panel, shared=True)
    assert back.digest() == panel.digest()
    assert back.source == panel.source
    assert not back["close"].flags.writeable
    fields = sum(values.nbytes for values in panel.fields.values())
    assert len(parcel.head) < 0.02 * fields
    # Masks that were made from one array travel as one array.
    assert np.shares_memory(panel.listed, panel.member)
    assert np.shares_memory(back.listed, back.member)
    assert parcel.size < fields + panel.labels["sector"].nbytes + 4 * panel.member.nbytes


def test_equal_memory_is_known_again_only_where_nobody_can_write_to_it(make_panel):
    panel = make_panel()
    assert pack(panel).identity == pack(panel).identity
    assert pack(np.ones(3)).identity is None


def test_arrays_in_a_file_travel_as_a_place_in_the_file(tmp_path):
    values = np.random.default_rng(0).random((100, 30))
    np.save(tmp_path / "a.npy", values)
    file = np.load(tmp_path / "a.npy", mmap_mode="r")
    for part, expected in ((file, values), (file[20:50], values[20:50]), (np.asarray(file).view()[3], values[3])):
        parcel = pack(part)
        assert parcel.size == 0
        assert len(parcel.head) < 1000
        np.testing.assert_array_equal(there_and_back(part), expected)
    np.testing.assert_array_equal(there_and_back(file[:, 3:5]), values[:, 3:5])
    changed = np.load(tmp_path / "a.npy", mmap_mode="c")
    changed[0] = -1.0  # in this process only, so the file would be the wrong thing to send
    np.testing.assert_array_equal(there_and_back(changed), changed)
