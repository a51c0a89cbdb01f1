from tickvault.bench.dataset import BEGINNING_SIZE, beginning, bodies, new_key, object_key, shuffled


def test_bodies_are_distinct_repeatable_and_begin_with_their_number():
    made = dict(bodies(200, 64))
    assert made == dict(bodies(200, 64))
    assert len(set(made.values())) == 200
    assert all(body[:BEGINNING_SIZE] == beginning(number) and len(body) == 64 for number, body in made.items())


def test_keys_are_distinct_and_new_ones_come_in_no_order():
    assert len({object_key(number) for number in range(1000)}) == 1000
    keys = [new_key("writer", number) for number in range(1000)]
    assert len(set(keys)) == 1000
    assert keys != sorted(keys)


def test_an_order_follows_from_its_seed():
    assert shuffled(100, 1) == shuffled(100, 1) != shuffled(100, 2)
    assert sorted(shuffled(100, 1)) == list(range(100))
