from collections import Counter

from tests.faults.plan import VICTIMS, draw_faults


def test_a_seed_gives_the_same_faults_and_hits_everything() -> None:
    faults = draw_faults(1, 30)
    assert faults == draw_faults(1, 30) != draw_faults(2, 30)
    assert [fault.number for fault in faults] == list(range(1, 31))
    for journey, victims in VICTIMS.items():
        hit = Counter(fault.victim for fault in faults if fault.journey == journey)
        assert hit.keys() == set(victims)
        assert max(hit.values()) - min(hit.values()) <= 1
